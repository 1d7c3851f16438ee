"""A kept folder as plain files again: nothing is overwritten, nothing lands outside, nothing goes through a link."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue
from nbmlops.frames import parquet
from nbmlops.frames.digest import is_valid_text
from nbmlops.frames.folders import croissant
from nbmlops.frames.folders.content import Entry, write_content
from nbmlops.frames.folders.labels import get_table
from nbmlops.frames.folders.manifest import get_entries
from nbmlops.frames.folders.walk import shortened

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def export(
    blobs: Blobs, entries: Sequence[Entry], folder: Path, beside: Mapping[str, bytes] | None = None
) -> list[str]:
    """Write the files below ``folder``, each verified; returns their paths.

    Args:
        blobs: where the contents are.
        entries: the files; of a frame its parts.
        folder: made if it is not there.
        beside: further small files by name, such as ``croissant.json``; not among the paths returned. Where a file of
            the folder has such a name, it is kept and the other left out.

    Raises:
        InvalidValue: files that exist already, or paths that would lead out of the folder; all of them are named.
        BlobCorrupt: a content is not what was kept; that file is not left there.
    """
    paths = [e["path"] for e in entries]
    _check_paths(folder, paths)
    taken = {p.casefold() for p in paths}
    more = {name: data for name, data in (beside or {}).items() if name.casefold() not in taken}
    _check_folder(folder, [*paths, *more])
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        write_file(blobs, entry, folder / entry["path"])
    for name, data in more.items():
        with (folder / name).open("xb") as out:
            out.write(data)
    return [str(folder / p) for p in paths]


def export_folder(blobs: Blobs, manifest: Mapping[str, Any], folder: Path, about: croissant.About) -> list[str]:
    """Write a kept folder, its labels as Parquet and its Croissant metadata; returns the paths of its own files.

    Raises:
        InvalidValue: as :func:`export`.
        BlobCorrupt: as :func:`export`.
    """
    entries = get_entries(blobs, manifest)
    beside: dict[str, bytes] = {}
    labels: dict[str, Any] | None = None
    schema: list[dict[str, Any]] = []
    if note := manifest.get("labels"):
        table = get_table(blobs, note)
        data = parquet.write(table).to_pybytes()
        name = _free(croissant.LABELS_NAME, {e["path"].casefold() for e in entries})
        labels = {"path": name, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "bytes": len(data)}
        schema = [{"name": f.name, "type": str(f.type), "nullable": f.nullable} for f in table.schema]
        beside[name] = data
    beside[croissant.FILE_NAME] = croissant.to_bytes(croissant.folder_metadata(about, entries, labels, schema))
    return export(blobs, entries, folder, beside)


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number the first that no file has."""
    stem, dot, ending = name.rpartition(".")
    numbered = (f"{stem}-{i}{dot}{ending}" for i in itertools.count(1))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def write_file(blobs: Blobs, entry: Entry, target: Path) -> None:
    """Write one content to a new file; its folders are made.

    Raises:
        InvalidValue: the file exists, or its name is not possible here.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = target.open("xb")  # a link is a file that exists, too
    except FileExistsError as error:
        raise InvalidValue(
            f"{target} exists already, under this or another spelling",
            "names that differ only in case or composition cannot stand side by side on this disk",
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{target} cannot be written: {error}", "export to another place") from error
    try:
        with out:
            write_content(blobs, entry, out)
    except BaseException:  # Ctrl-C too: no half file may look like a whole one; raised again
        target.unlink(missing_ok=True)
        raise


def unsafe(paths: Sequence[str]) -> list[str]:
    """What is wrong with each path that a folder on any system may not have; a manifest is hostile until checked."""
    faults = []
    seen: set[str] = set()
    for path in paths:
        parts = path.split("/") if isinstance(path, str) else [""]
        if parts == [""] or not is_valid_text(path) or "\0" in path:
            faults.append(f"{path!a} is not a path")
        elif {"", ".", ".."} & set(parts) or _DRIVE.match(path) or (os.sep == "\\" and re.search(r"[\\:]", path)):
            faults.append(f"{path!r} leads out of the folder")
        elif path in seen:
            faults.append(f"{path!r} is there twice")
        else:
            seen.add(path)
    above = {path[:i] for path in seen for i, c in enumerate(path) if c == "/"}
    return faults + [f"{p!r} is a file and a folder" for p in sorted(above & seen)]


def _check_paths(folder: Path, paths: Sequence[str]) -> None:
    if faults := unsafe(paths):
        raise InvalidValue.of(f"the list of files for {folder}", shortened(faults), "nbmlops did not write this list")


def _check_folder(folder: Path, paths: Sequence[str]) -> None:
    inside = sorted({p[:i] for p in paths for i, c in enumerate(p) if c == "/"})
    if links := [p for p in inside if os.path.lexists(folder / p) and not _is_real_folder(folder / p)]:
        faults = [f"{str(folder / p)!r} is a link or a file, not a folder" for p in links]
        raise InvalidValue.of(f"the folder {folder}", shortened(faults), "choose an empty folder")
    if there := [str(folder / p) for p in paths if os.path.lexists(folder / p)]:
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        raise InvalidValue(f"these files exist already: {', '.join(there[:5])}{more}", "choose an empty folder")


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
