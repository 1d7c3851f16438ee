"""Small changes of one column of one chunk: which rows hold another value now, and which."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames.digest import contiguous, is_text

SHARE = 0.02  # of a chunk's rows: above it the column is written anew
ROWS = 1 << 12  # a chunk with fewer is written anew: that costs no more than a patch
LONGEST = 4  # patches on one column of a chunk; then they become one, or the column is written anew
_ROW, _VALUE = "row", "value"


def changed(before: pa.ChunkedArray, after: pa.ChunkedArray) -> np.ndarray | None:
    """The rows whose values differ, bit by bit; None where too many do or the type is not compared."""
    if before.type != after.type or len(before) != len(after):
        return None
    a, b = contiguous(before), contiguous(after)
    differ = _differ(a, b)
    if differ is None:
        return None
    if a.null_count or b.null_count:
        here, there = np.asarray(a.is_valid()), np.asarray(b.is_valid())
        differ = (differ & here & there) | (here != there)
    rows = np.flatnonzero(differ)
    return rows if len(rows) <= SHARE * len(a) else None


def _differ(a: pa.Array, b: pa.Array) -> np.ndarray | None:
    kind = a.type
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if pa.types.is_boolean(kind) or is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return np.asarray(pc.fill_null(pc.not_equal(a, b), False))
    if not hasattr(kind, "bit_width") or kind.bit_width % 8:
        return None
    width = kind.bit_width // 8
    cells = [
        np.frombuffer(x.buffers()[1] or b"", np.uint8)[x.offset * width : (x.offset + len(x)) * width] for x in (a, b)
    ]
    if width in {1, 2, 4, 8}:
        return cells[0].view(f"u{width}") != cells[1].view(f"u{width}")
    return (cells[0].reshape(-1, width) != cells[1].reshape(-1, width)).any(axis=1)


def table(rows: np.ndarray, values: pa.ChunkedArray) -> pa.Table:
    """A patch as the table that is stored: positions in the chunk, rising, and the values there."""
    return pa.table({_ROW: rows.astype(np.uint32), _VALUE: values})


def apply(column: pa.ChunkedArray, patch: pa.Table) -> pa.ChunkedArray:
    """The column with the patch's values at the patch's rows."""
    old, values = contiguous(column), contiguous(patch.column(_VALUE)).cast(column.type)
    rows = patch.column(_ROW).to_numpy()
    if pa.types.is_float16(old.type):  # replace_with_mask does not know them
        place = np.arange(len(old))
        place[rows] = np.arange(len(rows)) + len(old)
        return pa.chunked_array([pa.concat_arrays([old, values]).take(pa.array(place))])
    mask = np.zeros(len(old), bool)
    mask[rows] = True
    return pa.chunked_array([pc.replace_with_mask(old, pa.array(mask), values)])
