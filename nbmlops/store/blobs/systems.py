"""What differs between fsspec's file systems: times, listings, folders, whole uploads, the settings of a client."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "obs", "hf"}


def touched_at(info: dict[str, Any]) -> float | None:
    """When an object was last written, by what the file system says of it; None if it does not say."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                found = datetime.fromisoformat(value)
                return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return None


def options_for(protocol: str) -> dict[str, Any]:
    """Of S3, a client that fails fast, because faults are retried here; what the user configured comes first."""
    if protocol not in {"s3", "s3a"}:
        return {}
    from fsspec.config import conf

    own = conf.get("s3", {}).get("config_kwargs", {})
    ours = {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 1}, "max_pool_connections": 32}
    return {"config_kwargs": {**ours, **own}}


def listing(fs: Any, path: str, *, deep: bool = True) -> dict[str, dict[str, Any]]:
    """Files below a path (``deep``), or the names right in it; nothing there is no fault."""
    fs.invalidate_cache()
    if deep:
        found: dict[str, dict[str, Any]] = fs.find(path, detail=True)
        return found
    try:
        return {i["name"].rstrip("/"): i for i in fs.ls(path, detail=True)}
    except FileNotFoundError:
        return {}


def uploads_whole(fs: Any) -> bool:
    """Whether a file appears only when all of it is there, and needs no folder."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(protocols & OBJECT_STORES)


def make_folder(fs: Any, path: str) -> None:
    """The folder of a file, where there are folders (s3fs would make the bucket)."""
    if not uploads_whole(fs):
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)


def write_small(fs: Any, path: str) -> None:
    """One byte: some file systems take an empty object for a folder."""
    make_folder(fs, path)
    fs.pipe_file(path, b"1")


def copy(fs: Any, source: str, target: str) -> None:
    make_folder(fs, target)
    fs.cp_file(source, target)


def remove(fs: Any, paths: Iterable[str]) -> int:
    """Delete files; returns how many were there."""
    gone = 0
    for path in paths:
        with suppress(FileNotFoundError):
            fs.rm_file(path)
            gone += 1
    return gone
