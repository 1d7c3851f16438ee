"""Records each cell that runs in this process: appended to a file in the store's journal folder, folded later.

It costs well under a millisecond a cell, imports nothing heavy, and never breaks one: a fault of its own is swallowed,
kept for ``nbmlops doctor``, and ends the recording. A file is JSON lines: the session first, then for each execution a
line when it begins and one when it ends, each written with one ``write``, so that a killed kernel loses nothing.

Until a store is there (its folder is made on first use, not by looking on), lines wait in memory.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nbmlops import clock, secrets, settings
from nbmlops.notebook.assignments import secrets as secrets_in
from nbmlops.notebook.assignments import without
from nbmlops.notebook.outputs import Listener, as_texts

PREFIX = "cells-"
FAULTS = "cells-faults.log"
LOOK = 1.0  # seconds after which it is looked again whether the file is still there
_WAITING = 20_000_000  # characters that wait for a store to be there
_NAME = re.compile(r"[^\W\d]\w*")
_TRACEBACK = 20_000

Touches = Callable[[], Iterable[tuple[str, str, str, str]]]


def _none() -> Iterable[tuple[str, str, str, str]]:
    return ()


class Recorder:
    """Hooks of one IPython shell.

    Args:
        shell: the shell.
        identity: facts of the session's row: ``frontend``, ``user``, ``host``, ``notebook``, ``kernel_id``, ``run_id``.
        folder: where the journal goes now; asked at each cell, for the store may be changed meanwhile.
        touches: what the cell that ends has logged, read and made: kind, subject, name, mode.
    """

    def __init__(
        self,
        shell: Any,
        identity: Callable[[], dict[str, Any]],
        folder: Callable[[], Path] = settings.journal_folder,
        touches: Touches = _none,
    ) -> None:
        self.shell = shell
        self.session_id = clock.new_id()
        self.cell_id: str | None = None  # of the cell that runs now
        self.number = 0
        self.execution_id: str | None = None
        self.count: int | None = None
        self.fault: str | None = None
        self._identity, self._folder, self._touches = identity, folder, touches
        self._depth = 0
        self._began = 0.0
        self._before: dict[str, int] = {}
        self._hidden: dict[str, None] = {}
        self._listener = Listener(shell)
        self._waiting: deque[str] = deque()
        self._file: tuple[Path, int] | None = None
        self._looked = time.monotonic()
        self._pid = os.getpid()
        self._source = ""
        self._last = 0  # the highest In[…] that is written down: cells run while unloaded are caught up with

    # -- life ------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin. Where a cell runs already, the one that loads the extension, it and what ran before is noted."""
        if self._pre_run_cell in self.shell.events.callbacks["pre_run_cell"]:
            return
        atexit.unregister(self.close)
        atexit.register(self.close)
        self.shell.events.register("pre_run_cell", self._pre_run_cell)
        self.shell.events.register("post_run_cell", self._post_run_cell)
        if (frame := _running_cell()) is not None:
            self._guarded(self._catch_up, frame)

    def stop(self) -> None:
        """Take the hooks back; what is in the file stays, and ``start`` goes on with it."""
        for event, hook in (("pre_run_cell", self._pre_run_cell), ("post_run_cell", self._post_run_cell)):
            if hook in self.shell.events.callbacks[event]:
                self.shell.events.unregister(event, hook)
        self._listener.stop()

    def close(self) -> None:
        """The session is over: said in the file, so that nobody need look for the process."""
        self.stop()
        atexit.unregister(self.close)
        if self.number and self.recording:
            self._guarded(self._write, {"closed": clock.now()})

    @property
    def recording(self) -> bool:
        """Whether cells are written down: not after a fault, not when switched off, not in a forked child."""
        return self.fault is None and os.getpid() == self._pid and bool(settings.value("journal"))

    def flush(self) -> None:
        """Write what waits, if there is a store by now."""
        self._guarded(self._drain)

    def tell_touches(self) -> None:
        """Write what the running cell has touched so far: whoever looks at a run that ends in it finds the cell."""
        if self.execution_id is not None and self.recording:
            self._guarded(self._write, {"touches": self.execution_id, "touched": sorted(set(self._touches()))})

    # -- hooks -----------------------------------------------------------------------------------------------------
    def _pre_run_cell(self, info: Any) -> None:
        self._depth += 1
        if self._depth > 1:  # a cell magic runs its body as a cell of its own
            return
        self.cell_id = getattr(info, "cell_id", None)
        if not getattr(info, "silent", False) and (getattr(info, "raw_cell", None) or "").strip():
            self._guarded(self._begin, info.raw_cell, info.store_history)

    def _post_run_cell(self, result: Any) -> None:
        info = getattr(result, "info", None)
        if info is not None and not (info.raw_cell or "").strip():
            return  # an empty cell ends without having begun
        self._depth = max(0, self._depth - 1)
        if self._depth:
            return
        if self.execution_id is not None:
            self._guarded(self._end, result)
        self.cell_id = self.execution_id = None

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """The user's cell must run whatever happens here."""
        if self.fault is not None:
            return
        try:
            work(*arguments)
        except Exception as error:  # whatever it is: told by `nbmlops doctor`, and the cell goes on
            self.fault = f"{type(error).__name__}: {error}"
            self._listener.stop()
            self.keep_fault(self.fault, "".join(traceback.format_exception(error)))

    def keep_fault(self, told: str, trace: str = "") -> None:
        """Write a fault of ours where another process, ``nbmlops doctor``, finds it."""
        line = {"at": clock.now(), "pid": os.getpid(), "fault": told, "trace": trace}
        try:
            with open(self._folder() / FAULTS, "a", encoding="utf-8") as file:
                file.write(json.dumps(secrets.scrub(line)) + "\n")
        except Exception:  # no folder, no disk: then only this process knows of it
            return

    def _begin(self, source: str, counted: bool) -> None:
        if not self.recording:
            return
        self._touches()  # what happened between the cells belongs to none
        frame = _running_cell()
        told = {} if frame is None else frame.f_locals
        # The shell's own counter has moved on already since IPython 9, and has not before.
        self._open_cell(source, told.get("execution_count", self.shell.execution_count) if counted else None)

    def _note(self, status: str, source: str, at: float | None = None) -> None:
        """The line of an execution that begins."""
        self.number += 1
        self.execution_id = clock.new_id()
        self._write(
            {
                "begin": self.execution_id,
                "number": self.number,
                "cell_id": self.cell_id,
                "count": self.count,
                "source": source,
                "status": status,
                "at": clock.now() if at is None else at,
            }
        )

    def _end(self, result: Any) -> None:
        seconds = time.perf_counter() - self._began
        outputs = self._listener.stop()
        after = self._namespace()
        words = set(_NAME.findall(self._source))
        error = getattr(result, "error_in_exec", None) or getattr(result, "error_before_exec", None)
        line = {
            "end": self.execution_id,
            "status": _status(error),
            "seconds": seconds,
            "error": _described(error),
            "outputs": [*outputs, *self._result(result)],
            "names": {
                "loaded": self._users(words & self._before.keys()),
                "stored": self._users(name for name, place in after.items() if self._before.get(name) != place),
                "deleted": self._users(self._before.keys() - after.keys()),
            },
            "touched": sorted(set(self._touches())),
        }
        self._before = {}
        self._write(line)

    def _namespace(self) -> dict[str, int]:
        """Where each value is, but for those of IPython. Identities: the values must not be kept alive by us."""
        values = self.shell.user_ns.copy()  # a thread may be storing others
        return {name: id(value) for name, value in values.items() if name[:1] != "_"}

    def _users(self, names: Iterable[str]) -> list[str]:
        """Without those that are IPython's."""
        hidden = self.shell.user_ns_hidden
        return sorted(name for name in names if name not in hidden)

    def _result(self, result: Any) -> list[dict[str, Any]]:
        """What the cell's last expression showed."""
        if result is None or getattr(result, "result", None) is None or self.count is None:
            return []
        history = self.shell.history_manager
        shown = [o for o in getattr(history, "outputs", {}).get(self.count, ()) if o.output_type == "execute_result"]
        text = history.output_hist_reprs.get(self.count)
        data = dict(shown[-1].bundle) if shown else {"text/plain": text} if text else None
        return [] if data is None else [{"output_type": "execute_result", "data": as_texts(data)}]

    def _catch_up(self, frame: Any) -> None:
        """The cells that ran before the extension was loaded, by their sources, and the one that loads it."""
        if not self.recording:
            return
        told = frame.f_locals
        if told.get("silent"):  # nothing of a silent request is told to hooks, nor of its end
            return
        source, counted = told.get("raw_cell") or "", bool(told.get("store_history"))
        count = told.get("execution_count", self.shell.execution_count) if counted else None
        if self.execution_id is not None and (count, source) == (self.count, self._source):
            self._listener.start()  # %reload_ext: the running cell is known
            return
        inputs = list(self.shell.history_manager.input_hist_raw)[1:]
        for place, earlier in enumerate(inputs[:-1] if counted else inputs, 1):
            if place > self._last and earlier.strip():
                self.count = self._last = place
                self._learn(earlier)
                self._note("earlier", earlier)
        self.cell_id = told.get("cell_id")
        self._depth = 1  # the hook registered now is called at the end of this very cell
        self._open_cell(source, count)

    def _learn(self, source: str) -> None:
        for text in secrets_in(source):
            self._hidden[text] = None

    def _open_cell(self, source: str, count: int | None) -> None:
        self._learn(source)
        self._source, self.count = source, count
        self._last = count or self._last
        self._note("running", source)
        self._before = self._namespace()
        self._listener.start()
        self._began = time.perf_counter()

    # -- the file --------------------------------------------------------------------------------------------------
    def _write(self, line: dict[str, Any]) -> None:
        line = secrets.scrub(line)
        text = json.dumps(line, ensure_ascii=False, default=str)
        if self._hidden:
            text = without(text, [json.dumps(t, ensure_ascii=False)[1:-1] for t in self._hidden])
        self._waiting.append(text)
        self._drain()

    def _drain(self) -> None:
        folder = self._folder()
        if self._file is not None and self._removed(self._file[1]):
            os.close(self._file[1])
            self._file = None
        if self._file is None or self._file[0] != folder:
            if not folder.is_dir():
                self._forget_old()
                return
            self._open(folder)
        if self._waiting and self._file is not None:
            data = "".join(f"{text}\n" for text in self._waiting).encode("utf-8", "replace")
            written = os.write(self._file[1], data)
            if written != len(data):  # the disk is full: half a line must not stay
                os.ftruncate(self._file[1], os.fstat(self._file[1]).st_size - written)
                raise OSError(28, "no space left for the cell journal")
            self._waiting.clear()

    def _removed(self, file: int) -> bool:
        """Whether somebody has removed the file, with its store or without; asked at times, for it takes a while."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        return os.fstat(file).st_nlink == 0

    def _forget_old(self) -> None:
        """A long session without any store must not fill the memory."""
        while sum(map(len, self._waiting)) > _WAITING and len(self._waiting) > 1:
            self._waiting.popleft()

    def _open(self, folder: Path) -> None:
        if self._file is not None:
            os.close(self._file[1])
        path = folder / f"{PREFIX}{self.session_id}.{os.getpid()}"
        self._file = (folder, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        facts = {"session": self.session_id, "pid": os.getpid(), "at": clock.now(), **self._identity()}
        self._waiting.appendleft(json.dumps(secrets.scrub(facts), ensure_ascii=False, default=str))


def _running_cell() -> Any:
    """IPython's frame that runs a cell now, or None. Nothing else tells of it, nor of the cell's id."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run_cell_async" and "raw_cell" in frame.f_locals:
            return frame
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "error"


def _described(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    lines = traceback.format_exception(error)
    return {"name": type(error).__name__, "message": str(error)[:4000], "traceback": "".join(lines)[-_TRACEBACK:]}


_current: Recorder | None = None  # IPython holds its hooks; the desks ask here, and the session's reset clears it


def current() -> Recorder | None:
    """The recorder of this process, or None: outside IPython, or before the extension is loaded."""
    return _current


def install(recorder: Recorder | None) -> None:
    """Make it the recorder of this process, in place of an earlier one."""
    global _current
    if _current is not None and _current is not recorder:
        _current.close()
    _current = recorder


def fault() -> str | None:
    """What made this process' recorder give up, or None."""
    return _current.fault if _current is not None else None
