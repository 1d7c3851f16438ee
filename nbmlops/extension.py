"""``%load_ext nbmlops``: magics, completion, rich records, and the journal of the cells that run.

It must take no more than 50 ms and bring nothing heavy along: what needs the store is loaded when it is first used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbmlops import context, secrets, settings
from nbmlops.magics import NOUNS, VERBS, MlopsMagics
from nbmlops.notebook import place, recorder


def load(shell: Any) -> None:
    """Register magics, completion, displays and the recorder of cells. Loading again is fine."""
    held = shell.magics_manager.magics
    for kind in ("line", "cell"):
        taken = held[kind].get("mlops")
        if taken is not None and not isinstance(getattr(taken, "__self__", None), MlopsMagics):
            print(f"nbmlops: replaces a {kind} magic named mlops that was there already", file=sys.stderr)
    shell.register_magics(MlopsMagics)
    for name in ("%mlops", "%%mlops"):
        shell.set_hook("complete_command", complete, str_key=name)
    from nbmlops import display

    display.register(shell)
    listen(shell)


def unload(shell: Any) -> None:
    """Take back what :func:`load` did."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("mlops", None)
    from nbmlops import display

    display.unregister(shell)
    if (held := recorder.current()) is not None:
        held.stop()


def listen(shell: Any) -> None:
    """Record the cells that run from now on, in the session that this shell has already, if there is one."""
    held = recorder.current()
    if held is None or held.shell is not shell or held.fault is not None:
        secrets.inherit()  # what must not be written down, where a pipeline started this kernel
        held = recorder.Recorder(shell, _identity, _journal_folder, _touches)
        recorder.install(held)
    held.start()


def _identity() -> dict[str, Any]:
    """Who and where, for the session's row."""
    given = context.from_environment()
    kernel = place.kernel_id()
    return {
        "frontend": "stage" if given.run_id else "kernel" if kernel else "terminal",
        "notebook": place.notebook_path(given.notebook) or "",
        "kernel_id": kernel,
        "user": given.user,
        "host": given.host,
        "run_id": given.run_id,
    }


def _journal_folder() -> Path:
    """That of the store in use; before anything was used, that of the settings."""
    session = sys.modules.get("nbmlops.session")
    opened = session.opened() if session is not None else None
    return opened.store.journal_folder if opened is not None else settings.journal_folder()


def _touches() -> Iterable[tuple[str, str, str, str]]:
    session = sys.modules.get("nbmlops.session")
    return session.take_touches() if session is not None else ()


# --- completion ---------------------------------------------------------------------------------------------------
def complete(shell: Any, event: Any) -> list[str]:
    """What may follow on a ``%mlops`` line: verbs, commands, options, variables, references."""
    line = event.text_until_cursor
    words = line.lstrip("%").split()
    done = words[1:] if line.endswith(" ") else words[1:-1]
    current = "" if line.endswith(" ") else (words[-1] if len(words) > 1 else "")
    if not done:
        from nbmlops.cli import entry

        return sorted(n for n in {*VERBS, *NOUNS, *entry.commands} if n.startswith(current))
    if done[0] in {"snapshot", "register", "log", "param", "metric", "history", "restore", "extract"}:
        options = {
            "snapshot": ["--name", "--message", "--contract", "--labels", "--tag"],
            "register": ["--name", "--alias", "--certify"],
            "log": ["--as"],
            "metric": ["--step"],
            "history": ["-n"],
            "extract": ["--run", "--out", "--snapshots", "--snapshot", "--pipeline", "--no-prove", "--force"],
        }
        names = [n for n in shell.user_ns if not n.startswith("_")] + options.get(done[0], [])
        return sorted(n for n in names if n.startswith(current))
    return _complete_command(done, current)


def _complete_command(done: list[str], current: str) -> list[str]:
    from click.shell_completion import ShellComplete

    from nbmlops.cli import entry

    found = ShellComplete(entry, {}, "nbmlops", "_NBMLOPS_COMPLETE").get_completions(done, current)
    return [item.value for item in found]
