"""The deployments desk: predictions in batches, the log of every prediction, and feedback on them.

A prediction has an id from the moment it is made. Rows are kept in Parquet blobs, one per batch, with the columns
``prediction_id``, ``at``, ``input.NAME…`` and ``output.NAME…``; the table ``prediction_batches`` says which blob holds
which ids and times.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, policy
from nbmlops.context import ContextSource
from nbmlops.deployments import files, outcomes
from nbmlops.deployments.files import INPUT, OUTPUT
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames.tables import read_table
from nbmlops.records import ModelVersion, Predictions
from nbmlops.refs import parse
from nbmlops.store import Store, schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from nbmlops.models import Models

_PART = 500  # ids in one question to the database
_SHOWN = 20  # faults in one message


@dataclass(frozen=True)
class PredictionLog:
    """Predictions of a window, row by row: four frames with the same index.

    ``rows`` has ``prediction_id``, ``at`` (seconds) and ``version``; ``actual`` is None where no feedback has come.
    """

    rows: pd.DataFrame
    inputs: pd.DataFrame
    outputs: pd.DataFrame
    actual: pd.Series


class Deployments:
    """Every verb about predictions."""

    def __init__(self, store: Store, context: ContextSource, models: Models) -> None:
        self.store = store
        self.context = context
        self.models = models

    # -- predicting ------------------------------------------------------------------------------------------------
    def predict(
        self, ref: str, data: Any, out: str | os.PathLike[str] | None = None, environment: str | None = None
    ) -> Predictions:
        """Predict every row of ``data``, record the predictions, and write them to ``out`` if it is given.

        ``data`` is a frame, an array, records, the path of a ``.csv`` or ``.parquet`` file, or ``dataset:NAME``. The
        file has ``prediction_id`` and the model's outputs, in the order of the input; it appears only when it is
        complete and the predictions are recorded, and never in place of another file. ``environment`` takes the
        version that stands there when ``ref`` names none.

        Raises:
            UsageFault: ``out`` exists already, or is the input.
            InvalidValue: no rows, a file of another kind, or input that does not fit the model (all faults at once).
            NotFound: the model, the data set or the file does not exist.
        """
        target = None if out is None else files.target(out, data)
        ref, environment = in_environment(self.store, ref, environment)
        model = self.models.get(ref)
        frame = self._frame(data, model)
        if not len(frame):
            raise InvalidValue("there are no rows to predict", "give at least one row")
        outputs = self.models.predict_frame(model.ref, frame)
        asked = [c["name"] for c in model.signature["inputs"]]
        batch = clock.new_id()
        width = max(4, len(str(len(frame) - 1)))
        ids = [f"{batch}-{row:0{width}d}" for row in range(len(frame))]
        result = outputs.copy()
        result.insert(0, "prediction_id", ids)
        with files.written(result, target):
            self.record(model, frame[asked], outputs, ids, "batch", environment, batch_id=batch)
        return Predictions(batch, model.ref, len(frame), str(target) if target else None, result)

    def _frame(self, data: Any, model: ModelVersion) -> pd.DataFrame:
        from nbmlops.flavors import signature as signatures

        if isinstance(data, str) and data.startswith("dataset:"):
            return self.models.datasets.load(data)
        if isinstance(data, str | os.PathLike):
            return read_table(data, model.signature)
        kind, frame = signatures.as_frame(data)
        names = [c["name"] for c in model.signature["inputs"]]
        return frame.set_axis(names, axis=1) if kind != "frame" and len(names) == frame.shape[1] else frame

    # -- the log ---------------------------------------------------------------------------------------------------
    def record(
        self,
        model: ModelVersion | str,
        inputs: pd.DataFrame,
        outputs: pd.DataFrame,
        ids: Sequence[str] | None = None,
        source: str = "batch",
        environment: str | None = None,
        at: float | Sequence[float] | None = None,
        *,
        batch_id: str | None = None,
    ) -> str:
        """Keep predictions that were made; returns the id of the batch. The blob is stored before its row.

        ``inputs`` and ``outputs`` have one row per prediction; ``at`` is one time or one per row (default: now).
        """
        version = self.models.get(model) if isinstance(model, str) else model
        batch = batch_id or clock.new_id()
        names = list(ids) if ids is not None else [clock.new_id() for _ in range(len(inputs))]
        if not len(inputs) == len(outputs) == len(names) or not names:
            raise InvalidValue(
                f"{len(inputs)} inputs, {len(outputs)} outputs and {len(names)} ids", "give one of each per prediction"
            )
        times = (
            [float(at if at is not None else clock.now())] * len(names) if not isinstance(at, Sequence) else list(at)
        )
        digest = self.store.blobs.put(files.parquet(files.table(names, times, inputs, outputs)))
        context = self.context()
        row = {
            "id": batch,
            "name": version.name,
            "version": version.version,
            "environment": environment,
            "source": source,
            "first_id": min(names),
            "last_id": max(names),
            "rows": len(names),
            "data": digest,
            "run_id": context.run_id,
            "user": context.user,
            "since": min(times),
            "until": max(times),
        }
        with self.store.write() as db:
            db.execute(schema.prediction_batches.insert(), row)
        return batch

    def prediction(self, prediction_id: str) -> dict[str, Any]:
        """One prediction: ``model``, ``at``, ``inputs``, ``outputs``, ``actual`` (None without feedback), its batch.

        Raises:
            NotFound: no such prediction was recorded.
        """
        import pyarrow.parquet as pq

        wanted = parse(prediction_id, kind="prediction").name
        for batch in self._batches_around(wanted, wanted):
            table = pq.read_table(self.store.blobs.open(batch["data"]), filters=[("prediction_id", "=", wanted)])
            if table.num_rows:
                return self._described(table.slice(0, 1), batch)
        raise _unknown([wanted])

    def _described(self, table: pa.Table, batch: dict[str, Any]) -> dict[str, Any]:
        row = table.to_pylist()[0]
        given = self._feedback([row["prediction_id"]]).get(row["prediction_id"])
        return {
            "prediction_id": row["prediction_id"],
            "model": f"model:{batch['name']}@{batch['version']}",
            "name": batch["name"],
            "version": batch["version"],
            "at": row["at"],
            "inputs": {k.removeprefix(INPUT): v for k, v in row.items() if k.startswith(INPUT)},
            "outputs": {k.removeprefix(OUTPUT): v for k, v in row.items() if k.startswith(OUTPUT)},
            "actual": given["actual"] if given else None,
            "feedback_at": given["at"] if given else None,
            "feedback_user": given["user"] if given else None,
            "batch": batch["id"],
            "source": batch["source"],
            "environment": batch["environment"],
            "user": batch["user"],
            "run_id": batch["run_id"],
        }

    def log(self, name: str, version: int | None = None, since: Any = None, until: Any = None) -> PredictionLog:
        """The predictions of a model with ``since <= at < until``, oldest first, joined with the latest feedback.

        Times are seconds, datetimes or ISO text; None is open.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        low, high = _time(since, "since"), _time(until, "until")
        parts = []
        for batch in self._batches(name, version, low, high):
            part = pq.read_table(self.store.blobs.open(batch["data"])).to_pandas()
            part.insert(2, "version", batch["version"])
            keep = (part["at"] >= (low or 0.0)) & (part["at"] < (high if high is not None else float("inf")))
            parts.append(part[keep])
        if not any(len(part) for part in parts):
            empty = pd.DataFrame({"prediction_id": [], "at": [], "version": []})
            return PredictionLog(empty, pd.DataFrame(), pd.DataFrame(), pd.Series([], dtype=object))
        frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
        frame = frame.sort_values(["at", "prediction_id"], kind="stable", ignore_index=True)
        found = self._feedback(frame["prediction_id"].tolist())
        actual = [found[i]["actual"] if i in found else None for i in frame["prediction_id"]]
        return PredictionLog(
            frame[["prediction_id", "at", "version"]],
            _part(frame, INPUT),
            _part(frame, OUTPUT),
            pd.Series(actual, dtype=object, name="actual"),
        )

    def window(self, name: str, version: int | None = None, since: Any = None, until: Any = None) -> pd.DataFrame:
        """The same as one frame: ``prediction_id``, ``at``, ``version``, inputs, outputs, ``actual``.

        An input that is named like another column keeps the prefix ``input.``.
        """
        import pandas as pd

        log = self.log(name, version, since, until)
        taken = {*log.rows.columns, *log.outputs.columns, "actual"}
        inputs = log.inputs.rename(columns={c: INPUT + c for c in log.inputs.columns if c in taken})
        return pd.concat([log.rows, inputs, log.outputs, log.actual], axis=1)

    # -- feedback --------------------------------------------------------------------------------------------------
    def feedback(self, prediction_id: str, actual: Any) -> None:
        """Record what really happened. Said again, the latest counts and the earlier ones are kept.

        Raises:
            NotFound: no such prediction was recorded.
        """
        self.feedback_many([parse(prediction_id, kind="prediction").name], [actual])

    def feedback_many(self, ids: Sequence[str], actuals: Sequence[Any]) -> None:
        """Record what really happened for many predictions: all of them, or none if one is wrong.

        Raises:
            NotFound: names the ids that were never recorded.
            InvalidValue: another number of values than ids, or values that the model's output can never have, such
                as text for a number; lists every one.
        """
        values = [outcomes.plain(value) for value in actuals]
        faults = [] if len(ids) == len(values) else [f"{len(ids)} ids and {len(values)} values"]
        faults += [
            f"the actual value of {i} is {v!r}"
            for i, v in zip(ids, values)
            if v is None or v != v or not isinstance(v, bool | int | float | str)
        ]
        if faults:
            raise InvalidValue.of("feedback", faults, "give one number, text or truth value per prediction")
        values = self._fitting(ids, values)
        user, at = self.context().user, clock.now()
        rows = [{"prediction_id": i, "actual": v, "user": user, "at": at} for i, v in zip(ids, values)]
        with self.store.write() as db:
            db.execute(schema.feedback.insert(), rows)

    def _fitting(self, ids: Sequence[str], values: list[Any]) -> list[Any]:
        """The values as the outputs of the models that made these predictions."""
        models = self._models_of(set(ids))
        if missing := set(ids) - models.keys():
            raise _unknown(sorted(missing))
        signatures = {ref: self.models.get(ref).signature for ref in set(models.values())}
        kept, faults = [], []
        for name, value in zip(ids, values):
            fitting, needed = outcomes.checked(value, signatures[models[name]])
            kept.append(fitting)
            if needed:
                faults.append(f"{name}: {models[name]} needs {needed}, not {value!r:.60}")
        if faults:
            more = [f"and {len(faults) - _SHOWN:,} more"] if len(faults) > _SHOWN else []
            hint = "give what the model predicts: a number for a number, one of its classes for a class"
            raise InvalidValue.of("feedback", [*faults[:_SHOWN], *more], hint)
        return kept

    def _models_of(self, ids: set[str]) -> dict[str, str]:
        """The model version behind each of the ids that were recorded."""
        import pyarrow.parquet as pq

        missing, found = set(ids), {}
        for batch in self._batches_around(min(ids), max(ids)) if ids else ():
            if not missing:
                break
            if any(batch["first_id"] <= i <= batch["last_id"] for i in missing):
                table = pq.read_table(self.store.blobs.open(batch["data"]), columns=["prediction_id"])
                here = missing.intersection(table.column(0).to_pylist())
                missing -= here
                found.update(dict.fromkeys(here, f"model:{batch['name']}@{batch['version']}"))
        return found

    def _feedback(self, ids: list[str]) -> dict[str, Any]:
        """The latest feedback on each of the ids."""
        f, found = schema.feedback, {}
        wanted = set(ids)
        with self.store.read() as db:
            if len(ids) <= _PART:
                query = sa.select(f).where(f.c.prediction_id.in_(ids))
            else:  # ids begin with a time, so those of a window lie close together
                query = sa.select(f).where(f.c.prediction_id.between(min(ids), max(ids)))
            for row in db.execute(query.order_by(f.c.seq)).mappings():
                if row["prediction_id"] in wanted:
                    found[row["prediction_id"]] = dict(row)
        return found

    # -- batches ---------------------------------------------------------------------------------------------------
    def _batches_around(self, first: str, last: str) -> list[dict[str, Any]]:
        b = schema.prediction_batches
        query = sa.select(b).where(b.c.first_id <= last, b.c.last_id >= first).order_by(b.c.first_id.desc())
        with self.store.read() as db:
            return [dict(row) for row in db.execute(query).mappings()]

    def _batches(
        self, name: str, version: int | None, since: float | None, until: float | None
    ) -> list[dict[str, Any]]:
        b = schema.prediction_batches
        # What a waiting version said in the shadow of another was never anybody's answer.
        query = sa.select(b).where(b.c.name == name, b.c.source != "shadow").order_by(b.c.since)
        if version is not None:
            query = query.where(b.c.version == version)
        if since is not None:
            query = query.where(b.c.until >= since)
        if until is not None:
            query = query.where(b.c.since < until)
        with self.store.read() as db:
            return [dict(row) for row in db.execute(query).mappings()]


def in_environment(store: Store, ref: str, environment: str | None) -> tuple[str, str | None]:
    """The reference with the version that stands in the environment, and that environment (None outside of both).

    Raises:
        InvalidValue: there is no such environment, or the reference names another.
    """
    given, environments = parse(ref, kind="model"), policy.current(store).environments
    if environment is None:
        return str(given), given.alias if given.alias in environments else None
    if environment not in environments:
        raise InvalidValue(f"there is no environment {environment!r}", f"use {' or '.join(environments)}")
    if given.alias in environments and given.alias != environment:
        raise InvalidValue(f"{ref} is not in {environment}", f"write model:{given.name}@{environment}")
    if given.version is None and given.alias is None:
        return f"model:{given.name}@{environment}", environment
    return str(given), environment


def _part(frame: pd.DataFrame, prefix: str) -> pd.DataFrame:
    names = [c for c in frame.columns if c.startswith(prefix)]
    return frame[names].rename(columns=lambda c: c.removeprefix(prefix))


def _time(value: Any, what: str) -> float | None:
    if value is None:
        return None
    try:
        return clock.parse_time(value)
    except (ValueError, TypeError) as error:
        raise InvalidValue(
            f"{what} is {value!r}, and a time is needed",
            "write 2026-01-31, 2026-01-31T12:00:00Z, or seconds since 1970",
        ) from error


def _unknown(ids: list[str]) -> NotFound:
    shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    plural = "s" if len(ids) > 1 else ""
    return NotFound(
        f"no prediction{plural} {shown}", "ids are in the column prediction_id of the file, or in the server's answer"
    )
