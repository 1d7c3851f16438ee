"""Croissant 1.0 metadata of what is exported: JSON-LD that catalogues and data loaders understand.

See http://mlcommons.org/croissant/1.0. Paths are relative to the file, ``croissant.json`` in the folder of the export.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from nbmlops import clock

FILE_NAME = "croissant.json"
LABELS_NAME = "labels.parquet"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
# Every file with its checksum up to this many; of larger folders only the sets of files, by ending.
_LISTED = 1000
Node: TypeAlias = dict[str, Any]

_TERMS = """
    citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5
    parentField path recordSet references regex repeated replace separator source subField transform
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
_PARQUET = "application/vnd.apache.parquet"
_TYPES = (
    (re.compile(r"u?int\d+$"), "sc:Integer"),
    (re.compile(r"halffloat$|float$|double$|decimal"), "sc:Float"),
    (re.compile(r"bool$"), "sc:Boolean"),
    (re.compile(r"date\d|timestamp"), "sc:Date"),
)
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
        source = {"fileSet": {"@id": "parts"}}
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
    for ending, kind in _endings(files).items():
        name = f"files{ending}" if ending else "files without ending"
        distribution.append(_file_set(name, f"**/*{ending}", kind))
        records.append(_files_of(name, ending, kind))
    if len(files) <= _LISTED:
        distribution += [_file_object(f["path"], f, _kind(f["path"])) for f in files]
    if labels is not None:
        distribution.append(_file_object(labels["path"], labels, _PARQUET))
        records.append(_record_set("labels", schema, {"fileObject": {"@id": labels["path"]}}))
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


def _file_object(path: str, file: Mapping[str, Any], kind: str) -> Node:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": kind,
        "sha256": str(file["digest"]).removeprefix("sha256:"),
    }


def _file_set(name: str, includes: str, kind: str) -> Node:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": kind, "includes": includes}


def _record_set(name: str, schema: Sequence[Mapping[str, Any]], source: Node) -> Node:
    fields = []
    for column in schema:
        kind, repeated = _data_type(str(column["type"]))
        made = {
            "@type": "cr:Field",
            "@id": f"{name}/{column['name']}",
            "name": f"{name}/{column['name']}",
            "description": f"Arrow type {column['type']}" + ("" if column.get("nullable", True) else ", never null"),
            "dataType": kind,
            "source": {**source, "extract": {"column": column["name"]}},
        }
        fields.append({**made, "repeated": True} if repeated else made)
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _files_of(name: str, ending: str, kind: str) -> Node:
    """One record for each file of a set: its path and its content."""
    records = f"records of {name}"
    shown = {"image": "sc:ImageObject", "audio": "sc:AudioObject"}.get(kind.partition("/")[0], "sc:Text")
    fields = [("path", "sc:Text", "fullpath"), ("content", shown, "content")]
    return {
        "@type": "cr:RecordSet",
        "@id": records,
        "name": records,
        "description": f"The files that end with {ending}." if ending else "The files without an ending.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{records}/{what}",
                "name": f"{records}/{what}",
                "dataType": data_type,
                "source": {"fileSet": {"@id": name}, "extract": {"fileProperty": part}},
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


def _endings(files: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        ending = PurePosixPath(file["path"]).suffix
        found.setdefault(ending, _kind(f"x{ending}"))
    return dict(sorted(found.items()))
