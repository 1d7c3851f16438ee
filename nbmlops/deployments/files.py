"""Files that predictions come from and go to: CSV and Parquet, and the Parquet blobs of the log."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue, NotFound, StoreFault, UsageFault
from nbmlops.frames.tables import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

INPUT, OUTPUT = "input.", "output."  # prefixes of columns in the log


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
