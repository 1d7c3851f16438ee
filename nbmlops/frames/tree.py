"""Folders of files as immutable content: a list of paths, digests and sizes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from blake3 import blake3

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames.digest import is_valid_text

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

Entry = dict[str, Any]


def put_folder(
    blobs: Blobs, folder: Path, known: Mapping[str, Entry], without: Collection[Path] = ()
) -> tuple[list[Entry], list[str]]:
    """Copy every regular file into blobs; returns ``{path, digest, bytes}`` sorted by path, and the symlinks left out.

    Symbolic links are not followed. A file of unchanged size in ``known`` is hashed before it is copied.

    Raises:
        InvalidValue: file names that are not text.
    """
    paths, links = _scan(folder, {p.resolve() for p in without})
    if faults := [repr(p) for p in paths if not is_valid_text(p)]:
        raise InvalidValue.of(
            f"the folder {folder}", [f"file name {f} is not valid UTF-8" for f in faults], "rename these files"
        )

    def put(path: str) -> Entry:
        file, before = folder / path, known.get(path)
        if before and file.stat().st_size == before["bytes"] and _sha256(file) == before["digest"]:
            return dict(before)
        digest = blobs.put(file)
        return {"path": path, "digest": digest, "bytes": blobs.size(digest)}

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(put, sorted(paths))), sorted(links)


def _scan(folder: Path, without: Collection[Path]) -> tuple[list[str], list[str]]:
    files: list[str] = []
    links: list[str] = []
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                relative = Path(entry.path).relative_to(folder).as_posix()
                if entry.is_symlink():
                    links.append(relative)
                elif entry.is_dir(follow_symlinks=False):
                    if not without or Path(entry.path).resolve() not in without:
                        todo.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    files.append(relative)
    return files, links


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def folder_digest(entries: Sequence[Entry]) -> str:
    """The digest of a folder's content, ``blake3:…``: paths, sizes and file digests in path order, nothing else."""
    rows = sorted([e["path"], e["digest"], e["bytes"]] for e in entries)
    text = json.dumps(["nbmlops-files-1", rows], separators=(",", ":"))
    return f"blake3:{blake3(text.encode()).hexdigest()}"


def suffixes(entries: Sequence[Entry]) -> dict[str, int]:
    """How many files end with what, the most frequent first."""
    counts: dict[str, int] = {}
    for entry in entries:
        suffix = Path(entry["path"]).suffix.lower()
        counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def export(blobs: Blobs, entries: Sequence[Entry], folder: Path) -> list[str]:
    """Write the files below ``folder``; nothing that exists is overwritten. Returns the paths written.

    Raises:
        InvalidValue: some of the files exist, or a path would leave the folder.
    """
    targets = {e["path"]: folder / e["path"] for e in entries}
    unsafe = [p for p in targets if PurePosixPath(p).is_absolute() or ".." in PurePosixPath(p).parts]
    if unsafe:
        raise InvalidValue(
            f"these paths lead out of the folder: {', '.join(unsafe)}", "the manifest is not one that nbmlops wrote"
        )
    if there := [str(t) for t in targets.values() if t.exists()]:
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        raise InvalidValue(f"these files exist already: {', '.join(there[:5])}{more}", "choose an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        target = targets[entry["path"]]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(blobs.get(entry["digest"]))
    return [str(t) for t in targets.values()]


class FolderView:
    """A read-only view of a stored folder: ``len``, iteration over relative paths, ``bytes(path)``, ``open(path)``."""

    def __init__(self, blobs: Blobs, entries: Sequence[Entry], title: str) -> None:
        self._blobs = blobs
        self._entries = {e["path"]: e for e in entries}
        self._title = title

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, path: object) -> bool:
        return path in self._entries

    def __repr__(self) -> str:
        return f"<{self._title}: {len(self)} files>"

    def bytes(self, path: str) -> bytes:
        """The content of one file, verified."""
        return self._blobs.get(self._entry(path)["digest"])

    def open(self, path: str) -> BinaryIO:
        """One file as a seekable binary stream, verified."""
        return self._blobs.open(self._entry(path)["digest"])

    def size(self, path: str) -> int:
        """The number of bytes of one file."""
        return int(self._entry(path)["bytes"])

    def _entry(self, path: str) -> Entry:
        if path not in self._entries:
            raise NotFound.of("file", path, self._entries)
        return self._entries[path]
