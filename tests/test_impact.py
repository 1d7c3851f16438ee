"""Everything that followed from a thing; and lineage as page, JSON, PROV and OpenLineage."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.dummy import DummyClassifier

from nbmlops.context import Context
from nbmlops.display.plain import tree
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.lineage import impact
from nbmlops.store import schema
from nbmlops.workspace import Workspace

FRAME = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) % 3})
EVIL = "<script>window.hacked=1</script>"


@pytest.fixture
def ws(store) -> Workspace:
    """raw -> (features run) -> features -> (train run) -> model -> predictions; and a run that loads the model."""
    here: dict[str, str | None] = {"run": None}
    ws = Workspace(store, lambda: Context(user="ann", host="here", run_id=here["run"]))
    ws.datasets.snapshot(FRAME, "raw")
    for name in ("features", "train", EVIL):
        live = ws.runs.start(name=name)
        here["run"] = live.run_id
        if name == "features":
            ws.datasets.load("raw")
            ws.datasets.snapshot(FRAME * 2, "features")
        elif name == "train":
            data = ws.datasets.load("features")
            ws.models.register(DummyClassifier().fit(data, data.b > 1), "m", training_data=data)
        else:
            ws.models.load("m")
        live.end()
        here["run"] = None
    ws.promotion.promote("m@1", "staging", "fine")
    for _ in range(3):
        ws.deployments.predict("m@staging", FRAME)
    return ws


def titles(lineage) -> list[str]:
    return [node.title.partition(":")[0] + ":" + node.title.partition(":")[2][:8] for node in lineage.nodes()]


def test_from_the_raw_data_to_the_predictions(ws):
    found = ws.lineage.why("dataset:raw", impact=True)
    kinds = [node.kind for node in found.nodes()]
    assert kinds.count("run") == 3
    text = tree(found)
    assert (
        text.index("dataset:raw@1")
        < text.index("dataset:features@1")
        < text.index("model:m@1")
        < text.index("120 predictions in staging (batch)")
    )
    (model,) = [node for node in found.nodes() if node.kind == "model"]
    assert model.facts["stands as"] == "staging"
    assert found.direction == "after"
    assert ws.lineage.why("model:m", impact=True).root.ref == "model:m@1"
    run = next(r for r in ws.runs.search() if r.name == "features")
    assert "model:m@1" in [n.ref for n in ws.lineage.why(run.ref, impact=True).nodes()]


def test_what_was_deleted_stays_visible(ws):
    ws.models.register("model:m@1", "m")
    ws.promotion.promote("m@2", "staging", "next")
    ws.promotion.delete("m@1", "wrong labels")
    found = ws.lineage.why("model:m@1", impact=True)
    assert found.root.facts["deleted"]
    assert "was deleted" in tree(ws.lineage.why("model:m@1"))
    assert "120 predictions" in tree(found)


def test_questions_grow_with_levels_not_with_things(store):
    ws = Workspace(store, lambda: Context(user="ann"))
    ws.datasets.snapshot(FRAME, "raw")
    counts = []
    for runs in (5, 120):
        add_runs(ws, runs)
        asked: list[str] = []
        sa.event.listen(store.engine, "before_cursor_execute", lambda *a, asked=asked: asked.append(a[2]))
        found = ws.lineage.why("dataset:raw", impact=True)
        counts.append(len(asked))
        assert len([n for n in found.nodes() if n.kind == "run"]) >= runs
    assert counts[1] <= counts[0] + 3


def add_runs(ws, count: int) -> None:
    """Runs that have read the raw data."""
    rows = []
    for _ in range(count):
        live = ws.runs.start()
        live.end()
        rows.append({"run_id": live.run_id, "name": "raw", "version": 1, "mode": "read", "at": 1.0})
    with ws.store.write() as db:
        db.execute(schema.dataset_uses.insert(), rows)


def test_what_is_too_wide_is_cut_and_says_so(store, monkeypatch):
    ws = Workspace(store, lambda: Context(user="ann"))
    ws.datasets.snapshot(FRAME, "raw")
    add_runs(ws, 12)
    monkeypatch.setattr(impact, "WIDTH", 10)
    found = ws.lineage.why("dataset:raw", impact=True)
    assert [n.facts.get("and", "")[:12] for n in found.root.behind].count("not followed") == 2


def test_what_nothing_follows_from_says_so(ws):
    with pytest.raises(InvalidValue, match="nothing follows from a event"):
        ws.lineage.why("event:1", impact=True)
    with pytest.raises(NotFound):
        ws.lineage.why("stage:none", impact=True)
    with pytest.raises(NotFound):
        ws.lineage.why("dataset:none", impact=True)
    with pytest.raises(InvalidValue, match="there is no format 'svg'"):
        ws.lineage.export("dataset:raw", "svg")


@pytest.mark.parametrize("way", [False, True])
def test_prov_has_the_parts_of_the_specification(ws, way):
    found = json.loads(ws.lineage.export("dataset:raw" if way else "model:m@1", "prov", impact=way))
    assert found["prefix"] == {"nbmlops": "urn:nbmlops:"}
    names = {*found["entity"], *found["activity"], *found["agent"]}
    roles = {
        "used": ("prov:activity", "prov:entity"),
        "wasGeneratedBy": ("prov:entity", "prov:activity"),
        "wasAssociatedWith": ("prov:activity", "prov:agent"),
        "wasAttributedTo": ("prov:entity", "prov:agent"),
    }
    for relation, (first, second) in roles.items():
        assert found[relation], relation
        for pair in found[relation].values():
            assert set(pair) == {first, second}
            assert set(pair.values()) <= names
    generated = {
        (p["prov:entity"], found["activity"][p["prov:activity"]]["prov:label"][-5:])
        for p in found["wasGeneratedBy"].values()
    }
    assert ("nbmlops:model/m@1", "train") in generated
    assert not any(p["prov:entity"] == "nbmlops:dataset/raw@1" for p in found["wasGeneratedBy"].values())


def test_openlineage_has_the_events_of_the_runs(ws):
    lines = ws.lineage.export("dataset:raw", "openlineage", impact=True).splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["job"]["name"] for e in events] == ["features", "train", EVIL]
    assert [e["eventType"] for e in events] == ["COMPLETE"] * 3
    assert [d["name"] for d in events[0]["inputs"]] == ["dataset:raw"]
    assert [d["name"] for d in events[0]["outputs"]] == ["dataset:features"]
    for event in events:  # what the specification requires
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= set(event)


def test_a_page_by_itself_with_hostile_names(ws, cli, tmp_path):
    page = ws.lineage.export("dataset:raw", "html", impact=True)
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert page.count("<details") == 7
    cli("why", "dataset:raw", "--impact", "-o", str(tmp_path / "why.html"))
    assert (tmp_path / "why.html").read_text() == page
    told = json.loads(cli("why", "dataset:raw", "--impact", "--format", "json").out)
    assert told["direction"] == "after"
