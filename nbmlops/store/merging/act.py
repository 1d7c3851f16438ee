"""One merge from beginning to end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import InvalidValue, Tampered, UsageFault
from nbmlops.records import Merged
from nbmlops.store import ledger, manifest_only
from nbmlops.store.blobs.transfer import BlobSource, Copied
from nbmlops.store.engine import Store, lock_versions, store_id
from nbmlops.store.merging import chains
from nbmlops.store.merging.bytes import Needed, follow
from nbmlops.store.merging.chains import Chains, Placed
from nbmlops.store.merging.checking import unreadable
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.merging.reading import Read, read
from nbmlops.store.merging.taking import Taking
from nbmlops.store.told import disagreements

_MOST_TOLD = 20


@dataclass(frozen=True)
class Asked:
    """What was asked for, and what is known to be left out before it begins."""

    origin: str
    user: str = ""
    partial: bool = False
    dry_run: bool = False
    left_out: tuple[str, ...] = ()


class _Undone(Exception):
    """Ends the transaction of a dry run."""


class Act:
    """Reads and checks, brings blobs, then writes rows, chains and the event.

    Args:
        store: takes the rows.
        rows: the incoming ones.
        blobs: has the blobs they need.
        asked: what was asked for.
        theirs: the store they come from, if it is one, open on ``db``; its ledgers come along.
    """

    def __init__(
        self,
        store: Store,
        rows: Mapping[str, Iterable[Mapping[str, Any]]],
        *,
        blobs: BlobSource,
        asked: Asked,
        theirs: Store | None = None,
        db: sa.Connection | None = None,
    ) -> None:
        self.store, self.rows, self.blobs, self.asked = store, rows, blobs, asked
        self.left_out = list(asked.left_out)
        self.met = Read()
        self.chains: Chains | None = None
        if theirs is not None and db is not None:
            self.chains = chains.read(db)
            if wrong := disagreements(theirs):
                raise Tampered(
                    f"the ledger of {asked.origin} does not agree with it: {'; '.join(wrong[:_MOST_TOLD])}",
                    "nothing was taken over; find out there who wrote to the database",
                )

    def done(self) -> Merged:
        """Do it, or, in a dry run, find out what it would do."""
        self.met = read(self.rows)
        self.met.faults.raise_for(self.asked.origin)
        bare = self._bare()
        needed = Needed(bare={row["manifest"] for row in bare.values()})
        with self.store.read() as db:
            self._place(db)
            taking = self._taking(db)
            for name in TABLES:
                for row, _ in taking.coming(name):
                    needed.note(name, row)
                    self.met.faults.extend(unreadable(name, row))
            for version in self._lacking(db):
                needed.note("dataset_versions", version)
        self.met.faults.raise_for(self.asked.origin)
        copied = self._bring(needed)
        try:
            with self.store.write() as db:
                lock_versions(db)
                taking, placed = self._taking(db), self._place(db)
                taking.write()
                taking.updated[TABLES["dataset_versions"].title] += self._complete(db)
                came = any(taking.added.values()) or any(taking.updated.values()) or copied.copied
                event = self._tell(db, taking, placed) if came or self.chains else None
                if self.asked.dry_run:
                    raise _Undone
        except _Undone:
            event = None
        return self._record(taking, placed, copied, event)

    def _bare(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """Incoming data set versions that have no data where they come from."""
        mark = manifest_only.TAG, manifest_only.VALUE
        tags = self.rows.get("dataset_tags", ())
        marked = {(row["name"], row["version"]) for row in tags if (row["key"], row["value"]) == mark}
        versions = self.rows.get("dataset_versions", ()) if marked else ()
        return {(r["name"], r["version"]): r for r in versions if (r["name"], r["version"]) in marked}

    def _lacking(self, db: sa.Connection) -> Iterable[Mapping[str, Any]]:
        """Incoming data set versions that are here without their data, and come with them now."""
        here = set(manifest_only.tagged(db, {v.name for v in self.met.versions["dataset"]}).values())
        bare = self._bare() if here else {}
        for row in self.rows.get("dataset_versions", ()) if here else ():
            if row["manifest"] in here and (row["name"], row["version"]) not in bare:
                yield row

    def _complete(self, db: sa.Connection) -> int:
        """How many versions that were here without their data have them now, or would have."""
        if self.asked.dry_run:
            return len(list(self._lacking(db)))
        return manifest_only.complete(db, self.store.blobs, {v.name for v in self.met.versions["dataset"]})

    def _taking(self, db: sa.Connection) -> Taking:
        taking = Taking(self.store, db, rows=self.rows, met=self.met)
        self.met.faults.extend(taking.faults)
        self.met.faults.raise_for(self.asked.origin)
        return taking

    def _place(self, db: sa.Connection) -> Placed:
        return chains.place(db, store_id(self.store), self.chains) if self.chains else Placed()

    # -- blobs -----------------------------------------------------------------------------------------------------
    def _bring(self, needed: Needed) -> Copied:
        """Bring the blobs that the coming rows need, as far as they are not here."""
        wanted, missing = follow(self.store, self.blobs, needed)
        if missing:
            told = [f"{digest[:19]}… is missing; {where} needs it" for digest, where in sorted(missing.items())]
            if not self.asked.partial:
                hint = "restore it there from a backup, or take what is there with --partial (partial=True)"
                raise InvalidValue.of(f"{self.asked.origin} cannot be taken over", told[:_MOST_TOLD], hint)
            self.left_out += told
        if self.asked.dry_run:
            absent = self.store.blobs.missing(wanted)
            return Copied(len(wanted), len(wanted) - len(absent), len(absent), sum(map(self.blobs.size, absent)))
        return self.store.blobs.receive(self.blobs, sorted(wanted))

    # -- telling ---------------------------------------------------------------------------------------------------
    def _tell(self, db: sa.Connection, taking: Taking, placed: Placed) -> int:
        """The event of this store, and the chains of the others."""
        data = {
            "origin": self.asked.origin,
            "store": placed.name or None,
            "added": _counted(taking.added),
            "updated": _counted(taking.updated),
            "model_versions": taking.taken_versions,
            "certificates": taking.certificates,
            "evidence": taking.evidence,
            "renumbered": [[r.there, r.here] for r in taking.settled.told if r.version_id in taking.settled.new],
            "aliases": taking.aliases,
            "ledgers": placed.heads,
        }
        subject = f"store:{placed.name}" if placed.name else self.asked.origin
        event = ledger.append(db, type=ledger.MERGED, subject=subject, user=self.asked.user, data=data)
        if any(taking.added.values()) or any(taking.updated.values()):
            placed.append.setdefault(placed.name, [])
        placed.append.pop("", None)
        chains.write(db, placed, event.at)
        return event.seq

    def _record(self, taking: Taking, placed: Placed, copied: Copied, event: int | None) -> Merged:
        return Merged(
            origin=self.asked.origin,
            store_id=placed.name or None,
            dry_run=self.asked.dry_run,
            added=_counted(taking.added),
            updated=_counted(taking.updated),
            there=_counted(taking.there),
            renumbered=tuple(taking.settled.told),
            blobs=copied.copied,
            bytes=copied.bytes,
            events=placed.events,
            left_out=(*self.left_out, *taking.left_out),
            event=event,
            at=clock.now(),
        )


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {title: count for title, count in counts.items() if count}


def refuse_itself(store: Store, other: str | os.PathLike[str]) -> None:
    """Raises:
    UsageFault: the other store is this one.
    """
    here, there = str(store.url), str(other)
    same = here == there
    if store.folder is not None and "://" not in there:
        ours, theirs = store.folder / "nbmlops.db", Path(there).expanduser() / "nbmlops.db"
        same = ours.exists() and theirs.exists() and ours.samefile(theirs)
    if same:
        raise UsageFault(f"{store.shown_url} is this store itself", "name another store")
