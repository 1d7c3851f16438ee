"""Reading a capsule that anybody may have made: everything is looked at before anything is used.

Nothing is extracted to a path that the file names. The zip's own list is not believed: parts are read piece by piece,
counted and hashed, and compared with ``capsule.json``, whose list must name exactly the files that are there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from nbmlops.capsules.belonging import strangers
from nbmlops.capsules.collecting import INCLUDED
from nbmlops.capsules.forms import DEEPEST, is_shallow, list_size, well_formed, wrong_entry
from nbmlops.capsules.layout import FORMAT, INDEX, clash, content_hash, take
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.store.merging.reading import read as look_at_rows
from nbmlops.store.references import ZSTD, unpacked

_HINT = "this is no sound capsule; nothing was taken over, ask for it anew"
_MOST_TOLD = 20
_PART = 1 << 20
_NAMES = 16 << 20  # bytes of the zip's list of names
_JSON = ("run.json", "cells.json", "events.json", "certificate.json", "ro-crate-metadata.json")
_KEYS = {"format", "run", "inside", "without_data", "files", "blobs", "content"}
_UNREADABLE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, IndexError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The most that is opened.

    ``entries`` and ``bytes`` in all; bytes of rows and descriptions (``described``), and ``values`` in them; how many
    times its size a part may swell (``ratio``), and how many bytes in all beyond that where it is compressed once
    more inside (``inner``).
    """

    entries: int = 20_000
    bytes: int = 50 << 30
    described: int = 200 << 20
    values: int = 5_000_000
    ratio: int = 200
    inner: int = 256 << 20


class Capsule:
    """An opened capsule, all of it checked; the blobs in it are a source for a merge.

    Args:
        file: the zip.
        limits: the most that is read of it.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it is no sound capsule; names the entry and what is wrong with it.
    """

    def __init__(self, file: str | os.PathLike[str], *, limits: Limits | None = None) -> None:
        self.file, self.limits = Path(file), limits or Limits()
        self.index: dict[str, Any] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._left, self._values, self._inner = self.limits.described, self.limits.values, self.limits.inner
        if not self.file.is_file():
            raise NotFound(f"there is no file {self.file}", "name a capsule, made by `nbmlops run export`")
        self._archive = self._guarded("", self._opened)
        try:
            self._check()
        except BaseException:  # Ctrl-C too: nobody else could close the file; raised again
            self._archive.close()
            raise

    def __enter__(self) -> Capsule:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    # -- what it is ------------------------------------------------------------------------------------------------
    @property
    def content(self) -> str:
        """The hash of everything in it."""
        return str(self.index["content"])

    @property
    def total(self) -> int:
        """Bytes of all files in it."""
        return sum(facts["size"] for facts in self.index["files"].values())

    @property
    def run(self) -> dict[str, Any]:
        """The row of the run that it is about."""
        return next(row for row in self.rows["runs"] if row["id"] == self.index["run"])

    # -- a source of blobs -----------------------------------------------------------------------------------------
    def has(self, digest: str) -> bool:
        """Whether the blob came along."""
        return digest in self.index["blobs"]

    def size(self, digest: str) -> int:
        """Bytes of a blob."""
        return int(self.index["files"][self.index["blobs"][digest]]["size"])

    def get(self, digest: str) -> bytes:
        """A blob."""
        name = self.index["blobs"][digest]
        return self._guarded(name, lambda: b"".join(self._pieces(name)))

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write a blob to a file of the caller's choice."""
        name = self.index["blobs"][digest]

        def saved() -> None:
            with open(path, "wb") as out:
                for piece in self._pieces(name):
                    out.write(piece)

        self._guarded(name, saved)

    def described(self, digest: str) -> Any:
        """What a blob says that is JSON and is read as a whole, such as a manifest; None if it did not come along.

        Raises:
            InvalidValue: it is none, or too much of it.
        """
        if not self.has(digest):
            return None
        name = self.index["blobs"][digest]
        return self._json(name, self._described(name))

    # -- opening ---------------------------------------------------------------------------------------------------
    def _opened(self) -> zipfile.ZipFile:
        if (held := list_size(self.file)) > _NAMES:
            self._refuse("", f"its list of files has {held:,} bytes, and may have {_NAMES:,}")
        return zipfile.ZipFile(self.file)

    def _check(self) -> None:
        self._check_list()
        self._check_index()
        self._check_files()
        self._read_rows()

    def _check_list(self) -> None:
        """The zip's own list: names, kinds of entries, and that none lies over another."""
        listed = self._archive.infolist()
        if len(listed) > self.limits.entries:
            self._refuse("", f"it has {len(listed):,} entries, and may have {self.limits.entries:,}")
        taken: dict[str, str] = {}
        for info in listed:
            if wrong := wrong_entry(info):
                self._refuse(info.orig_filename, wrong)
            if other := clash(info.filename, taken):
                self._refuse(info.filename, f"{other!r:.80} has the same name, or is a file where it needs a folder")
            take(info.filename, taken)
            self._entries[info.filename] = info
        end = 0
        for info in sorted(listed, key=lambda i: i.header_offset):
            if info.header_offset < end:
                self._refuse(info.filename, "it lies over another entry")
            end = info.header_offset + 30 + len(info.filename.encode()) + info.compress_size
        if end > self._archive.start_dir:
            self._refuse("", "its entries lie over its list of files")

    def _check_index(self) -> None:
        if INDEX not in self._entries:
            self._refuse(INDEX, "it is missing: this is no capsule")
        index = self._json(INDEX, self._described(INDEX))
        if not isinstance(index, dict):
            self._refuse(INDEX, "it is no JSON object")
        self._check_format(index.get("format"))
        if index.keys() != _KEYS or not well_formed(index):
            self._refuse(INDEX, "it does not have the form of a list of files")
        if content_hash(index["files"]) != index["content"]:
            self._refuse(INDEX, "its list of files does not have the content hash that it tells")
        self.index = index
        files, there = index["files"].keys(), self._entries.keys() - {INDEX}
        if lost := sorted(files - there):
            self._refuse(lost[0], "it is listed, and not there")
        if more := sorted(there - files):
            self._refuse(more[0], "it is there, and not listed")
        if self.total > self.limits.bytes:
            self._refuse("", f"it holds {self.total:,} bytes, and may hold {self.limits.bytes:,}")
        for digest, name in index["blobs"].items():
            if name not in files or digest != f"sha256:{index['files'][name]['sha256']}":
                self._refuse(name, f"it is listed as the blob {digest[:19]}…, and is not")

    def _check_format(self, found: Any) -> None:
        if found == FORMAT:
            return
        name, number = FORMAT.rsplit("-", 1)
        said = re.fullmatch(rf"{name}-(\d{{1,6}})", found) if isinstance(found, str) else None
        if said and int(said[1]) > int(number):
            raise InvalidValue(
                f"{self.file.name}: {INDEX}: a newer nbmlops wrote it, in the format {found}",
                "upgrade nbmlops here (pip install -U nbmlops), and repeat",
            )
        self._refuse(INDEX, f"its format {found!r:.60} is not known")

    def _check_files(self) -> None:
        """Every file is read once, and is what the list says."""
        for name, facts in self.index["files"].items():
            if name.startswith("rows/"):
                table = name.removeprefix("rows/").removesuffix(".jsonl")
                if name != f"rows/{table}.jsonl" or table not in INCLUDED:
                    self._refuse(name, "no table of this name belongs in a capsule")
            self._guarded(name, lambda name=name, facts=facts: self._check_file(name, facts))  # type: ignore[misc]
            if name in _JSON:
                self._json(name, self._described(name))

    def _check_file(self, name: str, facts: Mapping[str, Any]) -> None:
        hasher, size = hashlib.sha256(), 0
        for piece in self._pieces(name):
            hasher.update(piece)
            size += len(piece)
            if size > facts["size"]:
                self._refuse(name, f"it has more than the {facts['size']:,} bytes that are listed")
        if size != facts["size"]:
            self._refuse(name, f"it has {size:,} bytes, and {facts['size']:,} are listed")
        if hasher.hexdigest() != facts["sha256"]:
            self._refuse(name, "its content is not what its hash says")
        self._check_inner(name, size)

    def _check_inner(self, name: str, size: int) -> None:
        """What is compressed by zstd is unpacked where references are sought in it: by an import, and each clean-up."""
        with self._archive.open(self._entries[name]) as head:
            if head.read(len(ZSTD)) != ZSTD:
                return
        free, swollen = self.limits.ratio * size + _PART, 0
        with self._archive.open(self._entries[name]) as stream:
            for piece in unpacked(stream):
                swollen += len(piece)
                if swollen > free + self._inner:
                    self._refuse(name, f"what is compressed in it swells to more than {swollen:,} bytes")
        self._inner -= max(0, swollen - free)

    def _read_rows(self) -> None:
        for name in self.index["files"]:
            if name.startswith("rows/"):
                table = name.removeprefix("rows/").removesuffix(".jsonl")
                self.rows[table] = [self._row(name, line) for line in self._described(name).split(b"\n") if line]
        met = look_at_rows(self.rows)
        if met.faults:
            raise InvalidValue.of(
                f"{self.file.name}: rows", list(met.faults), "nothing was taken over; ask for it anew"
            )
        if {name: len(rows) for name, rows in self.rows.items() if rows} != self.index["inside"]:
            self._refuse(INDEX, "it tells of other rows than there are")
        if self.index["run"] not in {row["id"] for row in self.rows.get("runs", ())}:
            self._refuse(INDEX, "the run that it is about is not among its rows")
        if wrong := strangers(self.rows, self.index["run"]):
            raise InvalidValue.of(f"{self.file.name}: rows", wrong[:_MOST_TOLD], _HINT)

    def _row(self, name: str, line: bytes) -> dict[str, Any]:
        row = self._json(name, line)
        if not isinstance(row, dict):
            self._refuse(name, "a line is no JSON object")
        if name == "rows/metric_chunks.jsonl":
            try:
                row["data"] = base64.b64decode(row.get("data", ""), validate=True)
            except (binascii.Error, ValueError, TypeError):
                self._refuse(name, "a line has no base64 where it should have")
        if name == "rows/stage_runs.jsonl" and "fingerprint" in row:
            row["fingerprint"] = None  # a stage here is not reused for a result that a stranger tells
        return row

    # -- parts -----------------------------------------------------------------------------------------------------
    def _pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of an entry; a bomb is found while it swells, whatever its headers say."""
        info, size = self._entries[name], 0
        with self._archive.open(info) as stream:
            while piece := stream.read(_PART):
                size += len(piece)
                if size > _PART and size > self.limits.ratio * max(info.compress_size, 1):
                    self._refuse(name, f"it swells to more than {self.limits.ratio} times its size")
                if size > self.limits.bytes:
                    self._refuse(name, f"it has more than {self.limits.bytes:,} bytes")
                yield piece

    def _described(self, name: str) -> bytes:
        """An entry that is held in memory as a whole; all of them share one limit."""

        def whole() -> bytes:
            found = bytearray()
            for piece in self._pieces(name):
                self._left -= len(piece)
                if self._left < 0:
                    self._refuse(name, f"rows and descriptions have more than {self.limits.described:,} bytes")
                found += piece
            return bytes(found)

        text: bytes = self._guarded(name, whole)
        # Counted before any is made: in memory an empty object has thirty times the bytes that it has as text.
        self._values -= text.count(b",") + text.count(b"[") + text.count(b"{")
        if self._values < 0:
            self._refuse(name, f"rows and descriptions have more than {self.limits.values:,} values")
        return text

    def _json(self, name: str, text: bytes) -> Any:
        try:
            found = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError):
            self._refuse(name, "it is no JSON, or nested too deeply")
        if not is_shallow(found):
            self._refuse(name, f"its JSON is nested more than {DEEPEST} levels deep")
        return found

    def _guarded(self, name: str, act: Callable[[], Any]) -> Any:
        """What reading a broken zip raises, as one kind of error."""
        try:
            return act()
        except InvalidValue:
            raise
        except _UNREADABLE as error:
            self._refuse(name, f"it cannot be read: {str(error) or type(error).__name__:.120}")

    def _refuse(self, entry: str, wrong: str) -> NoReturn:
        shown = f"{entry!r:.120}: " if entry else ""
        raise InvalidValue(f"{self.file.name}: {shown}{wrong}", _HINT)
