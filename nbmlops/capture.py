"""``%%mlops run``: what a cell did, captured without further code; and ``%mlops log`` for any object."""

from __future__ import annotations

import io
import numbers
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbmlops import fluent, lazy, session
from nbmlops import words as words_of
from nbmlops.errors import InvalidValue
from nbmlops.notebook.assignments import HIDDEN, assigned, secrets, without
from nbmlops.records import Run

_PRINTED = 1_000_000  # characters of printed output that are kept


@dataclass(frozen=True)
class CellOptions:
    """``%%mlops run [NAME] [--tag k=v …] [--params a,b] [--metrics m,n] [--no-auto]``."""

    name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    auto: bool = True


def parse_options(words: list[str]) -> CellOptions:
    """The words after ``%%mlops run``.

    Raises:
        UsageFault: an unknown option, or one without its value.
    """
    options, names = words_of.options(words, {"--tag": True, "--params": True, "--metrics": True, "--no-auto": False})
    return CellOptions(
        " ".join(names) or None,
        words_of.pairs(options.get("--tag", [])),
        _names(options.get("--params", [])),
        _names(options.get("--metrics", [])),
        "--no-auto" not in options,
    )


def _names(texts: list[str]) -> tuple[str, ...]:
    return tuple(name for text in texts for name in text.split(",") if name)


def run_cell(shell: Any, cell: str, options: CellOptions) -> Run | None:
    """Execute a cell as a tracked run; returns its record. An error of the cell ends the run FAILED and is raised."""
    active = session.start_run(options.name, nested=session.active_run() is not None, tags=options.tags)
    active.carded = True
    with (
        active,
        _autologged(options.auto and _uses_sklearn(cell)),
        _kept_figures(shell, cell, options.auto),
        _printed() as printed,
    ):
        hidden = secrets(cell)
        fluent.log_text(without(cell, hidden), "cell.py")
        # The user's own values first: they lead the list of parameters, and a cell that dies has them too.
        literals, computed = assigned(cell) if options.auto else ({}, [])
        fluent.log_params({n: HIDDEN if v in hidden else v for n, v in literals.items() if n not in options.metrics})
        outer = shell.displayhook.exec_result
        try:
            result = shell.run_cell(cell, store_history=False, cell_id=session.current_context().cell_id)
        finally:
            shell.displayhook.exec_result = outer  # the cell inside has put its own result there
            if printed.getvalue():
                fluent.log_text(without(printed.getvalue()[:_PRINTED], hidden), "output.txt")
        _capture(shell.user_ns, computed, options)
        if not result.success:
            error = result.error_in_exec or result.error_before_exec
            # IPython has shown it already; what must go on is the exception, so that papermill stops here.
            error._render_traceback_ = lambda *_args, **_more: [
                f"{type(error).__name__}: {error}",
                f"  -> kept in run {active.run_id}",
            ]
            raise error
    return active.record


def _capture(space: dict[str, Any], computed: list[str], options: CellOptions) -> None:
    """Numbers computed in the cell as metrics, and the values that were asked for by name."""
    metrics = {n: float(space[n]) for n in computed if n not in options.params and is_number(space.get(n))}
    metrics.update({name: space[name] for name in options.metrics if name in space})
    fluent.log_params({name: space[name] for name in options.params if name in space})
    fluent.log_metrics(metrics)


def is_number(value: Any) -> bool:
    """Whether a computed value is a metric: one number, but not a truth value."""
    scalar = isinstance(value, numbers.Real) or (hasattr(value, "item") and getattr(value, "shape", None) == ())
    return scalar and not isinstance(value, bool) and getattr(getattr(value, "dtype", None), "kind", "f") in "fiu"


def _uses_sklearn(cell: str) -> bool:
    return lazy.loaded("sklearn") is not None or "sklearn" in cell


@contextmanager
def _autologged(wanted: bool) -> Iterator[None]:
    """Fitted scikit-learn estimators are logged while the cell runs; a cell without scikit-learn does not load it."""
    from nbmlops.runs import autolog

    if not wanted or autolog.installed():
        yield
        return
    fluent.autolog()
    try:
        yield
    finally:
        fluent.autolog(disable=True)


@contextmanager
def _kept_figures(shell: Any, cell: str, wanted: bool) -> Iterator[None]:
    """Figures that the cell makes are kept as ``figures/N.png``, shown or not."""
    if not wanted or (lazy.loaded("matplotlib.pyplot") is None and "pyplot" not in cell):
        yield
        return
    import matplotlib.pyplot as plt
    from matplotlib._pylab_helpers import Gcf

    known = [manager.canvas.figure for manager in Gcf.get_all_fig_managers()]
    older = len(known)

    def keep() -> None:
        for manager in Gcf.get_all_fig_managers():
            if not any(manager.canvas.figure is figure for figure in known):
                known.append(manager.canvas.figure)
                fluent.log_figure(manager.canvas.figure, f"figures/{len(known) - older}.png")

    def show(*args: Any, **kwargs: Any) -> Any:
        keep()
        return original(*args, **kwargs)

    # A notebook's backend closes figures when they are shown, or when the cell has ended: we must look before it does.
    original, plt.show = plt.show, show
    callbacks = shell.events.callbacks["post_execute"]
    callbacks.insert(0, keep)
    try:
        yield
        keep()
    finally:
        plt.show = original
        callbacks.remove(keep)


class _Tee(io.StringIO):
    """Keeps what is printed and passes it on."""

    def __init__(self, through: Any, keep: io.StringIO) -> None:
        super().__init__()
        self._through, self._keep = through, keep

    def write(self, text: str) -> int:
        self._keep.write(text)
        return int(self._through.write(text) or len(text))

    def flush(self) -> None:
        self._through.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def _printed() -> Iterator[io.StringIO]:
    kept = io.StringIO()
    with redirect_stdout(_Tee(sys.stdout, kept)), redirect_stderr(_Tee(sys.stderr, kept)):
        yield kept


def log_object(thing: Any, name: str, target: str | None) -> Any:
    """Keep any object with the active run, in the way its type asks for.

    A path is kept as the file it names, figures as PNG, frames as Parquet, dictionaries and lists as JSON, text as is,
    arrays of numbers as ``.npy``.

    Raises:
        InvalidValue: nothing is known about objects of this type.
    """
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "object"
    if isinstance(thing, str | Path) and Path(str(thing)).exists():
        if target is None:
            return fluent.log_artifact(thing)
        return session.workspace().runs.put_artifact(session.live().run_id, target, Path(thing))
    if isinstance(thing, str):
        return fluent.log_text(thing, target or f"{stem}.txt")
    if hasattr(thing, "savefig") or (hasattr(thing, "to_html") and not hasattr(thing, "columns")):
        return fluent.log_figure(thing, target or f"{stem}.png")
    if hasattr(thing, "get_figure"):
        return fluent.log_figure(thing.get_figure(), target or f"{stem}.png")
    if hasattr(thing, "columns") or lazy.is_instance(thing, "pyarrow", "Table"):
        return fluent.log_table(thing, target or f"{stem}.parquet")
    if isinstance(thing, dict | list | tuple):
        return fluent.log_dict(list(thing) if isinstance(thing, tuple) else thing, target or f"{stem}.json")
    if lazy.is_instance(thing, "numpy", "ndarray"):
        buffer = io.BytesIO()
        lazy.loaded("numpy").save(buffer, thing, allow_pickle=False)
        return session.live().log_artifact(target or f"{stem}.npy", buffer.getvalue())
    raise InvalidValue(
        f"%mlops log does not know how to keep {type(thing).__name__}",
        "give a figure, frame, dictionary, text, array or path",
    )
