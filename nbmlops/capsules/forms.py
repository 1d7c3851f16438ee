"""The forms that a capsule's parts must have, looked at before any of them is used."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbmlops.capsules.layout import wrong_name

DEEPEST = 150  # levels of JSON in one another
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_END = b"PK\x05\x06"
_TAIL = 22 + (1 << 16) + 20 + 56  # where that list's place stands: at the end, behind it at most a comment


def wrong_entry(info: zipfile.ZipInfo) -> str:
    """What is wrong with an entry of the zip's list, in words; empty for a plain file."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if wrong := wrong_name(info.orig_filename):
        return wrong
    if info.filename != info.orig_filename or info.is_dir() or kind not in {0, stat.S_IFREG}:
        return "it is no plain file"
    if info.flag_bits & 0x2061:  # encrypted, patched, strongly encrypted, masked
        return "it is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "it is compressed in a way that no capsule is"
    return ""


def well_formed(index: Mapping[str, Any]) -> bool:
    """Whether what ``capsule.json`` lists has the types that it must have."""
    files, blobs, inside = index["files"], index["blobs"], index["inside"]
    return (
        isinstance(files, dict)
        and all(
            isinstance(f, dict) and f.keys() == {"sha256", "size"} and _is_count(f["size"]) and _is_hash(f["sha256"])
            for f in files.values()
        )
        and isinstance(blobs, dict)
        and all(isinstance(n, str) and _DIGEST.fullmatch(d) for d, n in blobs.items())
        and isinstance(inside, dict)
        and all(map(_is_count, inside.values()))
        and isinstance(index["run"], str)
        and isinstance(index["without_data"], list)
        and all(isinstance(ref, str) and len(ref) < 400 and ref.isprintable() for ref in index["without_data"])
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and bool(_DIGEST.fullmatch(f"sha256:{value}"))


def is_shallow(value: Any) -> bool:
    """Whether JSON is not nested too deeply, found without going deep oneself."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            return False
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
    return True


def list_size(file: Path) -> int:
    """Bytes of a zip's list of files, from where it says so at its end; 0 if that is not there."""
    with file.open("rb") as stream:
        length = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, length - _TAIL))
        tail = stream.read(_TAIL)
    # Where zipfile looks: at the very end, else where the mark stands last.
    at_end = tail[-22:-18] == _END and tail[-2:] == b"\0\0"
    found = len(tail) - 22 if at_end else tail.rfind(_END, max(0, len(tail) - 22 - (1 << 16)))
    if found < 0 or len(tail) < found + 22:
        return 0
    size = int(struct.unpack_from("<I", tail, found + 12)[0])
    wide = found - 20 - 56
    if wide >= 0 and tail[wide : wide + 4] == b"PK\x06\x06":
        size = max(size if size != 0xFFFFFFFF else 0, int(struct.unpack_from("<Q", tail, wide + 40)[0]))
    return size
