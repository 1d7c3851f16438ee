"""CSV and Parquet files as Arrow tables."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from nbmlops.errors import InvalidValue, NotFound

CSV = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst")
PARQUET = (".parquet", ".pq")


def read_file(path: Path) -> pa.Table:
    """The table in a CSV or Parquet file.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it is of another kind, or cannot be read.
    """
    if not path.is_file():
        raise NotFound(f"no file or folder {str(path)!r}", f"paths are relative to {os.getcwd()}")
    name = path.name.lower()
    try:
        if name.endswith(CSV):
            return pyarrow.csv.read_csv(path)
        if name.endswith(PARQUET):
            return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidValue(
            f"{path} cannot be read: {error}", "check that it is the kind of file its name says"
        ) from error
    known = ", ".join((*CSV, *PARQUET))
    raise InvalidValue(
        f"{path} is not a file that can become a data set", f"files end with {known}; put other files into a folder"
    )
