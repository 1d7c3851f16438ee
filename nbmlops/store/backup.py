"""A copy of a folder store in one zip file, taken while others go on working."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import zipfile
from pathlib import Path

from nbmlops.errors import StoreFault, UsageFault
from nbmlops.store.engine import Store


def write_backup(store: Store, target: Path) -> tuple[int, int]:
    """Write database and blobs to ``target``; returns the number of files and their bytes.

    The database is copied first: every blob it names is there already (blobs are written before rows).

    Raises:
        UsageFault: the store is not a folder, or the file exists already.
    """
    if store.folder is None or "://" in store.blobs.root:
        raise UsageFault(
            "only a folder store is backed up to a file", "use the tools of the database server and of the object store"
        )
    if target.exists():
        raise UsageFault(f"{target} exists already", "choose another name; a backup never overwrites")
    temporary = target.with_name(target.name + ".part")
    count, total = 0, 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "nbmlops.db"
            source = sqlite3.connect(store.folder / "nbmlops.db")
            try:
                source.execute("VACUUM INTO ?", (str(copy),))
            finally:
                source.close()
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                archive.write(copy, "nbmlops.db", zipfile.ZIP_DEFLATED)
                count, total = 1, copy.stat().st_size
                for digest in store.blobs.digests():
                    path = Path(store.blobs.url(digest))
                    archive.write(path, f"blobs/{path.relative_to(store.blobs.root)}")
                    count, total = count + 1, total + path.stat().st_size
        os.replace(temporary, target)
    except OSError as error:
        raise StoreFault(
            f"the backup {target} could not be written: {error.strerror}", "free some space, or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count, total
