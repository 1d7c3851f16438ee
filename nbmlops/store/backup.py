"""A copy of a folder store in one zip file, taken while others go on working."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import sqlite3
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import quote

from nbmlops.errors import BlobCorrupt, NotFound, StoreFault, UsageFault
from nbmlops.store.engine import Store

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_SMALL = 4_000_000  # objects that may name others (manifests, profiles) are small


def write_backup(store: Store, target: Path) -> tuple[int, int]:
    """Write database and blobs to ``target``; returns the number of files and their bytes.

    The database is copied first: every blob it names is there already (blobs are written before rows). Every blob is
    verified on its way. What can be saved is saved, also when something is missing; then the error says what.

    Raises:
        UsageFault: the store is not a folder, or the file exists already.
        BlobCorrupt: the backup was written, and something the store refers to is missing or damaged.
    """
    if store.folder is None or "://" in store.blobs.root:
        raise UsageFault(
            "only a folder store is backed up to a file", "use the tools of the database server and of the object store"
        )
    if target.exists():
        raise UsageFault(f"{target} exists already", "choose another name; a backup never overwrites")
    temporary = target.with_name(target.name + ".part")
    try:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(temporary, "w") as archive:
            copy = Path(folder) / "nbmlops.db"
            copy_database(store.folder / "nbmlops.db", copy)
            archive.write(copy, "nbmlops.db", zipfile.ZIP_DEFLATED)
            kept, size, named, wrong = _copy_blobs(store, archive)
            with copy.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                named |= set(_DIGEST.findall(pages))
            size += copy.stat().st_size
        os.replace(temporary, target)
    except OSError as error:
        raise StoreFault(
            f"the backup {target} could not be written: {error.strerror}", "free some space, or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    wrong |= {digest for digest in (d.decode() for d in named) if digest not in kept}
    if wrong:
        raise BlobCorrupt(
            f"{target} was written, but {len(wrong)} objects are missing or damaged: {sorted(wrong)[0][:19]}…",
            "see what uses them with `nbmlops dataset verify` and `nbmlops model verify REF`; look in older backups",
        )
    return len(kept) + 1, size


def copy_database(source: Path, copy: Path) -> None:
    """A consistent copy, whatever others are writing meanwhile; of a read-only store as well."""
    url = f"file:{quote(str(source))}" + ("" if os.access(source.parent, os.W_OK) else "?immutable=1")
    try:
        with (
            contextlib.closing(sqlite3.connect(url, uri=True)) as database,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            database.backup(target)
    except sqlite3.Error as error:
        raise StoreFault(f"the database {source} cannot be copied: {error}", "run `nbmlops doctor`") from error


def _copy_blobs(store: Store, archive: zipfile.ZipFile) -> tuple[set[str], int, set[bytes], set[str]]:
    """What was copied, its bytes, what it names in turn, and what is damaged."""
    kept: set[str] = set()
    named: set[bytes] = set()
    wrong: set[str] = set()
    size = 0
    for digest in store.blobs.digests():
        try:
            data = store.blobs.get(digest)
        except (BlobCorrupt, NotFound):
            wrong.add(digest)
            continue
        path = Path(store.blobs.url(digest)).relative_to(store.blobs.root)
        archive.writestr(zipfile.ZipInfo(f"blobs/{path.as_posix()}"), data)
        kept.add(digest)
        size += len(data)
        if len(data) < _SMALL and data[:1] == b"{":
            named |= set(_DIGEST.findall(data))
    return kept, size, named, wrong
