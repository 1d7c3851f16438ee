"""What the JSON columns hold. A value of another shape would stop every listing here that meets its row.

Only what is read without a second look is asked for; other keys may be there, for later versions add some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dict(value: Any) -> bool:
    return isinstance(value, dict)


def _metric(value: Any) -> bool:
    """A number, or one that JSON has not, as text."""
    return _number(value) or value in ("nan", "inf", "-inf")


def _each(shape: Shape) -> Shape:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _values(shape: Shape) -> Shape:
    return lambda value: isinstance(value, dict) and all(map(shape, value.values()))


def _having(*needed: str, **shapes: Shape) -> Shape:
    """An object; those keys are needed, and those that are there, and not null, have these shapes."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(value.get(key) is not None for key in needed)
            and all(shape(value[key]) for key, shape in shapes.items() if value.get(key) is not None)
        )

    return fits


def _only(*known: str, shape: Shape) -> Shape:
    """An object of a shape whose keys are fields of a record, so that no other is understood."""
    return lambda value: isinstance(value, dict) and value.keys() <= set(known) and shape(value)


# fmt: off
_ERROR = _having(name=_text, message=_text, traceback=_text)
_FINDING = _having(
    "kind", "level", "what", kind=_text, level=_text, what=_text, mend=_text, cells=_each(_text), names=_each(_text)
)
_DIFFERENCE = _only(
    "kind", "name", "before", "after", "size", "cells",
    shape=_having("kind", "name", "cells", kind=_text, name=_text, cells=_each(_text), size=_number),
)
_REPORT = _only(
    "how", "compared", "differences", "error", "suspects", "environment", "tolerance", "seconds",
    shape=_having(
        "how", how=_text, compared=_values(_number), differences=_each(_DIFFERENCE), suspects=_each(_text),
        error=_dict, environment=_dict, tolerance=_number, seconds=_number,
    ),
)
# fmt: on
_SIGNATURE = _having(inputs=_each(_dict), outputs=_each(_dict))

_SHAPES: Mapping[tuple[str, str], tuple[Shape, str]] = {
    ("experiments", "tags"): (_dict, "is no object"),
    ("runs", "source"): (_having(type=_text, path=_text, cell_id=_text, cwd=_text), "is no source"),
    ("runs", "git"): (_having(commit=_text, branch=_text, diff=_text), "is no state of git"),
    ("runs", "error"): (_ERROR, "is no error"),
    ("runs", "verdict"): (_having("verdict", verdict=_text, findings=_each(_FINDING)), "is no verdict"),
    ("cell_executions", "error"): (_ERROR, "is no error"),
    ("cell_executions", "outputs"): (_each(_having(output_type=_text)), "are no outputs"),
    ("cell_executions", "names"): (_values(_each(_text)), "are no names"),
    ("certificates", "report"): (_REPORT, "is no report"),
    ("datasets", "tags"): (_dict, "is no object"),
    ("dataset_versions", "schema"): (_each(_having(name=_text, type=_text)), "is no schema"),
    ("dataset_versions", "source"): (_having(type=_text, path=_text), "is no source"),
    ("model_versions", "signature"): (_SIGNATURE, "is no signature"),
    ("model_versions", "metrics"): (_values(_metric), "are no metrics"),
    ("model_versions", "datasets"): (_each(_text), "are no data sets"),
    ("logged_models", "signature"): (_SIGNATURE, "is no signature"),
    ("stage_runs", "params"): (_dict, "are no params"),
    ("stage_runs", "pins"): (_dict, "are no pins"),
    ("stage_runs", "error"): (_ERROR, "is no error"),
    ("stage_runs", "facts"): (_dict, "are no facts"),
    ("stage_runs", "why"): (_each(_text), "are no reasons"),
    ("flows", "params"): (_dict, "are no params"),
    ("flows", "outputs"): (_dict, "are no outputs"),
    ("flows", "decision"): (_having("status", status=_text), "is no decision"),
    ("flows", "trigger"): (_dict, "is no trigger"),
}  # fmt: skip


_BY_TABLE: dict[str, list[tuple[str, Shape, str]]] = {}
for (_table, _column), (_shape, _said) in _SHAPES.items():
    _BY_TABLE.setdefault(_table, []).append((_column, _shape, _said))


def misshapen(table: str, row: Mapping[str, Any]) -> list[str]:
    """The columns of a row whose JSON has another shape than theirs; types and depth are known to be right."""
    return [
        f"{table}.{name}: {row[name]!r:.60} {said}"
        for name, shape, said in _BY_TABLE.get(table, ())
        if row[name] is not None and not shape(row[name])
    ]
