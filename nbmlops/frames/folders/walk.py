"""What lies in a folder: one ``stat`` per file, and nothing below it is ever reached through a symbolic link.

Where the system allows it, folders and files are opened by name within their opened parent (``openat``) and with
``O_NOFOLLOW``: a folder that is swapped for a link between the scan and the reading leads nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames.digest import is_valid_text

# size, mtime_ns, ctime_ns, inode, device: two of them alike mean that the content was not touched in between.
Stat: TypeAlias = tuple[int, int, int, int, int]

_AT = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Not blocking: a pipe that took the place of a file must not wait for somebody to write.
_FILE = (
    os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_MASK = (1 << 64) - 1
SHOWN = 50


class Found(NamedTuple):
    """A regular file, by its path relative to the folder with ``/`` between."""

    path: str
    stat: Stat


@dataclass(frozen=True)
class Tree:
    """The regular files of a folder, sorted by path, and what was left out."""

    folder: Path
    files: list[Found]
    symlinks: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)

    def left_out(self) -> dict[str, int]:
        """How many links, and how many sockets, pipes and devices, were not kept; only what there is."""
        counts = {"symlinks_left_out": len(self.symlinks), "special_files_left_out": len(self.special)}
        return {name: count for name, count in counts.items() if count}


def stat_of(found: os.stat_result) -> Stat:
    """The part of a stat that tells whether a file was touched."""
    return (
        found.st_size,
        found.st_mtime_ns & _MASK,
        found.st_ctime_ns & _MASK,
        found.st_ino & _MASK,
        found.st_dev & _MASK,
    )


def scan(folder: Path, without: Collection[Path] = ()) -> Tree:
    """List a folder. Links are not followed; empty folders leave no trace; ``without`` names folders to leave out.

    Names are kept byte for byte: two that differ only in case or in Unicode composition are two files.

    Raises:
        NotFound: there is no such folder.
        InvalidValue: folders that cannot be listed, or names that are not UTF-8; all of them are named.
    """
    tree = Tree(folder, [])
    if not folder.is_dir():
        raise NotFound(f"no folder {str(folder)!r}", f"paths are relative to {os.getcwd()}")
    skipped = {(s.st_dev, s.st_ino) for p in without if (s := _stat(p))}
    faults: list[str] = []
    todo = [""]
    with Rooted(folder) as root:
        while todo:
            below = todo.pop()
            try:
                with root.folder(below) as where, os.scandir(where) as entries:
                    for entry in entries:
                        _sort_in(entry, f"{below}/{entry.name}" if below else entry.name, tree, todo)
            except OSError as error:
                faults.append(f"{below or '.'} cannot be listed: {error.strerror}")
            if skipped:
                todo = [p for p in todo if not _is_one_of(root, p, skipped)]
    faults += [f"{p!a} is not valid UTF-8" for p, _ in tree.files if not is_valid_text(p)]
    raise_faults(folder, faults, "mend the permissions, rename these files, or move them out of the folder")
    tree.files.sort()
    return tree


def _sort_in(entry: os.DirEntry[str], path: str, tree: Tree, todo: list[str]) -> None:
    if entry.is_symlink():
        tree.symlinks.append(path)
    elif entry.is_dir(follow_symlinks=False):
        todo.append(path)
    elif entry.is_file(follow_symlinks=False):
        try:
            tree.files.append(Found(path, stat_of(entry.stat(follow_symlinks=False))))
        except FileNotFoundError:
            return  # gone between the listing and the look at it: not there, as if the scan had come a moment later
    else:
        tree.special.append(path)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_one_of(root: Rooted, path: str, skipped: set[tuple[int, int]]) -> bool:
    found = _stat(root.path / path)
    return found is not None and (found.st_dev, found.st_ino) in skipped


def raise_faults(folder: Path, faults: list[str], hint: str) -> None:
    """All faults of a folder as one error; of very many, the first and a count.

    Raises:
        InvalidValue: there are faults.
    """
    if faults:
        raise InvalidValue.of(f"the folder {folder}", shortened(faults), hint)


def shortened(faults: list[str]) -> list[str]:
    """At most 50 lines and a count of the others: what a person can read."""
    return faults if len(faults) <= SHOWN else [*faults[:SHOWN], f"and {len(faults) - SHOWN} more"]


class Rooted:
    """Opens folders and files below a folder; below it no symbolic link is followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._fd = os.open(folder, _FOLDER) if _AT else -1

    def __enter__(self) -> Rooted:
        return self

    def __exit__(self, *_: object) -> None:
        if _AT:
            os.close(self._fd)

    @contextmanager
    def folder(self, below: str) -> Iterator[int | str]:
        """An opened folder: what ``os.scandir`` and :func:`open_file` take."""
        if not _AT:
            yield str(self.path / below)
            return
        handle = os.dup(self._fd)
        try:
            for part in below.split("/") if below else ():
                parent, handle = handle, os.open(part, _FOLDER | _NOFOLLOW, dir_fd=handle)
                os.close(parent)
            yield handle
        finally:
            os.close(handle)


def open_file(where: int | str, name: str) -> int:
    """A descriptor of a regular file in an opened folder.

    Raises:
        OSError: it cannot be opened, or is a link by now.
    """
    handle = os.open(name, _FILE, dir_fd=where) if isinstance(where, int) else os.open(f"{where}/{name}", _FILE)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is not a regular file any more")
    return handle
