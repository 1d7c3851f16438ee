"""OpenLineage run events of flows and stages: built from records, and handed to a file or a server.

Event and facets follow the specification 2-0-2 (https://openlineage.io/spec/2-0-2/OpenLineage.json). Nothing here can
fail or delay a flow: a file is appended to, a server is spoken to by a thread, and what could not be delivered is kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from nbmlops import clock
from nbmlops.pipelines.delivery import FileTarget, HttpTarget
from nbmlops.records import DatasetVersion, StageRun

PRODUCER = "urn:python:package:nbmlops"
_SPEC = "https://openlineage.io/spec"
_EVENTS = {
    "RUNNING": "START",
    "FINISHED": "COMPLETE",
    "BLOCKED": "COMPLETE",  # everything ran, and the promotion was refused
    "KILLED": "ABORT",
}

Resolve = Callable[[str], Any]


@dataclass(frozen=True)
class FlowJob:
    """A flow as its events name it: its id, the pipeline's name, and the pipeline file's absolute path."""

    flow_id: str
    name: str
    path: str = ""


def run_id(ulid: str) -> str:
    """Our id as the UUID that the specification asks for: the same 128 bits, so that either gives the other."""
    return str(uuid.UUID(int=clock.id_number(ulid)))


def event_type(status: str) -> str:
    """The state of the specification for ours; what ended and neither well nor by the user has failed."""
    return _EVENTS.get(status, "FAIL")


def flow_event(
    namespace: str, flow: FlowJob, status: str, at: float, error: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The event of a flow that starts or has ended."""
    job = {"namespace": namespace, "name": flow.name, "facets": _job_facets("PIPELINE", flow.path)}
    return _event(event_type(status), at, {"runId": run_id(flow.flow_id), "facets": _run_facets(error)}, job)


def stage_event(
    namespace: str,
    stage: StageRun,
    flow: FlowJob | None,
    *,
    path: str = "",
    inputs: Iterable[Any] = (),
    outputs: Iterable[Any] = (),
) -> dict[str, Any]:
    """The event of a stage by its status; inputs and outputs are records of data set and model versions."""
    run: dict[str, Any] = {"runId": run_id(stage.run_id), "facets": _run_facets(stage.error)}
    if flow is not None:
        parent = {"run": {"runId": run_id(flow.flow_id)}, "job": {"namespace": namespace, "name": flow.name}}
        run["facets"]["parent"] = _facet("1-0-1/ParentRunFacet", "ParentRunFacet", **parent)
    name = f"{flow.name}.{stage.stage}" if flow is not None else stage.stage
    job = {"namespace": namespace, "name": name, "facets": _job_facets("NOTEBOOK", path)}
    at = stage.started_at if stage.status == "RUNNING" or stage.ended_at is None else stage.ended_at
    made = _event(event_type(stage.status), at, run, job)
    made["inputs"] = [_dataset(namespace, record) for record in inputs]
    made["outputs"] = [{**_dataset(namespace, r), "outputFacets": _statistics(r)} for r in outputs]
    return made


def _event(kind: str, at: float, run: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "run": run,
        "job": job,
        "inputs": [],
        "outputs": [],
        "producer": PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _facet(at: str, kind: str, /, **values: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{at}.json#/$defs/{kind}", **values}


def _run_facets(error: dict[str, Any] | None) -> dict[str, Any]:
    version = metadata.version("nbmlops")
    engine = {"version": version, "name": "nbmlops", "openlineageAdapterVersion": version}
    found = {"processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", "ProcessingEngineRunFacet", **engine)}
    if error:
        told = {"message": f"{error.get('name', 'Error')}: {error.get('message', '')}", "programmingLanguage": "Python"}
        if trace := error.get("traceback"):
            told["stackTrace"] = str(trace)
        found["errorMessage"] = _facet("1-0-0/ErrorMessageRunFacet", "ErrorMessageRunFacet", **told)
    return found


def _job_facets(kind: str, path: str) -> dict[str, Any]:
    about = {"processingType": "BATCH", "integration": "NBMLOPS", "jobType": kind}
    found = {"jobType": _facet("2-0-3/JobTypeJobFacet", "JobTypeJobFacet", **about)}
    if path and Path(path).is_absolute():
        where = {"type": "file", "url": Path(path).as_uri()}
        found["sourceCodeLocation"] = _facet("1-0-1/SourceCodeLocationJobFacet", "SourceCodeLocationJobFacet", **where)
    return found


def _dataset(namespace: str, record: Any) -> dict[str, Any]:
    """A data set or model version; a model is a data set here, as the specification knows no other thing."""
    version = _facet(
        "1-0-1/DatasetVersionDatasetFacet", "DatasetVersionDatasetFacet", datasetVersion=str(record.version)
    )
    facets = {"version": version}
    if isinstance(record, DatasetVersion):
        fields = [{"name": str(c.get("name", "")), "type": str(c.get("type", ""))} for c in record.schema]
        facets["schema"] = _facet("1-1-1/SchemaDatasetFacet", "SchemaDatasetFacet", fields=fields)
    kind = "dataset" if isinstance(record, DatasetVersion) else "model"
    return {"namespace": namespace, "name": f"{kind}:{record.name}", "facets": facets}


def _statistics(record: Any) -> dict[str, Any]:
    if not isinstance(record, DatasetVersion):
        return {}
    sizes = {"rowCount": record.rows, "size": record.bytes}
    facet = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", "OutputStatisticsOutputDatasetFacet", **sizes)
    return {"outputStatistics": facet}


class Emitter:
    """Tells of flows and stages after they are in the store. Its methods raise nothing; see :attr:`faults`.

    Args:
        target: a file for JSON lines, or the URL of a server.
        namespace: of all jobs and data sets: the store, without a password.
        resolve: the record of a reference such as ``dataset:flights@3``.
        undelivered: where events are kept that a server did not take.
    """

    def __init__(self, target: str, namespace: str, resolve: Resolve, undelivered: str | Path) -> None:
        self.namespace, self.resolve = namespace, resolve
        self.faults: list[str] = []
        web = target.startswith(("http://", "https://"))
        self._target: Any = HttpTarget(target, Path(undelivered), self._fault) if web else FileTarget(Path(target))

    def flow_started(self, flow: FlowJob, at: float) -> None:
        """A flow has begun."""
        self._emit(lambda: flow_event(self.namespace, flow, "RUNNING", at))

    def flow_ended(self, flow: FlowJob, status: str, at: float, *, error: dict[str, Any] | None = None) -> None:
        """A flow has ended, with our status."""
        self._emit(lambda: flow_event(self.namespace, flow, status, at, error))

    def stage_started(
        self, stage: StageRun, flow: FlowJob | None, *, path: str = "", inputs: Iterable[str] = ()
    ) -> None:
        """A stage has begun; ``path`` is the notebook's, ``inputs`` are references with a version."""
        self._emit(lambda: stage_event(self.namespace, stage, flow, path=path, inputs=self._records(inputs)))

    def stage_ended(self, stage: StageRun, flow: FlowJob | None, *, path: str = "", inputs: Iterable[str] = ()) -> None:
        """A stage has ended; what it wrote are its ``outputs``."""
        self._emit(
            lambda: stage_event(
                self.namespace,
                stage,
                flow,
                path=path,
                inputs=self._records(inputs),
                outputs=self._records(stage.outputs),
            )
        )

    def close(self, seconds: float = 5.0) -> None:
        """Deliver what is left, for at most so long, and warn once if something could not be told."""
        self._target.close(seconds)
        if self.faults:
            import warnings

            count = f"{len(self.faults)} OpenLineage events were not delivered"
            warnings.warn(f"{count}; the first: {self.faults[0]}", RuntimeWarning, stacklevel=2)

    def _records(self, refs: Iterable[str]) -> list[Any]:
        return [self.resolve(ref) for ref in refs]

    def _emit(self, build: Callable[[], dict[str, Any]]) -> None:
        try:
            self._target.send(build())
        except Exception as error:  # whatever it is: telling others must never harm what is told of
            self._fault(f"{type(error).__name__}: {error}")

    def _fault(self, text: str) -> None:
        self.faults.append(text)


def from_settings(namespace: str, resolve: Resolve, undelivered: str | Path) -> Emitter | None:
    """The emitter that the setting ``openlineage``, or else ``OPENLINEAGE_URL``, asks for; None if nothing does."""
    import os

    from nbmlops import settings

    target = settings.value("openlineage") or os.environ.get("OPENLINEAGE_URL", "")
    return Emitter(target, namespace, resolve, undelivered) if target else None
