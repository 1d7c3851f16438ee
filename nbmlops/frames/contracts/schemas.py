"""pandera: schemas that serve as contracts, and contracts as schemas."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from nbmlops import lazy
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound
from nbmlops.frames import arrow
from nbmlops.frames.contracts.contract import ColumnRule, Contract
from nbmlops.records import Violation

EXAMPLES = 5
_SIMPLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


def recognised(given: Any) -> Any:
    """A pandera schema, also of a model; None for anything else. Nothing is imported to find out."""
    if isinstance(given, type) and _is_pandera(given, "DataFrameModel"):
        return given.to_schema()  # type: ignore[attr-defined]
    return given if _is_pandera(type(given), "DataFrameSchema") else None


def from_file(path: Path, name: str) -> Any:
    """The schema with this name in a Python file. The file is run: only one that the user names in this call.

    Raises:
        NotFound: there is no such file, or nothing of that name in it.
        InvalidValue: it ends with an error, or this is no schema.
    """
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", "give FILE.py:NAME, the path from the working directory")
    module = ModuleType(f"nbmlops_contract_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # typing resolves a model's annotations through it
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102  (named by the user)
        if not hasattr(module, name):
            raise NotFound.of(f"schema in {path}", name, [n for n, v in vars(module).items() if _is_schema(v)])
        schema = recognised(getattr(module, name))
    except NbmlopsError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise InvalidValue(
            f"{path} cannot be run: {type(error).__name__}: {error}", "run it with python to see where"
        ) from error
    finally:
        del sys.modules[module.__name__]
    if schema is None:
        raise InvalidValue(f"{name} in {path} is no pandera schema", "name a DataFrameSchema or a DataFrameModel")
    return schema


def _is_schema(value: Any) -> bool:
    return _is_pandera(type(value), "DataFrameSchema") or (
        isinstance(value, type) and _is_pandera(value, "DataFrameModel")
    )


def _is_pandera(kind: type, name: str) -> bool:
    return any(c.__name__ == name and c.__module__.startswith("pandera") for c in kind.__mro__)


def violations(schema: Any, data: Any) -> tuple[int, int, list[Violation]]:
    """Rows, the number of rules, and every violation of a pandera schema, which needs the whole frame in memory."""
    polars = ".polars" in type(schema).__module__
    lazy.need(f"pandera.{'polars' if polars else 'pandas'}", "a pandera schema", "data")
    errors = lazy.need("pandera.errors", "a pandera schema", "data")
    frame = _frame(data, "polars" if polars else "pandas")
    rules = sum(1 + len(c.checks) for c in schema.columns.values()) + len(schema.checks)
    try:
        schema.validate(frame, lazy=True)
    except errors.SchemaErrors as error:
        cases = error.failure_cases
        rows = cases.to_dicts() if polars else cases.to_dict("records")
        return len(frame), rules, _grouped(rows, len(frame))
    return len(frame), rules, []


def _frame(data: Any, engine: str) -> Any:
    """The frame itself if it is one of that library, so that its dtypes and index are those that are judged."""
    if lazy.is_instance(data, engine, "DataFrame"):
        return data
    if not arrow.is_frame(data):
        data = pa.concat_tables(data)
    packed = arrow.pack(data)
    return arrow.unpack(packed.table, packed.manifest, engine)


def _grouped(cases: list[dict[str, Any]], rows: int) -> list[Violation]:
    """Pandera reports one case per row; here one violation per rule."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for case in cases:
        found.setdefault((case["schema_context"], case["column"], case["check"]), []).append(case)
    made = []
    for (context, column, check), same in found.items():
        at = [c for c in same if isinstance(c["index"], int) and not isinstance(c["index"], bool)]
        numbers = list(dict.fromkeys(c["index"] for c in at))
        first = {c["index"]: c["failure_case"] for c in reversed(at)}
        examples = tuple({"row": n, "value": first[n]} for n in numbers[:EXAMPLES])
        whole = not numbers
        seen = f"it is {same[0]['failure_case']!r}" if whole else f"{len(numbers):,} rows are not"
        name = str(column) if column is not None and context != "DataFrameSchema" else ""
        share = None if whole or not rows else len(numbers) / rows
        made.append(Violation(name, "schema", str(check), seen, None if whole else len(numbers), share, examples))
    return made


# --- contracts as schemas -------------------------------------------------------------------------------------------
def to_pandera(contract: Contract) -> Any:
    """A contract as a ``pandera.pandas.DataFrameSchema``, for code that wants one; checks over columns stay behind.

    Exact number types are asked for where no value may be missing: pandas has floats where it may.
    """
    pandera = lazy.need("pandera.pandas", "a pandera schema", "data")
    columns = {name: _column(pandera, rule) for name, rule in contract.columns.items()}
    unique = [list(group) for group in contract.unique]
    return pandera.DataFrameSchema(
        columns,
        strict=contract.strict,
        ordered=contract.ordered,
        unique=unique[0] if unique else None,
        name=contract.name,
    )


def _column(pandera: Any, rule: ColumnRule) -> Any:
    checks = []
    if rule.min is not None:
        checks.append(pandera.Check.ge(rule.min))
    if rule.max is not None:
        checks.append(pandera.Check.le(rule.max))
    if rule.isin is not None:
        checks.append(pandera.Check.isin(list(rule.isin)))
    if rule.matches is not None:
        checks.append(pandera.Check.str_matches(f"(?:{rule.matches})$"))
    if rule.length is not None:
        checks.append(pandera.Check.str_length(rule.length.min, rule.length.max))
    exact = rule.type if rule.type in _SIMPLE and not rule.nullable else None
    return pandera.Column(exact, checks, nullable=rule.nullable, unique=rule.unique, required=rule.required)
