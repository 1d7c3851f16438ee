"""CSV and Parquet files as frames, with the types that somebody asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
_TRUTH = ("true", "false")
_MISSING = ("", "NA", "N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")  # in CSV, where the column is no text


def read_table(source: Any, signature: dict[str, Any] | None = None, suffix: str | None = None) -> pd.DataFrame:
    """A CSV or Parquet file, or a stream with its ``suffix``, as a frame.

    In CSV, columns that the signature calls text stay text (``007`` is no number, ``NA`` is Namibia), and an
    empty field is missing. Where a number or truth value was asked for and some fields are none, only those stay text.

    Raises:
        InvalidValue: another kind of file, or one that cannot be read as what it claims to be.
        NotFound: there is no such file.
    """
    import pandas as pd

    shown = str(source) if isinstance(source, str | os.PathLike) else "the body"
    suffix = suffix or Path(shown).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidValue(
            f"{shown} is neither {' nor '.join(SUFFIXES)}", "give a CSV or Parquet file, a frame, or dataset:NAME"
        )
    if isinstance(source, str | os.PathLike) and not Path(source).is_file():
        raise NotFound(f"no file {shown!r}", "check the path; a data set is written dataset:NAME")
    asked = (signature or {}).get("inputs", ())
    try:
        if suffix == ".parquet":
            return pd.read_parquet(source)
        texts = {c["name"]: str for c in asked if _is_text(c)}
        missing = {c["name"]: [""] if c["name"] in texts else list(_MISSING) for c in asked}
        frame = pd.read_csv(source, dtype=texts, keep_default_na=False, na_values=missing or list(_MISSING))
    except (ValueError, OSError) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        raise InvalidValue(f"{shown} cannot be read as {suffix[1:]}: {error}", "check the file") from error
    for column in asked:
        if column["name"] in frame.columns and column["name"] not in texts:
            frame[column["name"]] = _as_asked(column, frame[column["name"]])
    return frame


def _as_asked(column: dict[str, Any], values: pd.Series) -> pd.Series:
    """One field that is no number makes pandas read the whole column as text; the check must blame that one only."""
    import pandas as pd
    from pandas.api import types

    if types.is_numeric_dtype(values.dtype) or types.is_datetime64_any_dtype(values.dtype):
        return values
    fields = values.astype(object)
    if column["kind"] == "boolean":
        return fields.map(lambda v: v.lower() == "true" if isinstance(v, str) and v.lower() in _TRUTH else v)
    if column["kind"] == "numeric" or _is_number(column):
        numbers = pd.to_numeric(fields.astype(str), errors="coerce")
        return fields.where(numbers.isna(), numbers.astype(object))
    return values


def _is_text(column: dict[str, Any]) -> bool:
    return column["kind"] == "text" or (
        column["kind"] == "categorical" and all(isinstance(c, str) for c in column.get("categories") or [])
    )


def _is_number(column: dict[str, Any]) -> bool:
    known = column.get("categories") or []
    return bool(known) and all(isinstance(c, int | float) and not isinstance(c, bool) for c in known)
