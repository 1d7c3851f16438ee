"""What clients send, as columns of plain values; and what goes back. Pure: no HTTP, no store.

Columns are ``{name: [values]}``, all of the same length. They keep JSON's own types, so that the check against the
signature sees what was sent: text is never read as a number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.errors import InvalidValue

Columns = dict[str, list[Any]]

_WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_REAL = {"FP16", "FP32", "FP64"}
DATATYPES = ("BOOL", *sorted(_WHOLE), *sorted(_REAL), "BYTES")
MLFLOW = ("dataframe_split", "dataframe_records", "inputs", "instances")
_SHOWN = 20  # faults in one message


def from_v2(body: Any, signature: Mapping[str, Any]) -> Columns:
    """The tensors of an Open Inference Protocol request: one per column, or one 2-D tensor for a model of arrays.

    A tensor is ``{"name", "shape": [n] or [n, 1], "datatype", "data"}``; data may be flat or nested, null is a missing
    value.

    Raises:
        InvalidValue: lists every fault of every tensor.
    """
    tensors = body.get("inputs") if isinstance(body, Mapping) else None
    if not isinstance(tensors, list) or not tensors:
        raise InvalidValue("the request has no inputs", 'send {"inputs": [{"name", "shape", "datatype", "data"}, …]}')
    faults: list[str] = []
    columns: Columns = {}
    names = [c["name"] for c in signature["inputs"]]
    for place, tensor in enumerate(tensors):
        name, found = _tensor(_flattened(tensor, signature), place, faults)
        if found is None:
            continue
        values, width = found
        if width is None:
            if name in columns:
                faults.append(f"input {name}: given twice")
            columns[name] = values
        elif signature["input_kind"] == "array" and width == len(names) and len(tensors) == 1:
            columns = {column: values[i::width] for i, column in enumerate(names)}
        else:
            faults.append(f"input {name}: {width} columns in one tensor")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        faults.append("inputs of different lengths: " + ", ".join(f"{k} has {v}" for k, v in lengths.items()))
    return _done(columns, faults, _v2_hint(signature))


def _flattened(tensor: Any, signature: Mapping[str, Any]) -> Any:
    """A tensor of the model's own dimensions as one of rows and columns."""
    dims, shape = signature.get("shape", [])[1:], tensor.get("shape") if isinstance(tensor, Mapping) else None
    if len(dims) < 2 or not isinstance(shape, list) or shape[1:] != dims:
        return tensor
    return {**tensor, "shape": [shape[0], math.prod(dims)]}


def _v2_hint(signature: Mapping[str, Any]) -> str:
    names = [c["name"] for c in signature["inputs"]]
    if signature["input_kind"] == "array":
        return f"send one tensor of shape [rows, {len(names)}], or one of shape [rows] per column"
    return "send one tensor of shape [rows] per column: " + ", ".join(names[:12])


def _tensor(tensor: Any, place: int, faults: list[str]) -> tuple[str, tuple[list[Any], int | None] | None]:
    """The flat values and, for a 2-D tensor of several columns, their number; None if it has a fault."""
    if not isinstance(tensor, Mapping) or not isinstance(tensor.get("name"), str):
        faults.append(f"input {place} has no name")
        return "", None
    name: str = tensor["name"]
    shape: Any = tensor.get("shape")
    datatype: Any = tensor.get("datatype")
    data: Any = tensor.get("data")
    before = len(faults)
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 2:
        faults.append(f"input {name}: shape {shape!r} is not [rows] or [rows, columns]")
    if datatype not in DATATYPES:
        faults.append(f"input {name}: datatype {datatype!r} is not one of {', '.join(DATATYPES)}")
    if not isinstance(data, list):
        faults.append(f"input {name}: data is no list")
    if len(faults) > before:
        return name, None
    values = _flat(data)
    if math.prod(shape) != len(values):
        faults.append(f"input {name}: shape {shape} and {len(values)} values")
    fault = _wrong(values, datatype)
    if fault:
        faults.append(f"input {name}: {fault}")
    width = shape[1] if len(shape) == 2 and shape[1] != 1 else None
    return name, (values, width) if len(faults) == before else None


def _flat(data: list[Any]) -> list[Any]:
    if not any(isinstance(v, list) for v in data):
        return data
    return [value for part in data for value in (_flat(part) if isinstance(part, list) else [part])]


def _wrong(values: list[Any], datatype: str) -> str | None:
    allowed: tuple[type, ...] = (str,)
    if datatype == "BOOL":
        allowed = (bool,)
    elif datatype in _WHOLE:
        allowed = (int,)
    elif datatype in _REAL:
        allowed = (float, int)
    for place, value in enumerate(values):
        if value is not None and type(value) not in allowed:
            return f"value {place} is {value!r:.60}, which is no {datatype}"
    return None


def from_mlflow(body: Any, signature: Mapping[str, Any]) -> Columns:
    """The body of MLflow's scoring protocol: exactly one of dataframe_split, dataframe_records, inputs, instances.

    Raises:
        InvalidValue: lists every fault.
    """
    given = [key for key in MLFLOW if isinstance(body, Mapping) and key in body]
    if len(given) != 1:
        found = f"it has {' and '.join(given)}" if given else "it has none of them"
        raise InvalidValue(f"the request needs exactly one of {', '.join(MLFLOW)}, and {found}", "see docs/serving.md")
    key, data = given[0], body[given[0]]
    if key == "dataframe_split":
        return _split(data)
    if isinstance(data, Mapping):
        if key == "dataframe_records":
            raise InvalidValue("dataframe_records is no list", 'send [{"column": value, …}, …]')
        return _by_column(data, key)
    return _rows(data, key, signature)


def _split(data: Any) -> Columns:
    names = data.get("columns") if isinstance(data, Mapping) else None
    rows = data.get("data") if isinstance(data, Mapping) else None
    hint = 'send {"columns": [names], "data": [[values of row 0], …]}'
    if not isinstance(names, list) or not isinstance(rows, list):
        raise InvalidValue("dataframe_split has no columns and data", hint)
    faults = [f"column {name!r} is given twice" for name in dict.fromkeys(map(str, names)) if names.count(name) > 1]
    faults += [
        f"row {i} has {len(row) if isinstance(row, list) else 'no'} values, and {len(names)} are needed"
        for i, row in enumerate(rows)
        if not isinstance(row, list) or len(row) != len(names)
    ]
    if faults:
        return _done({}, faults, hint)
    return _done({str(name): [row[i] for row in rows] for i, name in enumerate(names)}, [], hint)


def _by_column(data: Mapping[str, Any], key: str) -> Columns:
    columns = {str(k): _flat(v) if isinstance(v, list) else [v] for k, v in data.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    faults = []
    if len(set(lengths.values())) > 1:
        faults = ["columns of different lengths: " + ", ".join(f"{k} has {v}" for k, v in lengths.items())]
    return _done(columns, faults, f'send "{key}": {{"column": [values], …}}')


def _rows(data: Any, key: str, signature: Mapping[str, Any]) -> Columns:
    """A list of records, or of rows of numbers in the order of the signature."""
    names = [c["name"] for c in signature["inputs"]]
    hint = f'send "{key}": [{{"{names[0] if names else "column"}": value, …}}, …]'
    if data == []:
        raise InvalidValue(f"{key} is empty: there are no rows to predict", hint)
    if not isinstance(data, list):
        raise InvalidValue(f"{key} is no list of rows", hint)
    if all(isinstance(row, Mapping) for row in data):
        return _records(data, signature, hint)
    if len(names) == 1 and not any(isinstance(row, list | Mapping) for row in data):
        return {names[0]: list(data)}
    if len(signature.get("shape", ())) > 2:  # rows of several dimensions come nested
        data = [_flat(row) if isinstance(row, list) else row for row in data]
    faults = [
        f"row {i} is {_said(row)}, and a list of {len(names)} values is needed"
        for i, row in enumerate(data)
        if not isinstance(row, list) or len(row) != len(names)
    ]
    if signature["input_kind"] == "frame":
        faults.insert(0, "rows without column names, and the model knows its columns by name")
    if faults:
        return _done({}, faults, hint)
    return {name: [row[i] for row in data] for i, name in enumerate(names)}


def _records(data: Sequence[Mapping[str, Any]], signature: Mapping[str, Any], hint: str) -> Columns:
    """A key that a record lacks is a missing value where training saw some, else a fault."""
    nullable = {c["name"] for c in signature["inputs"] if c["nullable"]}
    names = list(dict.fromkeys(name for row in data for name in row))
    asked = {c["name"] for c in signature["inputs"]}
    faults = [
        f"row {i} lacks {', '.join(lacking)}"
        for i, row in enumerate(data)
        if len(row) < len(names) and (lacking := [n for n in names if n not in row and n in asked - nullable])
    ]
    columns = {str(name): [row.get(name) for row in data] for name in names}
    for name in nullable - set(columns):
        columns[name] = [None] * len(data)
    return _done(columns, faults, hint)


def _said(row: Any) -> str:
    return f"a list of {len(row)}" if isinstance(row, list) else f"{row!r:.40}"


def _done(columns: Columns, faults: list[str], hint: str) -> Columns:
    if len(faults) > _SHOWN:
        faults = [*faults[:_SHOWN], f"and {len(faults) - _SHOWN} more"]
    if not faults and (not columns or not next(iter(columns.values()))):
        faults = ["there are no rows"]
    if faults:
        raise InvalidValue.of("the request", faults, hint)
    return columns


# -- answers -------------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=256)
def datatype_of(dtype: str) -> str:
    """The protocol's name for a pandas dtype; text, categories and times are BYTES."""
    plain = dtype.lower().partition("[")[0]
    if plain in {"bool", "boolean"}:
        return "BOOL"
    if plain.upper() in _WHOLE:
        return plain.upper()
    return {"float16": "FP16", "float32": "FP32", "float64": "FP64"}.get(plain, "BYTES")


def outputs_asked(body: Mapping[str, Any], signature: Mapping[str, Any]) -> list[str] | None:
    """The names of the outputs a v2 request asks for; None for all.

    Raises:
        InvalidValue: it asks for outputs the model does not have.
    """
    asked = body.get("outputs")
    if not asked:
        return None
    known = [o["name"] for o in signature["outputs"]]
    if not isinstance(asked, list) or not all(isinstance(o, Mapping) for o in asked):
        raise InvalidValue("outputs is no list of objects", 'send "outputs": [{"name": "prediction"}]')
    if strange := [f"there is no output {o.get('name')}" for o in asked if o.get("name") not in known]:
        raise InvalidValue.of("the request", strange, f"the model gives {', '.join(known)}")
    return [o["name"] for o in asked]


def to_v2(outputs: Columns, types: Mapping[str, str], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Output columns as tensors of shape [rows]; all of them, or those named. ``types`` are their pandas dtypes."""
    tensors = []
    for name in names or outputs:
        datatype, data = datatype_of(types[name]), outputs[name]
        if datatype == "BYTES":
            data = [None if value is None else str(value) for value in data]
        tensors.append({"name": name, "shape": [len(data)], "datatype": datatype, "data": data})
    return tensors
