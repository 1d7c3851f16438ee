"""Files that predictions come from and go to: CSV and Parquet, and the Parquet blobs of the log."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue, NotFound, StoreFault, UsageFault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet")
INPUT, OUTPUT = "input.", "output."  # prefixes of columns in the log
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


def target(out: str | os.PathLike[str], source: Any = None) -> Path:
    """The path to write to; nothing may stand there, least of all the ``source``."""
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidValue(f"cannot write predictions to {out}", f"name a file that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", "make it first, or choose another")
    given = Path(source) if isinstance(source, str | os.PathLike) else None
    if given and given.exists() and path.exists() and path.samefile(given):
        raise UsageFault(f"{out} is the input, and would be overwritten", "name another file for the predictions")
    if os.path.lexists(path):
        raise UsageFault(f"{out} exists already", "name another file for the predictions, or remove that one first")
    return path


@contextlib.contextmanager
def written(frame: pd.DataFrame, target: Path | None) -> Iterator[None]:
    """Writes under a temporary name, runs the body, and renames only if the body succeeded."""
    if target is None:
        yield
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix.lower())
        os.close(handle)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        try:
            if target.suffix.lower() == ".csv":
                frame.to_csv(name, index=False)
            else:
                frame.to_parquet(name, index=False)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # mkstemp is private; a result is as readable as any file made here
        except OSError as error:
            raise _cannot_write(target, error) from error
        yield
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _cannot_write(target: Path, error: OSError) -> StoreFault:
    return StoreFault(f"cannot write {target}: {error.strerror or error}", "choose another place, or make room")


def table(ids: list[str], times: list[float], inputs: pd.DataFrame, outputs: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {"prediction_id": pa.array(ids, pa.string()), "at": pa.array(times, pa.float64())}
    for prefix, frame in ((INPUT, inputs), (OUTPUT, outputs)):
        for place, name in enumerate(frame.columns):
            columns[f"{prefix}{name}"] = _arrow(frame.iloc[:, place])
    return pa.table(columns)


def _arrow(values: pd.Series) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Mixed objects have no Arrow type. The log must not refuse what the model took: kept as text.
        return pa.array([None if v is None else str(v) for v in values], pa.string())


def parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
