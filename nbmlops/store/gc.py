"""Clearing up: blobs that nothing needs any more, and what dead writers left.

Why nothing that is needed is lost, whatever else runs meanwhile and whenever this is killed:

1. Blobs come first, rows second. A writer stores its blobs, or asks ``missing()`` about them, before it commits the row
   that names them; both make a blob that is there *young* (see ``blobs/folder.py``, ``blobs/remote.py``).
2. Only a blob that no row, journal or needed blob names, and that was last stored or wanted before the grace period, is
   touched at all. So readers of versions are never disturbed, and neither is a writer that takes less than the grace
   period from its first blob to its commit.
3. Such a blob is moved aside, and its age looked at again. A writer that wanted it before the move has made it young:
   it goes back. A writer that wants it after the move does not find it, and writes it anew.
4. Everything that names blobs is then read again, inside a write transaction, so that no row is committed meanwhile.
   What turns out to be needed goes back. Only then is the rest deleted.
5. Killed before the deletion, it leaves blobs aside, none of them lost: whoever reads such a blob puts it back, and the
   next clearing-up begins with putting all of them back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from nbmlops import clock
from nbmlops import context as contexts
from nbmlops.errors import InvalidValue, StoreReadOnly, UsageFault
from nbmlops.records import GcReport
from nbmlops.store import schema
from nbmlops.store.blobs.names import Held
from nbmlops.store.engine import Store, lock_tables, store_id
from nbmlops.store.references import References, refuse_damage

GRACE = 24 * 3600.0
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_EXAMPLES = 5


def collect(store: Store, *, grace: float = GRACE, delete: bool = False) -> GcReport:
    """What may go, and, with ``delete``, lets it go.

    Args:
        store: an open store.
        grace: seconds; what was stored or wanted since is kept. Longer than any snapshot, upload or registration takes.
            A remote store counts a blob as wanted from half an hour before it was. 0 is for a store nobody writes to.
        delete: delete, instead of only telling.

    Raises:
        BlobCorrupt: with ``delete``: a needed manifest is damaged, so what it names is unknown; nothing is deleted.
        UsageFault: with ``delete``: other stores keep their blobs in the same place.
        StoreReadOnly: with ``delete``: the store cannot be written.
    """
    place, references = store.blobs.place, References(store)
    if delete:
        _check_alone(store)
        place.put_back()
    before = (place.now() if delete else clock.now()) - grace
    held = {h.name: h for h in (*place.names(), *(() if delete else place.aside()))}
    with store.read() as db:
        used = references.find(db, held)
    unused = [h for h in held.values() if h.name not in used]
    old = [h for h in unused if h.touched is not None and h.touched < before]
    leftovers = place.leftovers(before=before)
    if delete:
        refuse_damage(references, "nothing was deleted")
        gone = _sweep(store, references, {h.name for h in old}, before, held.keys())
        old = [h for h in old if h.name in gone]
        place.drop(path for path, _ in leftovers)
    return _report(delete, grace, old, leftovers, len(unused) - len(old), used & held.keys(), references)


def _sweep(store: Store, references: References, names: set[str], before: float, held: Iterable[str]) -> set[str]:
    """Move aside, look again, delete; returns what was deleted."""
    place, label = store.blobs.place, clock.new_id()
    if not names:
        return set()
    moved = place.set_aside(sorted(names), before=before, place=label)
    with store.write() as db:
        lock_tables(db, schema.metadata.sorted_tables)
        needed = references.find(db, set(held)) & moved
        place.put_back(needed)
    return place.forget(sorted(moved - needed), place=label)


def _check_alone(store: Store) -> None:
    if store.journal_mode == "read-only":
        raise StoreReadOnly(f"the store {store.shown_url} is read-only", "mend the permissions of the folder")
    if contexts.reproducing():
        text = "a clean run shares its blobs with the store it stands for"
        raise UsageFault(f"{text}; nothing is cleared up", "run `nbmlops store gc` outside of it")
    others = store.blobs.place.owners() - {store_id(store)}
    if others:
        raise UsageFault(
            f"{len(others)} other stores keep files in {store.blobs.shown_root}: {', '.join(sorted(others)[:3])}",
            "give each store a prefix of its own; if one of these is gone for good, delete its file in owners/ there",
        )


def _report(
    deleted: bool,
    grace: float,
    old: list[Held],
    leftovers: list[tuple[str, int]],
    young: int,
    used: set[str],
    references: References,
) -> GcReport:
    old.sort(key=lambda h: h.touched or 0.0)
    return GcReport(
        deleted=deleted,
        grace=grace,
        blobs=len(old),
        bytes=sum(h.bytes for h in old),
        oldest=old[0].touched if old else None,
        examples=tuple({"digest": f"sha256:{h.name}", "bytes": h.bytes, "touched": h.touched} for h in old[:_EXAMPLES]),
        leftovers=len(leftovers),
        leftover_bytes=sum(size for _, size in leftovers),
        young=young,
        needed=len(used),
        damaged=len(references.damaged),
    )


def seconds(text: str) -> float:
    """A span of time such as ``24h``, ``90m``, ``30s``, ``7d``; a bare number is seconds.

    Raises:
        InvalidValue: it is not one.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?\s*", text)
    if found is None:
        raise InvalidValue(f"{text!r} is not a span of time", "for example 24h, 90m, 30s or 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]
