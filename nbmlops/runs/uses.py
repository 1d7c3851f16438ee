"""What a run read, wrote, loaded and handed on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import InvalidValue
from nbmlops.store import Store, schema

LARGEST_OUTPUT = 65_536  # characters of JSON


class Uses:
    """The part of the runs desk about versions used, and small results handed on."""

    store: Store

    def use_dataset(self, run_id: str, name: str, version: int, mode: str = "read") -> None:
        """Record that a run read or wrote a version of a data set."""
        u = schema.dataset_uses
        row = {"run_id": run_id, "name": name, "version": version, "mode": mode, "at": clock.now()}
        with self.store.write() as db:
            db.execute(self.store.insert(u).on_conflict_do_nothing(), row)

    def datasets(self, run_id: str, mode: str = "read") -> list[str]:
        """References to the data sets a run read (or wrote), in that order."""
        u = schema.dataset_uses
        query = sa.select(u.c.name, u.c.version).where(u.c.run_id == run_id, u.c.mode == mode).order_by(u.c.seq)
        with self.store.read() as db:
            return [f"dataset:{name}@{version}" for name, version in db.execute(query)]

    def use_model(self, run_id: str, name: str, version: int) -> None:
        """Record that a run loaded a version of a model."""
        u = schema.model_uses
        row = {"run_id": run_id, "name": name, "version": version, "at": clock.now()}
        with self.store.write() as db:
            db.execute(self.store.insert(u).on_conflict_do_nothing(), row)

    def models(self, run_id: str) -> list[str]:
        """References to the models a run loaded, in that order."""
        u = schema.model_uses
        query = sa.select(u.c.name, u.c.version).where(u.c.run_id == run_id).order_by(u.c.at)
        with self.store.read() as db:
            return [f"model:{name}@{version}" for name, version in db.execute(query)]

    def hand_on(self, run_id: str, name: str, value: Any) -> None:
        """Keep a small result of a run for the stages after it; the same name again replaces it.

        Raises:
            InvalidValue: the name is no identifier, the value is not JSON, or it is larger than 64 kB.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidValue(
                f"{name!r} cannot be the name of an output", "use a word as Python's variables have them"
            )
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidValue(
                f"output {name!r} is not JSON: {error}",
                "hand on numbers, text, lists and dictionaries; snapshot() frames",
            ) from error
        if len(text) > LARGEST_OUTPUT:
            raise InvalidValue(
                f"output {name!r} has {len(text):,} characters, the most is {LARGEST_OUTPUT:,}",
                "keep it with log_artifact or snapshot, and hand on its name",
            )
        row = {"run_id": run_id, "name": name, "value": json.loads(text), "at": clock.now()}
        with self.store.write() as db:
            self.store.upsert(db, schema.run_outputs, [row], ["run_id", "name"])

    def handed_on(self, run_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What each of several runs handed on, by name in the order of the names."""
        o = schema.run_outputs
        found: dict[str, dict[str, Any]] = {run_id: {} for run_id in run_ids}
        query = sa.select(o.c.run_id, o.c.name, o.c.value).where(o.c.run_id.in_(list(found))).order_by(o.c.name)
        with self.store.read() as db:
            for run_id, name, value in db.execute(query):
                found[run_id][name] = value
        return found
