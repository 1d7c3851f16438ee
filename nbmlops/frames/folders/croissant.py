"""Croissant 1.0 metadata of what is exported: JSON-LD that catalogues and data loaders understand.

See http://mlcommons.org/croissant/1.0. Paths are relative to the file, ``croissant.json`` in the folder of the export.
"""

from __future__ import annotations

import glob
import json
import mimetypes
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from nbmlops import clock

FILE_NAME = "croissant.json"
LABELS_NAME = "labels.parquet"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
# Every file with its checksum up to this many; of larger folders only the sets of files, by ending.
_LISTED, _ENDINGS = 1000, 30
Node: TypeAlias = dict[str, Any]

_TERMS = """
    citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset
    jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source
    subField transform
"""
_CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _TERMS.split()},
}
_PARQUET = "application/x-parquet"  # as mlcroissant spells it
_TYPES = (
    (re.compile(r"u?int\d+$"), "sc:Integer"),
    (re.compile(r"halffloat$|float$|double$|decimal"), "sc:Float"),
    (re.compile(r"bool$"), "sc:Boolean"),
    (re.compile(r"date\d|timestamp"), "sc:Date"),
)
# The kinds of files whose content a loader understands by itself, and what it makes of it.
_CONTENT = {"image": "sc:ImageObject", "audio": "sc:AudioObject", "text": "sc:Text"}
_LIST = re.compile(r"(?:large_)?(?:list|list_view|fixed_size_list)<[^:<>]*: (.*?)(?: not null)?>(?:\[\d+\])?$")


@dataclass(frozen=True)
class About:
    """What a catalogue shows of a version."""

    name: str
    version: int
    description: str = ""
    creator: str = ""
    created_at: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def frame_metadata(about: About, files: Sequence[Mapping[str, Any]], schema: Sequence[Mapping[str, Any]]) -> Node:
    """A frame in Parquet files.

    Args:
        about: name, version and so on.
        files: ``{"path", "digest", "bytes"}`` of each part, in row order.
        schema: ``{"name", "type", "nullable"}`` of each column; types as Arrow spells them.
    """
    parts = [_file_object(f["path"], f, _PARQUET) for f in files]
    source: Node = {"fileObject": {"@id": parts[0]["@id"]}} if parts else {}
    distribution = list(parts)
    if len(parts) > 1:
        pattern = str(PurePosixPath(files[0]["path"]).parent / "part-*.parquet")
        distribution.append(_file_set("parts", pattern, _PARQUET))
        source = {"fileSet": {"@id": _id("set", "parts")}}
    return _dataset(about, distribution, [_record_set("rows", schema, source)])


def folder_metadata(
    about: About,
    files: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Any] | None = None,
    schema: Sequence[Mapping[str, Any]] = (),
) -> Node:
    """A folder of files.

    Args:
        about: name, version and so on.
        files: ``{"path", "digest", "bytes"}`` of each file.
        labels: the same of the exported label table, if there is one.
        schema: the columns of the label table.
    """
    distribution: list[Node] = []
    records: list[Node] = []
    for name, includes, kind in _sets(files):
        distribution.append(_file_set(name, includes, kind))
        if kind.partition("/")[0] in _CONTENT:
            records.append(_files_of(name, kind))
    if len(files) <= _LISTED:
        distribution += [_file_object(f["path"], f, _kind(f["path"])) for f in files]
    if labels is not None:
        distribution.append(_file_object(labels["path"], labels, _PARQUET))
        records.append(_record_set("labels", schema, {"fileObject": {"@id": _id("file", labels["path"])}}))
    return _dataset(about, distribution, records)


def to_bytes(metadata: Node) -> bytes:
    """The metadata as the content of ``croissant.json``."""
    return (json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _dataset(about: About, distribution: list[Node], records: list[Node]) -> Node:
    made = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": about.name,
        "description": about.description or f"Version {about.version} of the data set {about.name}.",
        "version": f"{about.version}.0.0",
        "datePublished": clock.iso(about.created_at) if about.created_at is not None else None,
        "creator": {"@type": "sc:Person", "name": about.creator} if about.creator else None,
        **about.more,
        "distribution": distribution,
        "recordSet": records,
    }
    return {key: value for key, value in made.items() if value is not None}


def _id(*parts: str) -> str:
    """An ``@id`` that is unique within the file; readers refuse white space in it, even when it is escaped."""
    name = "/".join(parts)
    safe = re.sub(r"[^\w./-]", "_", name)
    return safe if safe == name else f"{safe}-{zlib.crc32(name.encode()):08x}"


def _file_object(path: str, file: Mapping[str, Any], kind: str) -> Node:
    return {
        "@type": "cr:FileObject",
        "@id": _id("file", path),
        "name": path,
        "contentUrl": path,
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": kind,
        "sha256": str(file["digest"]).removeprefix("sha256:"),
    }


def _file_set(name: str, includes: str | list[str], kind: str) -> Node:
    return {"@type": "cr:FileSet", "@id": _id("set", name), "name": name, "encodingFormat": kind, "includes": includes}


def _record_set(name: str, schema: Sequence[Mapping[str, Any]], source: Node) -> Node:
    fields = []
    for column in schema:
        kind, repeated = _data_type(str(column["type"]))
        made = {
            "@type": "cr:Field",
            "@id": _id(name, column["name"]),
            "name": column["name"],
            "description": f"Arrow type {column['type']}" + ("" if column.get("nullable", True) else ", never null"),
            "dataType": kind,
            "source": {**source, "extract": {"column": column["name"]}},
        }
        fields.append({**made, "repeated": True} if repeated else made)
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _files_of(name: str, kind: str) -> Node:
    """One record for each file of a set: its path and its content."""
    fields = [("path", "sc:Text", "fullpath"), ("content", _CONTENT[kind.partition("/")[0]], "content")]
    return {
        "@type": "cr:RecordSet",
        "@id": _id("records", name),
        "name": name,
        "description": "The path and the content of each file.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": _id("records", name, what),
                "name": what,
                "dataType": data_type,
                "source": {"fileSet": {"@id": _id("set", name)}, "extract": {"fileProperty": part}},
            }
            for what, data_type, part in fields
        ],
    }


def _data_type(kind: str) -> tuple[str, bool]:
    """The nearest type of schema.org, and whether there are several values; what has none is text."""
    if inner := _LIST.match(kind):
        return _data_type(inner.group(1))[0], True
    return next((name for pattern, name in _TYPES if pattern.match(kind)), "sc:Text"), False


def _kind(path: str) -> str:
    return mimetypes.guess_type(path, strict=False)[0] or "application/octet-stream"


def _sets(files: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | list[str], str]]:
    """Name, patterns and kind of each set of files: one for each of the frequent endings, one for all others."""
    paths = [f["path"] for f in files]
    counts = Counter(PurePosixPath(p).suffix for p in paths)
    frequent = {e for e, _ in counts.most_common(_ENDINGS) if e and e == glob.escape(e)}
    for ending in sorted(frequent):
        yield f"files{ending}", f"**/*{ending}", _kind(f"x{ending}")
    if rest := [glob.escape(p) for p in paths if PurePosixPath(p).suffix not in frequent]:
        yield "other-files", rest, "application/octet-stream"
