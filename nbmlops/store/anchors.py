"""Heads of the ledger, written down elsewhere: what came before one can be neither rewritten nor cut off unseen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import InvalidValue, NotFound, StoreFault, Tampered, UsageFault
from nbmlops.lines import append
from nbmlops.store.engine import Store, store_id
from nbmlops.store.schema import ledger

FILE = ".nbmlops-anchors.jsonl"
_LARGEST = 64 << 20  # bytes of a file of anchors
_SHOWN = 8


@dataclass(frozen=True)
class Anchor:
    """The head of one store's ledger at one time."""

    store: str
    seq: int
    hash: str
    at: float

    def fault(self, events: Sequence[Mapping[str, Any]]) -> str:
        """What is wrong with a chain that this was once the head of; the empty text if nothing is."""
        held = next((event for event in events if event["seq"] == self.seq), None)
        when = clock.iso(self.at)
        if held is None:
            return f"event {self.seq}, which was the last one on {when}, was removed"
        if held["hash"] != self.hash:
            return f"event {self.seq} or one before it is not what was written down on {when}"
        return ""


def head(store: Store) -> Anchor:
    """The last event of a store's ledger.

    Raises:
        UsageFault: there is none.
    """
    with store.read() as db:
        row = db.execute(sa.select(ledger).order_by(ledger.c.seq.desc()).limit(1)).mappings().first()
    if row is None:
        raise UsageFault("the ledger has no event", "there is nothing to anchor yet")
    return Anchor(store_id(store), row["seq"], row["hash"], clock.now())


def write(store: Store, path: Path) -> Anchor:
    """Add the head to a file, as a line of JSON; a head that is its last line already is not written again.

    Raises:
        StoreFault: the file cannot be written.
    """
    found = head(store)
    last = [anchor for anchor in read(path) if anchor.store == found.store][-1:] if path.exists() else []
    if last and (last[0].seq, last[0].hash) == (found.seq, found.hash):
        return last[0]
    try:
        append(path, asdict(found))
    except OSError as error:
        raise StoreFault(f"{path} cannot be written: {error.strerror}", "name another file") from error
    return found


def commit(path: Path, anchor: Anchor) -> None:
    """Commit a file of anchors, and nothing else, to the repository that it lies in.

    Raises:
        StoreFault: git does not do it; says what git said.
    """
    words = f"Anchor event {anchor.seq} of the ledger"
    for command in (["add", "--", path.name], ["commit", "--quiet", "-m", words, "--only", "--", path.name]):
        done = subprocess.run(["git", *command], cwd=path.parent, capture_output=True, text=True, check=False)
        if done.returncode and "nothing to commit" not in done.stdout:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise StoreFault(
                f"git does not commit {path}: {said[-1] if said else 'it said nothing'}", "commit it by hand"
            )


def read(path: Path) -> list[Anchor]:
    """The anchors of a file.

    Raises:
        NotFound: there is no such file.
        InvalidValue: a line is none.
    """
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", "nbmlops ledger anchor FILE writes one")
    if path.stat().st_size > _LARGEST:
        raise InvalidValue(f"{path} has more than {_LARGEST >> 20} MiB", "it is no file of anchors")
    found, faults = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            try:
                told = json.loads(line)
                found.append(Anchor(str(told["store"]), int(told["seq"]), str(told["hash"]), float(told["at"])))
            except (ValueError, TypeError, KeyError):
                faults.append(f"line {number} is no anchor")
    if faults:
        raise InvalidValue.of(str(path), faults, "each line is {store, seq, hash, at}")
    return found


def verify(store: Store, anchors: Iterable[Anchor]) -> int:
    """Hold the ledger against heads of this store; how many there were.

    Raises:
        Tampered: names each one that is not in the chain any more.
        UsageFault: none of them is of this store.
    """
    own = store_id(store)
    ours = [anchor for anchor in anchors if anchor.store == own]
    if not ours:
        raise UsageFault(f"no anchor is of this store ({own})", "give the file that was written for it")
    with store.read() as db:
        query = sa.select(ledger.c.seq, ledger.c.hash).where(ledger.c.seq.in_({a.seq for a in ours}))
        rows = [dict(row) for row in db.execute(query).mappings()]
    if wrong := [fault for anchor in ours if (fault := anchor.fault(rows))]:
        raise Tampered(
            f"the ledger does not agree with what was written down: {'; '.join(wrong[:_SHOWN])}",
            "restore the store from a backup, and find out who wrote to the database",
        )
    return len(ours)
