"""Hashing every blob again, and naming what is damaged or missing, and what needs it."""

from __future__ import annotations

from collections.abc import Iterator

from nbmlops.errors import BlobCorrupt, NotFound
from nbmlops.records import Finding, StoreCheck
from nbmlops.store import manifest_only
from nbmlops.store.blobs.ordered import ordered
from nbmlops.store.engine import Store
from nbmlops.store.references import References

_THREADS = 2  # hashing releases the interpreter's lock; more threads than that only seek


def verify(store: Store) -> StoreCheck:
    """Hash every blob, in bounded memory, and follow every reference.

    A damaged blob, and a missing one that another blob or a digest column names, is a finding that blocks; a digest
    that merely stands in a text (a container image in a tag) and is no blob here is a warning, and so are data that a
    capsule came without.
    """
    blobs, references = store.blobs, References(store)
    held = {h.name: h.bytes for h in blobs.held()}
    with store.read() as db:
        used = references.find(db, held)
        left_out = manifest_only.left_out(db, blobs)
    held |= {h.name: h.bytes for h in blobs.held() if h.name in used}  # put back, or written since
    damaged = [n for n, ok in zip(held, ordered(lambda n: _intact(store, n), held, workers=_THREADS)) if not ok]
    findings = (*_damaged(references, damaged), *_missing(references, used - held.keys(), left_out))
    return StoreCheck(len(held), sum(held.values()), findings)


def _intact(store: Store, name: str) -> bool:
    try:
        store.blobs.check(name)
    except BlobCorrupt:
        return False
    except NotFound:  # deleted since it was listed: told as missing if something needs it
        pass
    return True


def _damaged(references: References, names: list[str]) -> Iterator[Finding]:
    for name in sorted(names):
        needed = references.where.get(name, "nothing needs it")
        hint = "restore it from a backup, or make what uses it again"
        yield Finding(f"sha256:{name}", "block", "the content its name promises", f"damaged; {needed}", hint)


def _missing(references: References, names: set[str], left_out: dict[str, str]) -> Iterator[Finding]:
    for name in sorted(names):
        if ref := left_out.get(f"sha256:{name}"):
            hint = "import a capsule that was made with --data"
            yield Finding(f"sha256:{name}", "warn", "a stored object", f"not included in the capsule of {ref}", hint)
            continue
        where = references.where[name]
        sure = where.startswith("in sha256:") or not _is_text(where)
        hint = "restore it from a backup" if sure else "no harm if it names something outside this store"
        yield Finding(f"sha256:{name}", "block" if sure else "warn", "a stored object", f"missing; {where}", hint)


def _is_text(where: str) -> bool:
    """Whether a place takes any text: then a digest in it may be of something else."""
    column = where.split(" ", 1)[0].partition(".")[2]
    return column in {"value", "description", "message", "tags", "params", "source", "data", "error", ""}
