"""Many records of one class as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nbmlops.display import markup, plain, sections
from nbmlops.display.shape import Column
from nbmlops.records import plain as json_ready

MOST_HTML = 200
MOST_TEXT = 60
SHOWN = 6  # metrics and params that are shown at once; the rest is there on request

Rows = list[list[Any]]


class Listing(list[Any]):
    """A list of records that a notebook shows as one table, and that is a plain list in all else."""

    def __init__(self, records: Iterable[Any] = (), title: str = "") -> None:
        super().__init__(records)
        self.title = title

    def table(self) -> tuple[list[Column], Rows]:
        """Columns, and one row for each record, as plain JSON values."""
        return table_of(self)

    def _repr_html_(self) -> str:
        columns, rows = visible(*self.table())
        if not rows:
            return markup.table_html([Column("", self.title or "nothing here yet")], [])
        return markup.table_html(columns, rows[:MOST_HTML], self.title, max(0, len(rows) - MOST_HTML))

    def __repr__(self) -> str:
        columns, rows = visible(*self.table())
        if not rows:
            return f"{self.title}: none yet" if self.title else "none yet"
        more = f"\n… and {len(rows) - MOST_TEXT} more" if len(rows) > MOST_TEXT else ""
        head = f"{self.title}\n" if self.title else ""
        return head + plain.table(columns, rows[:MOST_TEXT], widest=40) + more


def visible(columns: Sequence[Column], rows: Rows) -> tuple[list[Column], Rows]:
    """Without the columns that are hidden at first."""
    keep = [i for i, c in enumerate(columns) if not c.hidden]
    return [columns[i] for i in keep], [[row[i] for i in keep] for row in rows]


def table_of(records: Sequence[Any]) -> tuple[list[Column], Rows]:
    """Columns and rows for records of one class; dicts give one column per key."""
    if not records:
        return [], []
    if isinstance(records[0], dict):
        names = list(dict.fromkeys(key for r in records for key in r))
        columns = [_guess(n, [r.get(n) for r in records]) for n in names]
        return columns, [[sections.short(json_ready(r.get(n))) for n in names] for r in records]
    kind = type(records[0]).__name__
    columns = list(FACTS.get(kind, ()))
    if not columns:
        return table_of([r.to_dict() for r in records])
    rows = [[json_ready(_value(r, c.key)) for c in columns] for r in records]
    for part, most in (("metrics", SHOWN), ("params", SHOWN if kind == "Run" else 0), ("tags", 0)):
        if hasattr(records[0], part) and kind in {"Run", "ModelVersion"}:
            _spread(records, part, most, columns, rows)
    return columns, rows


def _value(record: Any, key: str) -> Any:
    if key.startswith("data."):
        return record.data.get(key.removeprefix("data."))
    value = getattr(record, key)
    return len(value) if key in {"stages", "findings"} else value


def _spread(records: Sequence[Any], part: str, most: int, columns: list[Column], rows: Rows) -> None:
    """One column for each metric or param, the most frequent first; only those of the first ``most`` are shown."""
    seen: Counter[str] = Counter()
    for record in records:
        seen.update(list(getattr(record, part)))
    for place, (name, _) in enumerate(seen.most_common()):
        values = [json_ready(getattr(r, part).get(name)) for r in records]
        title = name if part != "tags" else f"tag {name}"
        kind = "number" if part != "tags" and _numeric(values) else "text"
        columns.append(Column(f"{part}.{name}", title, kind, hidden=place >= most))
        for row, value in zip(rows, values, strict=True):
            row.append(value)


def _numeric(values: Iterable[Any]) -> bool:
    """Whether all values that are there are numbers or texts of numbers, as params are kept."""
    try:
        for value in values:
            if value is not None:
                float(value)
    except (TypeError, ValueError):
        return False
    return True


def _guess(name: str, values: Sequence[Any]) -> Column:
    if name == "at" or name.endswith("_at"):
        kind = "time"
    elif name in {"status", "level"}:
        kind = "status"
    elif name.endswith("id") or name in {"ref", "digest"}:
        kind = "code"
    else:
        kind = "number" if any(isinstance(v, int | float) for v in values) and _numeric(values) else "text"
    return Column(name, name.replace("_", " "), kind, hidden=name == "id" or name.endswith("_id"))


_STARTED = Column("started_at", "started", "time")
_TOOK = Column("duration", "took", "duration")
_CREATED = Column("created_at", "created", "time")
_STATUS = Column("status", "status", "status")
_USER = Column("user", "user")

FACTS: dict[str, tuple[Column, ...]] = {
    "Run": (
        Column("name", "run"),
        Column("short_id", "id", "code"),
        _STATUS,
        Column("experiment", "experiment"),
        _STARTED,
        _TOOK,
        _USER,
        Column("kind", "kind", hidden=True),
        Column("host", "host", hidden=True),
        Column("run_id", "run id", "code", hidden=True),
    ),
    "Experiment": (
        Column("name", "experiment"),
        Column("runs", "runs", "count"),
        _CREATED,
        Column("experiment_id", "id", "code", hidden=True),
    ),
    "DatasetVersion": (
        Column("name", "data set"),
        Column("version", "version", "count"),
        Column("rows", "rows", "count"),
        Column("columns", "columns", "count"),
        Column("bytes", "size", "bytes"),
        Column("message", "message"),
        Column("aliases", "aliases", "badges"),
        _USER,
        _CREATED,
        Column("digest", "digest", "code", hidden=True),
        Column("run_id", "run", "code", hidden=True),
    ),
    "DatasetUse": (
        Column("by", "by", "code"),
        Column("how", "how"),
        Column("name", "name"),
        _USER,
        Column("at", "when", "time"),
        Column("dataset", "data set", "code", hidden=True),
    ),
    "ModelVersion": (
        Column("name", "model"),
        Column("version", "version", "count"),
        Column("aliases", "aliases", "badges"),
        Column("flavor", "flavor"),
        Column("bytes", "size", "bytes"),
        _USER,
        _CREATED,
        Column("datasets", "data", "code", hidden=True),
        Column("description", "description", hidden=True),
        Column("run_id", "run", "code", hidden=True),
    ),
    "Flow": (
        Column("name", "pipeline"),
        _STATUS,
        Column("stages", "stages", "count"),
        _STARTED,
        _TOOK,
        _USER,
        Column("path", "file"),
        Column("flow_id", "flow id", "code", hidden=True),
    ),
    "Evidence": (
        Column("kind", "evidence"),
        _STATUS,
        Column("summary", "what it says"),
        Column("seconds", "took", "duration"),
        _USER,
        Column("at", "at", "time"),
        Column("ref", "model", "code", hidden=True),
    ),
    "MonitorReport": (
        Column("model", "model"),
        Column("version", "version", "count"),
        _STATUS,
        Column("rows", "predictions", "count"),
        Column("since", "since", "time"),
        Column("until", "until", "time"),
        Column("findings", "findings", "count"),
        Column("at", "checked", "time"),
        Column("report_id", "report id", "code", hidden=True),
    ),
    "Event": (
        Column("seq", "event", "count"),
        Column("type", "what"),
        Column("subject", "subject", "code"),
        Column("data.environment", "environment"),
        Column("data.reason", "reason"),
        _USER,
        Column("at", "at", "time"),
        Column("store", "other store", "code"),
        Column("hash", "hash", "code", hidden=True),
    ),
}
