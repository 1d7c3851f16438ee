"""Data set versions that came without their data: in a capsule that has only what describes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from nbmlops.errors import NotFound
from nbmlops.store.blobs import Blobs
from nbmlops.store.references import may_name_others, scan
from nbmlops.store.schema import dataset_tags as tags
from nbmlops.store.schema import dataset_versions as versions

# The tag that says so; it goes when the data have come.
TAG, VALUE = "nbmlops.capsule", "manifest only"
_SNIFFED = 64


def tagged(db: sa.Connection, names: Iterable[str] | None = None) -> dict[tuple[str, int], str]:
    """The manifests of versions that came without their data, by name and number; of these names if given."""
    together = (tags.c.name == versions.c.name) & (tags.c.version == versions.c.version)
    query = sa.select(versions.c.name, versions.c.version, versions.c.manifest).join(tags, together)
    query = query.where(tags.c.key == TAG, tags.c.value == VALUE)
    wanted = None if names is None else set(names)
    return {(r.name, r.version): r.manifest for r in db.execute(query) if wanted is None or r.name in wanted}


def named(blobs: Blobs, manifest: str) -> set[str]:
    """The digests of all data that a manifest names, directly or through other blobs; here or not."""
    found: set[str] = set()
    level = {manifest}
    while level:
        level = {child for digest in level for child in _behind(blobs, digest)} - found - {manifest}
        found |= level
    return found


def absent(blobs: Blobs, manifest: str) -> set[str]:
    """Those of :func:`named`, and the manifest itself, that are not here."""
    return blobs.missing(sorted({manifest, *named(blobs, manifest)}))


def complete(db: sa.Connection, blobs: Blobs, names: Iterable[str]) -> int:
    """Drop the tag of versions whose data are here by now; how many there were."""
    done = [key for key, manifest in tagged(db, names).items() if not absent(blobs, manifest)]
    for name, version in done:
        db.execute(tags.delete().where(tags.c.name == name, tags.c.version == version, tags.c.key == TAG))
    return len(done)


def left_out(db: sa.Connection, blobs: Blobs) -> dict[str, str]:
    """All data that are not here because a capsule came without them: each digest, and the version that names it."""
    return {
        digest: f"dataset:{name}@{version}"
        for (name, version), manifest in tagged(db).items()
        for digest in absent(blobs, manifest)
    }


def not_included(ref: str) -> NotFound:
    """The error of reading such a version."""
    return NotFound(
        f"the data of {ref} were not in the capsule that brought it",
        "ask for one made with --data, and import that",
    )


def _behind(blobs: Blobs, digest: str) -> Iterator[str]:
    try:
        head = blobs.read(digest, 0, _SNIFFED)
        if may_name_others(head):
            with blobs.stream(digest) as stream:
                yield from (f"sha256:{name}" for sure, name in scan(stream, head)[0] if sure)
    except NotFound:
        return
