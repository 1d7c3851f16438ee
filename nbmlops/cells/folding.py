"""From the recorders' files to tables: what cells did becomes rows, exactly once, whichever process gets to it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.context import hostname
from nbmlops.errors import NbmlopsError
from nbmlops.notebook.cells import names_loaded
from nbmlops.notebook.recorder import FAULTS, PREFIX
from nbmlops.store import Store, schema
from nbmlops.store.blobs import Blobs

S, E, T, J = schema.cell_sessions, schema.cell_executions, schema.cell_touches, schema.cell_journals
_PART = 16 << 20
INLINE = 16_384  # characters of a representation that stay in the row; more go to a blob
_TOUCH = ("kind", "subject", "name", "mode")


def fold(store: Store) -> None:
    """Move what recorders have written into the tables. Cheap when there is nothing."""
    for path in files(store.journal_folder):
        with contextlib.suppress(FileNotFoundError):  # another process has just folded and removed it
            while _fold_part(store, path):
                pass
            if not alive(path):
                _bury(store, path)


def fold_copy(store: Store, outputs: Blobs) -> list[str]:
    """Fold the journals of a copied store whose blobs are not to be written; what cannot be folded, in words.

    Args:
        store: the copy.
        outputs: takes large outputs in its place.
    """
    left = "what its sessions recorded of cells and was not folded"
    theirs, store.blobs = store.blobs, outputs
    try:
        broken = sum(_broken(path) for path in files(store.journal_folder))
        fold(store)
    except (NbmlopsError, sa.exc.SQLAlchemyError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{left}: {error}"]  # of another store: anything
    finally:
        store.blobs = theirs
    return [f"{left}: {broken} broken {'line' if broken == 1 else 'lines'}"] if broken else []


def files(folder: Path) -> list[Path]:
    """The recorders' files, oldest first."""
    try:
        names = [e.name for e in os.scandir(folder) if e.name.startswith(PREFIX) and e.name != FAULTS]
    except OSError:
        return []
    return sorted(folder / name for name in names)


def session_of(path: Path) -> str:
    """The session that a file belongs to."""
    return path.name.removeprefix(PREFIX).partition(".")[0]


def alive(path: Path) -> bool:
    """Whether its process may still write: on another machine nobody can tell, and it counts as alive for a day."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            host = json.loads(file.readline()).get("host")
        pid = int(path.name.rpartition(".")[2])
    except (ValueError, AttributeError, FileNotFoundError):
        return False
    if host != hostname():
        return clock.now() - path.stat().st_mtime < 86_400
    return os.path.exists(f"/proc/{pid}") if os.path.isdir("/proc/self") else True


def _fold_part(store: Store, path: Path) -> bool:
    """Fold one part of a file; whether there was anything."""
    with store.read() as db:
        start = db.execute(sa.select(J.c.offset).where(J.c.name == path.name)).scalar() or 0
    if path.stat().st_size <= start:
        return False
    with open(path, "rb") as file:
        file.seek(start)
        data = file.read(_PART)
        while b"\n" not in data and (more := file.read(_PART)):  # one line larger than a part
            data += more
    data = data[: data.rfind(b"\n") + 1]
    if not data:
        return False
    rows = _Rows(store, session_of(path), list(_lines(data)))
    with store.write() as db:
        held = db.execute(sa.select(J.c.offset).where(J.c.name == path.name)).scalar() or 0
        if held == start:  # else another process was faster
            rows.write(db)
            store.upsert(db, J, [{"name": path.name, "offset": start + len(data)}], ["name"])
    return True


# What each kind of line must have: another version may write other things as well.
_NEEDED = {
    "session": {"at", "frontend", "notebook", "user", "host", "pid"},
    "begin": {"number", "source", "status", "at"},
    "end": {"status", "seconds", "error", "outputs", "names"},
}


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        with contextlib.suppress(ValueError):  # a line that a power cut left half is all that is lost
            found = json.loads(line)
            if isinstance(found, dict) and all(need <= found.keys() for kind, need in _NEEDED.items() if kind in found):
                yield found


def _broken(path: Path) -> int:
    """How many whole lines of a file are passed over."""
    with open(path, "rb") as file:
        return sum(line.endswith(b"\n") and next(_lines(line), None) is None for line in file)


class _Rows:
    """The rows of some lines. Large outputs go to blobs here, before the transaction."""

    def __init__(self, store: Store, session_id: str, lines: list[dict[str, Any]]) -> None:
        self.store, self.session_id = store, session_id
        self.sessions = [_session(line) for line in lines if "session" in line]
        self.closed = [line["closed"] for line in lines if "closed" in line]
        begun = {line["begin"]: line for line in lines if "begin" in line}
        ended = {line["end"]: line for line in lines if "end" in line}
        self.new = [self._execution(line, ended.get(key)) for key, line in begun.items()]
        self.later = [line for key, line in ended.items() if key not in begun]
        self.touches = [
            {"execution_id": line.get("end") or line["touches"], **dict(zip(_TOUCH, touch))}
            for line in lines
            if "end" in line or "touches" in line
            for touch in line.get("touched", ())
        ]
        self.ends = {line["end"]: self._end(line) for line in self.later}

    def write(self, db: sa.Connection) -> None:
        insert = self.store.insert
        if self.sessions:
            db.execute(insert(S).on_conflict_do_nothing(), self.sessions)
        if self.new:
            db.execute(insert(E).on_conflict_do_nothing(), self.new)
        for key, values in self.ends.items():
            known = db.execute(sa.select(E.c.source, E.c.names).where(E.c.id == key)).first()
            if known is not None:
                values = {**values, "names": _names(known.source, values["names"])}
                db.execute(E.update().where(E.c.id == key).values(**values))
        if self.touches:
            db.execute(insert(T).on_conflict_do_nothing(), self.touches)
        if self.closed:
            db.execute(S.update().where(S.c.id == self.session_id).values(ended_at=self.closed[-1]))

    def _execution(self, line: dict[str, Any], end: dict[str, Any] | None) -> dict[str, Any]:
        row = {
            "id": line["begin"],
            "session_id": self.session_id,
            "number": line["number"],
            "cell_id": line.get("cell_id"),
            "count": line.get("count"),
            "source": line["source"],
            "status": line["status"],
            "error": None,
            "outputs": [],
            "names": {},
            "started_at": line["at"],
            "seconds": None,
        }
        if end is not None:
            row |= self._end(end)
            row["names"] = _names(line["source"], row["names"])
        return row

    def _end(self, line: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": line["status"],
            "seconds": line["seconds"],
            "error": line["error"],
            "outputs": [self._output(output) for output in line["outputs"]],
            "names": line["names"],
        }

    def _output(self, output: dict[str, Any]) -> dict[str, Any]:
        data = output.get("data")
        if not isinstance(data, dict):
            return output
        return {**output, "data": {kind: self._kept(value) for kind, value in data.items()}}

    def _kept(self, value: Any) -> Any:
        if not isinstance(value, str) or len(value) <= INLINE:
            return value
        content = value.encode("utf-8", "replace")
        return {"digest": self.store.blobs.put(content), "bytes": len(content)}


def _session(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": line["session"],
        "started_at": line["at"],
        "ended_at": None,
        **{key: line.get(key) for key in ("frontend", "notebook", "kernel_id", "user", "host", "pid", "run_id")},
    }


def _names(source: str, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was seen in the namespace; of the words of the source, only those that the code uses."""
    if not seen.get("loaded"):
        return seen
    used = names_loaded(source)
    return {**seen, "loaded": [name for name in seen["loaded"] if used is None or name in used]}


def _bury(store: Store, path: Path) -> None:
    """The process is gone: what it was in the middle of is lost, and its file is not needed any more."""
    session_id = session_of(path)
    with store.write(durable=True) as db:
        db.execute(E.update().where(E.c.session_id == session_id, E.c.status == "running").values(status="lost"))
        last = sa.select(sa.func.max(E.c.started_at)).where(E.c.session_id == session_id).scalar_subquery()
        db.execute(S.update().where(S.c.id == session_id, S.c.ended_at.is_(None)).values(ended_at=last))
        db.execute(J.delete().where(J.c.name == path.name))
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
