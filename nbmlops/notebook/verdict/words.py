"""Causes in words: what is wrong, and how to mend it."""

from __future__ import annotations

from nbmlops.notebook.verdict.causes import Cause
from nbmlops.notebook.verdict.matching import Cell, Ran
from nbmlops.records.cells import CellFinding

_AGAIN = "restart the kernel and run all cells"


def finding(cause: Cause, *, level: str) -> CellFinding:
    """A cause as a finding."""
    what, mend = _SAY[cause.kind](cause)
    kind = "import" if cause.kind == "deleted" and cause.detail == "import" else cause.kind
    if level == "unknown":
        what += " Whether it matters depends on code that cannot be read here."
    return CellFinding(kind, level, _cells(cause), what, mend, (shown(cause.name),))


def _cells(cause: Cause) -> tuple[str, ...]:
    labels = [label(cause.made)] if cause.made is not None else []
    if cause.user is not None:
        labels.append(cause.user.label)
    return tuple(dict.fromkeys(labels))


def label(made: Ran | Cell | None) -> str:
    if isinstance(made, Ran):
        return made.execution.label
    return made.label if made is not None else ""


def shown(name: str) -> str:
    """A name, or a hidden variable in words."""
    if not name.startswith("<"):
        return name
    kind, _, rest = name.strip("<>").partition(" ")
    return {"random": f"the random state of {rest}", "file": f"the file {rest}", "files": "files that a command wrote",
            "run": "the active run", "settings": "settings", "figure": "the figure",
            "display": f"the way in which {rest} show values", "folder": "the working folder",
            "one": f"the object of {rest}()",
            "environment": f"the environment variable {rest}", "extension": f"the extension {rest}",
            }.get(kind, name)  # fmt: skip


def _name(cause: Cause) -> str:
    return shown(cause.name) if cause.name.startswith("<") else f"`{cause.name}`"


def _deleted(cause: Cause) -> tuple[str, str]:
    made, name = label(cause.made), _name(cause)
    verb = "imported by" if cause.detail == "import" else "set or changed by"
    user = f"{cause.user.label} used {name}, which was" if cause.user is not None else f"{name} was"
    return (
        f"{user} {verb} {made}, a cell that is not in the notebook any more.",
        f"Put the cell back (%mlops restore {made}), or do without it and {_AGAIN}.",
    )


def _edited(cause: Cause) -> tuple[str, str]:
    made, name = label(cause.made), _name(cause)
    if cause.user is None:
        return f"{made} was edited after it ran; {name} is as it was before.", f"Run {made} again, or {_AGAIN}."
    user = cause.user.label
    return (
        f"{made} was edited after it ran; {user} used {name} as it was before.",
        f"Run {made} again and then {user}, or {_AGAIN}.",
    )


def _repeated(cause: Cause) -> tuple[str, str]:
    made, name = label(cause.made), _name(cause)
    times = len(cause.made.ran) if isinstance(cause.made, Cell) else 2
    return (
        f"{made} ran {times} times and changed {name} each time; in a clean run it runs once.",
        f"Run the cell that first sets {name} again and {made} once after it, or {_AGAIN}.",
    )


def _order(cause: Cause) -> tuple[str, str]:
    made, name = label(cause.made), _name(cause)
    if cause.user is None:
        return (
            f"{name} is as {made} left it last; in a clean run the cells come in another order."
            if cause.detail != "not yet"
            else f"{name} is not as {made} leaves it in a clean run, where it comes last.",
            f"Run the cells from top to bottom, or {_AGAIN}.",
        )
    user = cause.user.label
    if cause.detail == "later":
        return (
            f"{user} used {name} as {made} had set or changed it; in a clean run {made} comes after {user}.",
            f"Move {made} above {user}, or {_AGAIN}.",
        )
    if cause.detail == "not yet":
        return (
            f"{user} last ran before {made} set or changed {name}; in a clean run {made} comes first.",
            f"Run {user} again after {made}, or {_AGAIN}.",
        )
    return (
        f"{user} used {name} as {made} had left it; in a clean run other cells change it between them.",
        f"Run the cells from top to bottom, or {_AGAIN}.",
    )


def _unrun(cause: Cause) -> tuple[str, str]:
    made, name = label(cause.made), _name(cause)
    user = f", which {cause.user.label} uses" if cause.user is not None else ""
    return f"{made} has never run, but sets or changes {name}{user}.", f"Run {made} in its place, or delete it."


_SAY = {"deleted": _deleted, "edited": _edited, "repeated": _repeated, "order": _order, "unrun": _unrun}
