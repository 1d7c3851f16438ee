"""The digest vectors of tests/data/digest_vectors.json, made with whatever pyarrow runs this file.

Alone it prints ``{"name": digest}`` as JSON; with a path it also reads Arrow streams from there, one column per file,
and prints the digest of each. Nothing is imported but what the digest itself needs: it also runs under the oldest
pyarrow that is supported.
"""

from __future__ import annotations

import decimal
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from nbmlops.frames import digest

FILE = Path(__file__).parents[1] / "data" / "digest_vectors.json"
FLOATS = {"float16": "<u2", "float32": "<u4", "float64": "<u8"}


def type_of(told):
    """An Arrow type from its recipe: a name, or ``{kind: parameters}``."""
    if isinstance(told, str):
        return {"float16": pa.float16, "float32": pa.float32, "float64": pa.float64}.get(
            told, getattr(pa, told + "_" if told == "bool" else told)
        )()
    ((kind, more),) = told.items()
    if kind in {"list", "large_list"}:
        return getattr(pa, kind + "_" if kind == "list" else kind)(type_of(more))
    if kind == "fixed_size_list":
        return pa.list_(type_of(more[0]), more[1])
    if kind == "struct":
        return pa.struct([pa.field(name, type_of(inner)) for name, inner in more])
    if kind == "map":
        return pa.map_(*map(type_of, more))
    if kind == "dictionary":
        return pa.dictionary(*map(type_of, more))
    if kind == "fixed_size_binary":
        return pa.binary(more)
    return getattr(pa, kind)(*more)


def array_of(told):
    """An array from its recipe: ``type`` and ``values``, or ``range``, or of floats their ``bits``."""
    kind = type_of(told["type"])
    if "range" in told:
        return pa.array(np.arange(*told["range"]), kind)
    if "bits" in told:
        numbers = np.array([int(b or "0", 16) for b in told["bits"]], FLOATS[told["type"]])
        present = pa.array([b is not None for b in told["bits"]]).buffers()[1]
        return pa.Array.from_buffers(kind, len(numbers), [present, pa.py_buffer(numbers.tobytes())])
    return pa.array([value_of(v, kind) for v in told["values"]], kind)


def value_of(value, kind):
    """A value from its recipe: bytes are hexadecimal, decimals are text, maps are lists of pairs."""
    if value is None:
        return None
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return bytes.fromhex(value)
    if pa.types.is_decimal(kind):
        return decimal.Decimal(value)
    if pa.types.is_map(kind):
        return [(value_of(k, kind.key_type), value_of(v, kind.item_type)) for k, v in value]
    if pa.types.is_struct(kind):
        return {f.name: value_of(value[f.name], f.type) for f in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [value_of(v, kind.value_type) for v in value]
    return value


def digest_of(vector):
    """The digest of a vector, of a column or of a table."""
    if "fields" not in vector:
        return digest.column_digest(array_of(vector))
    arrays = [array_of(f) for f in vector["fields"]]
    fields = [pa.field(f["name"], a.type, f.get("nullable", True)) for f, a in zip(vector["fields"], arrays)]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    return digest.table_digest(table, vector.get("manifest"))[0]


def vectors():
    """The vectors of the file."""
    return json.loads(FILE.read_text())["vectors"]


def main(folder=None):
    """Print the digests of all vectors and of the columns in a folder."""
    made = {v["name"]: digest_of(v) for v in vectors()}
    for path in sorted(Path(folder).glob("*.arrows")) if folder else ():
        with pa.ipc.open_stream(path) as stream:
            made[path.name] = digest.column_digest(stream.read_all().column(0))
    print(json.dumps({"pyarrow": pa.__version__, "digests": made}))


if __name__ == "__main__":
    main(*sys.argv[1:])
