"""OpenLineage events: as the specification wants them, delivered or kept, and never in the way."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from nbmlops import clock
from nbmlops.pipelines import delivery
from nbmlops.pipelines.openlineage import Emitter, FlowJob, flow_event, from_settings, run_id, stage_event
from nbmlops.records import DatasetVersion, StageRun

FLOW = FlowJob(clock.new_id(), "flights", "/project/pipeline.yaml")
DATA = DatasetVersion(
    "x", 3, "d", "frame", 10, 2, 99, ({"name": "a", "type": "int64"}, {"name": "b", "type": "string"})
)
STAGE = StageRun(clock.new_id(), "train", "train.ipynb", "RUNNING", started_at=1.5, outputs=("dataset:x@3",))
FACETS = {  # what the facets that we send must have
    "parent": {"run", "job"}, "errorMessage": {"message", "programmingLanguage"}, "processing_engine": {"version"},
    "jobType": {"processingType", "integration"}, "sourceCodeLocation": {"type", "url"}, "schema": {"fields"},
    "version": {"datasetVersion"}, "outputStatistics": {"rowCount"},
}  # fmt: skip


def check(event: dict[str, Any]) -> None:
    """Hold an event to the specification 2-0-2: what is required, of which type, and nothing unknown."""
    assert set(event) == {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"}
    assert event["eventType"] in {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["eventTime"])
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert re.match(r"\w+:\S+$", event["producer"])
    assert set(event["run"]) == {"runId", "facets"}
    uuid.UUID(event["run"]["runId"])
    things = [event["job"], *event["inputs"], *event["outputs"]]
    for thing in things:
        assert isinstance(thing["namespace"], str)
        assert isinstance(thing["name"], str)
    groups = [event["run"]["facets"], *(t["facets"] for t in things), *(o["outputFacets"] for o in event["outputs"])]
    for name, facet in ((n, f) for group in groups for n, f in group.items()):
        assert {"_producer", "_schemaURL"} | FACETS[name] <= set(facet), name
        assert re.fullmatch(r"https://openlineage\.io/spec/facets/\d-\d-\d/\w+\.json#/\$defs/\w+", facet["_schemaURL"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [("RUNNING", "START"), ("FINISHED", "COMPLETE"), ("FAILED", "FAIL"), ("TIMEOUT", "FAIL"), ("KILLED", "ABORT")],
)
def test_events_follow_the_specification(status: str, kind: str) -> None:
    error = {"name": "ValueError", "message": "no", "traceback": "…"} if kind == "FAIL" else None
    stage = replace(STAGE, status=status, ended_at=2.5, error=error)
    event = stage_event("sqlite:///s", stage, FLOW, path="/project/train.ipynb", inputs=[DATA], outputs=[DATA])
    check(event)
    check(flow_event("sqlite:///s", FLOW, status, 1.0, error))
    assert (event["eventType"], event["job"]["name"]) == (kind, "flights.train")
    assert event["eventTime"].endswith("01.500Z" if status == "RUNNING" else "02.500Z")
    assert event["run"]["facets"]["parent"]["run"]["runId"] == run_id(FLOW.flow_id)
    assert event["inputs"][0]["facets"]["schema"]["fields"][1] == {"name": "b", "type": "string"}
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 10
    assert ("errorMessage" in event["run"]["facets"]) == (kind == "FAIL")


def test_an_id_and_its_uuid_are_the_same_number() -> None:
    assert len({run_id(clock.new_id()) for _ in range(50)}) == 50
    assert uuid.UUID(run_id(STAGE.run_id)).int == clock.id_number(STAGE.run_id)


def test_a_file_gets_whole_lines_from_many_writers(tmp_path: Path) -> None:
    def tell() -> None:
        emitter = Emitter(str(tmp_path / "a" / "events.jsonl"), "ns", lambda ref: DATA, tmp_path / "kept")
        for _ in range(20):
            emitter.stage_ended(replace(STAGE, status="FINISHED"), FLOW, inputs=["dataset:x@3"])
        emitter.close()

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [json.loads(line) for line in (tmp_path / "a" / "events.jsonl").read_text().splitlines()]
    assert len(events) == 80
    check(events[0])


class Server:
    def __init__(self, answers: list[int]) -> None:
        self.got: list[tuple[str, str | None, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.got.append((self.path, self.headers["Authorization"], body))
                self.send_response(answers.pop(0) if answers else 201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return None

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(delivery, "BACKOFF", 0.001)
    made: list[Server] = []

    def start(*answers: int) -> Server:
        made.append(Server(list(answers)))
        return made[-1]

    yield start
    for server in made:
        server.http.shutdown()
        server.http.server_close()


def test_a_server_gets_events_in_order_after_retries(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(503, 429)
    monkeypatch.setenv("OPENLINEAGE_URL", server.url)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key")
    emitter = from_settings("ns", lambda ref: DATA, tmp_path / "kept")
    assert emitter is not None
    emitter.flow_started(FLOW, 1.0)
    emitter.flow_ended(FLOW, "FINISHED", 2.0)
    emitter.close()
    assert [body["eventType"] for _, _, body in server.got] == ["START", "START", "START", "COMPLETE"]
    assert {(path, key) for path, key, _ in server.got} == {("/api/v1/lineage", "Bearer key")}
    assert not (tmp_path / "kept").exists()


def test_what_a_server_does_not_take_is_kept_and_told_once(serve: Any, tmp_path: Path) -> None:
    server = serve(400, 201)
    emitter = Emitter(f"{server.url}/own/path", "ns", lambda ref: DATA, tmp_path / "kept")
    emitter.flow_started(FLOW, 1.0)
    emitter.flow_ended(FLOW, "KILLED", 2.0)
    with pytest.warns(RuntimeWarning, match="1 OpenLineage event.* 400"):
        emitter.close()
    assert [path for path, _, _ in server.got] == ["/own/path", "/own/path"]
    assert [json.loads(line)["eventType"] for line in (tmp_path / "kept").read_text().splitlines()] == ["START"]


def test_no_server_and_unknown_references_fail_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BACKOFF", 0.001)

    def resolve(ref: str) -> Any:
        raise KeyError(ref)

    emitter = Emitter("http://127.0.0.1:9", "ns", resolve, tmp_path / "kept")
    emitter.stage_started(STAGE, None, inputs=["dataset:gone@1"])
    for _ in range(3):
        emitter.stage_started(STAGE, None)
    with pytest.warns(RuntimeWarning, match="4 OpenLineage events"):
        emitter.close()
    assert len((tmp_path / "kept").read_text().splitlines()) == 3
