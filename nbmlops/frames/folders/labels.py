"""What is said about the files of a folder: a table with a column of paths, kept beside the list of files.

The table is any frame, so several rows may speak of one file (the boxes in an image), and dtypes come back exact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, digest, files, parquet
from nbmlops.frames.folders.walk import Tree, shortened

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

PATHS = ("path", "file", "file_name", "filename")
FOLDERS = "folders"
_TOP = 50


@dataclass(frozen=True)
class Labels:
    """A checked label table. ``column`` is the field that holds paths, ``unlabelled`` the files that no row names."""

    packed: arrow.Packed
    column: str
    as_: str
    digest: str
    unlabelled: list[str]

    def meaning(self) -> dict[str, str]:
        """What the digest of the folder covers."""
        return {"column": self.column, "digest": self.digest}

    def summary(self) -> dict[str, Any]:
        """``rows``, ``unlabelled`` and the counts of the 50 most frequent values of each column of text or category."""
        table = self.packed.table
        counted = {}
        for name in (n["field"] for n in self.packed.manifest["columns"] if n["field"] != self.column):
            kind = table.schema.field(name).type
            if digest.is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
                counts = pc.value_counts(table.column(name)).to_pylist()
                if len(counts) <= _TOP:
                    counts.sort(key=lambda c: (-c["counts"], str(c["values"])))
                    counted[name] = {"" if c["values"] is None else str(c["values"]): c["counts"] for c in counts}
        return {"rows": table.num_rows, "unlabelled": len(self.unlabelled), "counts": counted}


def read_labels(given: Any, tree: Tree) -> Labels:
    """The label table of a folder.

    Args:
        given: a frame, or a CSV or Parquet file, with a column ``path``, ``file``, ``file_name`` or ``filename`` (or
            a pandas index) of paths relative to the folder; or ``"folders"``: the class of a file is the name of the
            folder it lies in. A file is also looked for in the folder itself.
        tree: what lies in the folder.

    Raises:
        InvalidValue: no column of paths, or rows that name no file of the folder; all of them are named.
        NotFound: there is no such label file.
    """
    own = ""
    as_ = "pandas"
    if isinstance(given, str) and given == FOLDERS:
        given = _by_folder(tree)
    elif isinstance(given, str | os.PathLike):
        path = Path(given)
        if not path.is_file() and (tree.folder / path).is_file():
            path = tree.folder / path
        own = os.path.relpath(path, tree.folder).replace(os.sep, "/")
        given = files.read_file(path)
    else:
        as_ = ""
    packed = arrow.pack(given)
    column = _path_column(packed)
    unlabelled = _check(packed, column, tree, own)
    arrow.check_round_trip(given, packed)
    content, _ = digest.table_digest(packed.table, packed.manifest)
    return Labels(packed, column, as_ or packed.manifest["engine"], content, unlabelled)


def _by_folder(tree: Tree) -> pa.Table:
    paths = [f.path for f in tree.files if "/" in f.path]
    if not paths:
        raise InvalidValue(
            f"no file of {tree.folder} lies in a folder that could be its label",
            "make one folder for each class, or give a table of labels",
        )
    return pa.table({"path": paths, "label": [p.split("/")[-2] for p in paths]})


def _path_column(packed: arrow.Packed) -> str:
    fields = [n["field"] for n in packed.manifest["columns"]]
    levels = packed.manifest.get("index", {}).get("levels", [])
    named = [n for n in PATHS if n in packed.table.column_names]
    found = named[0] if named else levels[0]["field"] if len(levels) == 1 else None
    if found is None or not digest.is_text(packed.table.schema.field(found).type):
        raise InvalidValue(
            f"the labels have no column of paths; they have: {', '.join(map(repr, fields))}",
            f"name a column of texts one of: {', '.join(PATHS)}",
        )
    return found


def _check(packed: arrow.Packed, column: str, tree: Tree, own: str) -> list[str]:
    """The files without a row; ``own`` is the label file, which needs none."""
    paths = packed.table.column(column).to_pylist()
    known = {f.path for f in tree.files}
    faults = [f"row {i} has no path" for i, path in enumerate(paths) if path is None]
    faults += [f"{p!r} is not in the folder" for p in dict.fromkeys(paths) if p is not None and p not in known]
    if faults:
        hint = f"paths are relative to {tree.folder}, with / between and spelled exactly as the files are"
        raise InvalidValue.of(f"the labels, column {column!r}", shortened(faults), hint)
    return sorted(known - set(paths) - {own})


def put_labels(blobs: Blobs, labels: Labels) -> dict[str, Any]:
    """Write the table; returns what the manifest of the folder says about it."""
    return {
        "column": labels.column,
        "as": labels.as_,
        "digest": labels.digest,
        "rows": labels.packed.rows,
        "frame": labels.packed.manifest,
        "files": parquet.put_table(blobs, labels.packed.table),
    }


def get_table(blobs: Blobs, note: Mapping[str, Any]) -> pa.Table:
    """The stored label table, with the types it was packed with."""
    return arrow.stored_types(parquet.get_table(blobs, note["files"]), note["frame"])


def get_labels(blobs: Blobs, note: Mapping[str, Any], as_: str | None = None) -> Any:
    """The label table as the frame that was given, or as ``as_``."""
    return arrow.unpack(get_table(blobs, note), dict(note["frame"]), as_ or note["as"])


def paths_where(table: pa.Table, column: str, wanted: Mapping[str, Any]) -> set[str]:
    """The paths of the rows whose columns have these values; a list, set or tuple means any of its values.

    Raises:
        InvalidValue: columns that the labels do not have; all of them are named.
    """
    if unknown := [name for name in wanted if name not in table.column_names]:
        shown = ", ".join(table.column_names)
        raise InvalidValue(f"the labels have no column {', '.join(map(repr, unknown))}", f"there are: {shown}")
    chosen = pa.chunked_array([pa.repeat(True, table.num_rows)])
    for name, values in wanted.items():
        several: Sequence[Any] = list(values) if isinstance(values, list | set | tuple | frozenset) else [values]
        try:
            asked = pa.array(several, table.schema.field(name).type)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InvalidValue(f"column {name!r} of the labels cannot be {several!r}: {error}", "") from error
        chosen = pc.and_(chosen, pc.is_in(table.column(name), value_set=asked))
    return set(table.column(column).filter(chosen).to_pylist())
