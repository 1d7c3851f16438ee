"""A run that is being logged to: validation, the journal, and the thread that folds and keeps the lease."""

from __future__ import annotations

import atexit
import json
import math
import numbers
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbmlops import clock, settings
from nbmlops.errors import InvalidValue, NbmlopsError, UsageFault
from nbmlops.refs import check_key
from nbmlops.store import journal
from nbmlops.store.journal import Journal

if TYPE_CHECKING:
    from nbmlops.runs import Runs
    from nbmlops.runs.fold import Folder

MAX_TEXT = 65_536  # bytes of one parameter's or tag's value; larger things are artifacts
_time = time.time
Also = Callable[[Any], object]  # given the open transaction


class LiveRun:
    """The writing handle of a run. Threads may share it; a forked child goes on in a journal of its own."""

    def __init__(self, desk: Runs, run_id: str, run_seq: int, name: str, *, owned: bool = True) -> None:
        self._desk = desk
        self.run_id = run_id
        self.name = name
        self.owned = owned  # False: another process made the run, and will end it
        self.ended = False
        self._run_seq = run_seq
        self._folder: Folder | None = None
        self.failed: dict[str, Any] | None = None
        self._journal: Journal | None = None
        self._lock = threading.RLock()
        self._touched: set[tuple[str, str]] = set()  # kinds and keys that were logged since somebody asked
        self._left = owned
        if not owned:  # IPython drops the notebook's names at its exit, and what is registered last comes before that
            atexit.register(self.leave)
        keeper.add(self)

    # -- logging ---------------------------------------------------------------------------------------------------
    def log_metric(self, key: str, value: float, step: int | None = None, timestamp: float | None = None) -> None:
        """Append one point. NaN and infinities are kept. ``step`` is a whole number, 0 when left out, as in MLflow."""
        if type(value) is not float or (step is not None and type(step) is not int):
            value, step = _number(key, value), _step(step)
        (self._journal or self._open()).point(key, value, step or 0, timestamp or _time())
        self._touched.add(("metric", key))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one point to each of several metrics; nothing is logged if one of them is wrong."""
        checked = _checked(metrics, "metric", _number)
        at = _time()
        for key, value in checked.items():
            self.log_metric(key, value, step, at)

    def log_param(self, key: str, value: Any) -> Any:
        """Record a parameter; recording it again replaces the value and keeps the old one in the history."""
        self.log_params({key: value})
        return value

    def log_params(self, params: dict[str, Any]) -> None:
        """Record several parameters; nothing is recorded if one of them is wrong."""
        self._texts(journal.PARAM, check_params(params))

    def set_tag(self, key: str, value: Any) -> None:
        """Set a tag; the last value counts."""
        self.set_tags({key: value})

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set several tags; none is set if one of them is wrong."""
        self._texts(journal.TAG, check_tags(tags))

    def log_artifact(self, path: str, data: bytes, media_type: str | None = None) -> Any:
        """Keep bytes with the run under a relative path."""
        return self._desk.put_artifact(self.run_id, path, data, media_type)

    def _texts(self, kind: int, entries: dict[str, dict[str, str]]) -> None:
        (self._journal or self._open()).texts(kind, [{"k": key, **entry} for key, entry in entries.items()])
        what = "param" if kind == journal.PARAM else "tag"
        self._touched.update((what, key) for key in entries)

    def take_touched(self) -> set[tuple[str, str]]:
        """What was logged since the last call: kind (metric, param, tag) and key."""
        taken, self._touched = self._touched, set()
        return taken

    def _open(self) -> Journal:
        with self._lock:
            if self.ended:
                raise UsageFault(
                    f"run {self.name!r} has ended", "start a new run, or resume this one with start_run(run_id=…)"
                )
            if self._journal is None:
                self._journal = Journal(self._desk.store.journal_folder, self.run_id)
            return self._journal

    # -- life ------------------------------------------------------------------------------------------------------
    @property
    def folder(self) -> Folder:
        """What folds this run's journals; made when first needed, because NumPy comes with it."""
        if self._folder is None:
            from nbmlops.runs.fold import Folder

            self._folder = Folder(self._desk.store, self.run_id, self._run_seq)
        return self._folder

    def flush(self) -> None:
        """Make everything logged so far visible to every reader of the store."""
        with self._lock:
            if not self.ended and journal.files(self._desk.store.journal_folder, self.run_id):
                self.folder.fold()

    def end(self, status: str = "FINISHED", error: dict[str, Any] | None = None, also: Also | None = None) -> None:
        """End the run: what is left in its journal is folded, and its status recorded, in one durable transaction.

        ``also`` writes, in that transaction, what must be true exactly when the run has ended; it is the owner's to
        pass, for nobody else ends the run.
        """
        with self._lock:
            if self.ended:
                return
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            if self.owned:
                self._desk.finish(self, status, error, also)
            else:
                self.folder.fold()
                self.leave()
                self.failed = error
            self.ended = True
        keeper.drop(self)
        touch = self._desk.context().touch
        for kind, key in self.take_touched():
            touch(kind, self.run_id, key, "write")

    def leave(self) -> None:
        """Note this process's environment as the run's, once: the work was done here, and another one ends the run."""
        if not self._left:
            self._left = True
            atexit.unregister(self.leave)
            self._desk.origins.renew(self.run_id)

    def after_fork(self) -> None:
        """In a forked child: log to a journal of our own, and leave the run's life to the parent."""
        self._left = True
        self._lock = threading.RLock()
        self._journal = None
        self.owned = False


def check_params(params: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Parameters as the journal keeps them: text and type.

    Raises:
        InvalidValue: names every key or value that cannot be kept.
    """
    return _checked(params, "parameter", _param)


def check_tags(tags: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Tags as the journal keeps them. Raises as :func:`check_params` does."""
    return _checked(tags, "tag", _tag)


def _checked(entries: dict[str, Any], what: str, convert: Any) -> dict[str, Any]:
    if not isinstance(entries, dict):
        raise InvalidValue(
            f"{what}s come as a dictionary, not as {type(entries).__name__}", f"log_{what[:5]}s({{'name': value}})"
        )
    done, faults = {}, []
    for key, value in entries.items():
        try:
            done[check_key(key, what)] = convert(key, value)
        except InvalidValue as error:
            faults.append((error.message, error.hint))
    if len(faults) == 1:
        raise InvalidValue(*faults[0])
    if faults:
        raise InvalidValue.of(f"{what}s", [f[0] for f in faults], faults[0][1])
    return done


def _number(key: str, value: Any) -> float:
    """A number as a float: Python's, NumPy's, a one-element array or tensor, Decimal; never text."""
    check_key(key, "metric")
    try:
        if isinstance(value, numbers.Real):
            return float(value)
        if not isinstance(value, str | bytes) and math.prod(getattr(value, "shape", (1,))) == 1:
            return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, OverflowError):
        pass  # not a number, or none that fits: said below, with what it is
    raise InvalidValue(
        f"metric {key!r} must be a number, not {type(value).__name__} ({value!r:.60})",
        "log_metric takes one number; use log_param or set_tag for text, log_table for tables",
    )


def _step(step: Any) -> int | None:
    if step is None:
        return None
    try:
        whole = int(step)
        if whole == step and -(2**63) <= whole < 2**63:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass  # said below
    raise InvalidValue(f"a step must be a whole number, not {step!r:.60}", "count epochs or batches: 0, 1, 2, …")


def _param(key: str, value: Any) -> dict[str, str]:
    if isinstance(value, list | tuple | dict):
        kind, text = "json", json.dumps(value, default=str, ensure_ascii=False)
    else:
        kind = type(value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value).__name__
        text = str(value)
    return {
        "v": _short(key, text, "parameter"),
        "t": kind if kind in {"str", "int", "float", "bool", "NoneType", "json"} else "str",
    }


def _tag(key: str, value: Any) -> dict[str, str]:
    return {"v": _short(key, str(value), "tag")}


def _short(key: str, text: str, what: str) -> str:
    if len(text.encode("utf-8", "replace")) > MAX_TEXT:
        raise InvalidValue(
            f"{what} {key!r} has {len(text):,} characters",
            f"a {what} holds {MAX_TEXT:,} bytes; keep long text with log_text",
        )
    return text.encode("utf-8", "replace").decode()


class Keeper:
    """One daemon thread a process: folds the journals of its runs twice a second and renews their leases."""

    def __init__(self) -> None:
        self._strong: set[LiveRun] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, run: LiveRun) -> None:
        with self._lock:
            self._strong.add(run)
            if self._thread is None or not self._thread.is_alive():
                self._wake = threading.Event()
                self._thread = threading.Thread(
                    target=self._work, args=(self._wake,), name="nbmlops-keeper", daemon=True
                )
                self._thread.start()

    def drop(self, run: LiveRun) -> None:
        with self._lock:
            self._strong.discard(run)

    def runs(self) -> list[LiveRun]:
        with self._lock:
            return list(self._strong)

    def _work(self, stop: threading.Event) -> None:
        renewed = clock.now()
        period, lease = settings.value("fold"), settings.value("lease")
        while not stop.wait(period):
            runs = self.runs()
            due = clock.now() - renewed > lease / 3
            for run in runs:
                try:
                    run.flush()
                    if due and run.owned and not run.ended:
                        run._desk.renew(run.run_id)
                except (NbmlopsError, OSError):
                    # A full disk or a locked store now: the journal keeps everything, and the next turn tries again.
                    continue
            if due:
                renewed = clock.now()

    def end_all(self) -> None:
        """At exit: a run left open ends as the process does."""
        crash = getattr(sys, "last_value", None) if "IPython" not in sys.modules else None
        error = None if crash is None else {"name": type(crash).__name__, "message": str(crash), "traceback": ""}
        for run in self.runs():
            try:
                run.end("FAILED" if error else "FINISHED", error)
            except (NbmlopsError, OSError) as fault:
                print(f"nbmlops: run {run.name!r} could not be ended: {fault}", file=sys.stderr)

    def after_fork(self) -> None:
        runs = list(self._strong)
        self.__init__()  # type: ignore[misc]  # the thread and the lock did not come along
        for run in runs:
            run.after_fork()
            self._strong.add(run)


keeper = Keeper()
atexit.register(keeper.end_all)
os.register_at_fork(after_in_child=keeper.after_fork)
