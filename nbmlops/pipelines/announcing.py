"""Telling OpenLineage of a flow's events, after what they tell of is stored. Nothing here can fail a flow."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from nbmlops import clock, settings
from nbmlops.pipelines import openlineage, rows
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.openlineage import FlowJob
from nbmlops.refs import parse

_STAGE_ENDS = {"FINISHED", "FAILED", "TIMEOUT", "DIED", "KILLED", "SKIPPED", "PRUNED"}


class Announcer:
    """Takes the events that a progress display takes. Does nothing where no target is set."""

    def __init__(self, desks: Desks, paths: dict[str, str], flow: FlowJob | None = None) -> None:
        self._desks, self._paths, self._flow = desks, paths, flow
        kept = settings.project_root() / ".nbmlops" / "openlineage-undelivered.jsonl"
        self._emitter = openlineage.from_settings(desks.store.shown_url, self._record, kept)

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of the flow or of a stage."""
        if self._emitter is None:
            return
        with contextlib.suppress(Exception):  # whatever it is: telling others must never harm what is told of
            kind, status = event["type"], event.get("status")
            if kind == "flow" and self._flow is not None:
                if status == "RUNNING":
                    self._emitter.flow_started(self._flow, clock.now())
                else:
                    self._emitter.flow_ended(self._flow, str(status), clock.now(), error=event.get("error"))
            elif kind == "stage" and (status == "RUNNING" or status in _STAGE_ENDS):
                self._stage(event["run_id"], event["stage"], started=status == "RUNNING")

    def close(self) -> None:
        """Deliver what is left, for some seconds."""
        if self._emitter is not None:
            with contextlib.suppress(Warning):  # where warnings are errors it would hide how the flow ended
                self._emitter.close()

    def _stage(self, run_id: str, name: str, *, started: bool) -> None:
        assert self._emitter is not None  # noqa: S101  (its caller asked)
        stage, path = rows.stage_run(self._desks, run_id), self._paths.get(name, "")
        if started:
            known = {key: version for key, version in stage.pins.items() if "@" not in key}
            inputs = [f"{key}@{version}" for key, version in known.items()]
            self._emitter.stage_started(stage, self._flow, path=path, inputs=inputs)
        else:
            inputs = [*self._desks.runs.datasets(run_id), *self._desks.runs.models(run_id)]
            self._emitter.stage_ended(stage, self._flow, path=path, inputs=inputs)

    def _record(self, ref: str) -> Any:
        desk: Any = self._desks.datasets if parse(ref).kind == "dataset" else self._desks.models
        return desk.get(ref)


def of_flow(desks: Desks, flow_id: str, name: str, file: tuple[str, dict[str, str]]) -> Announcer:
    """For a flow; ``file`` is the pipeline file's path, and the notebooks' paths by stage."""
    path, notebooks = file
    return Announcer(desks, notebooks, FlowJob(flow_id, name, os.path.abspath(path)))
