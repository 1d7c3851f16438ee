"""No blob holds the value of a secret: text is masked, anything else that holds one is refused.

Archives and Parquet files are looked into, because nobody could search them later. Only called while a secret is known.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from nbmlops import secrets
from nbmlops.errors import SecretInData
from nbmlops.store.blobs.names import Data, as_bytes, parts

_WHOLE = 64 << 20  # a larger file is not masked in memory: refused if it holds a secret
_PLAIN = frozenset({"bool", "float", "double", "halffloat"})  # and these with digits behind: columns without text


def safe(data: Data) -> Data:
    """The data as they may be stored: masked text, other bytes and files as they are, a stream that is watched.

    Raises:
        SecretInData: it holds a secret and is not text.
    """
    held = as_bytes(data)
    if held is not None:
        return _safe_bytes(bytes(held))
    if hasattr(data, "read"):
        return Watched(data, "what is to be stored")
    path = Path(os.fspath(data))
    if path.stat().st_size <= _WHOLE:
        return _safe_bytes(path.read_bytes())
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        _drain(Watched(file, path.name))
    _look_inside(head, path)
    return data


def _safe_bytes(data: bytes) -> bytes:
    masked = secrets.scrub_bytes(data)
    if masked is data or masked == data:
        _look_inside(data[:16], io.BytesIO(data))
    return masked


class Watched(io.RawIOBase):
    """A stream that is passed on as it is read, and fails as soon as a secret has come by."""

    def __init__(self, stream: Any, what: str) -> None:
        self._stream, self._what, self._tail = stream, what, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        part = bytes(self._stream.read(size))
        window = self._tail + part
        if (reference := secrets.find(window)) is not None:
            raise SecretInData.of(self._what, reference)
        self._tail = window[-secrets.longest() :]
        return part


def _drain(stream: Any) -> None:
    for _ in parts(stream):
        pass


def _look_inside(head: bytes, source: Path | BinaryIO) -> None:
    """Unpack what is packed, in bounded memory, and look at it."""
    for magic, members in _KINDS.items():
        if head.startswith(magic):
            try:
                for what, stream in members(source):
                    _drain(Watched(stream, what))
            except SecretInData:
                raise
            except _DAMAGED:
                return  # it only looks like one, or is encrypted: its bytes were searched as they are
            except ValueError:  # Arrow's errors are ValueErrors
                return


_DAMAGED = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_Members = Iterator[tuple[str, Any]]


def _zip(source: Path | BinaryIO) -> _Members:
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                yield f"{name!r} in an archive", member


def _packed(open_: Callable[[Any], Any]) -> Callable[[Path | BinaryIO], _Members]:
    def members(source: Path | BinaryIO) -> _Members:
        with open_(source) as stream:
            yield "a compressed file", stream

    return members


def _zstd(source: Path | BinaryIO) -> _Members:
    import zstandard

    with ExitStack() as stack:
        file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        yield "a compressed file", stack.enter_context(zstandard.ZstdDecompressor().stream_reader(file))


def _parquet(source: Path | BinaryIO) -> _Members:
    """Every column that can hold text, as Arrow lays it out uncompressed; first names and metadata."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
        yield "the names of a table's columns", io.BytesIO(schema.serialize().to_pybytes())
        for field in schema:
            if str(field.type).rstrip("0123456789").removeprefix("u") not in {*_PLAIN, "int"}:
                for batch in file.iter_batches(1 << 16, columns=[field.name]):
                    yield f"column {secrets.scrub_text(field.name)!r}", _layout(batch)


def _arrow(source: Path | BinaryIO) -> _Members:
    import pyarrow as pa

    with pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            yield "an Arrow file", _layout(file.get_batch(number))


def _layout(batch: Any) -> BinaryIO:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.BufferReader(sink.getvalue())


_KINDS: dict[bytes, Callable[[Path | BinaryIO], _Members]] = {
    b"PK\x03\x04": _zip,
    b"\x1f\x8b": _packed(gzip.open),
    b"BZh": _packed(bz2.open),
    b"\xfd7zXZ\0": _packed(lzma.open),
    b"(\xb5/\xfd": _zstd,
    b"PAR1": _parquet,
    b"ARROW1": _arrow,
}
