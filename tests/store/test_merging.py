"""Taking over other stores: everything arrives, nothing twice, and what speaks of a version follows its number."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LinearRegression

from nbmlops import clock
from nbmlops.context import Context
from nbmlops.errors import InvalidValue, NotFound, StoreFault, StoreTooNew, Tampered, UsageFault
from nbmlops.store import Store, ledger, migrations, open_store, schema
from nbmlops.store.merging.columns import NOT_TAKEN, TABLES
from nbmlops.store.verify import verify
from nbmlops.workspace import Workspace
from tests.store_rows import content

OLD = Path(__file__).parents[1] / "data" / "store-0003"
FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"]})


@pytest.fixture
def open_(tmp_path: Path) -> Any:
    """A workspace on a new store, by name."""
    made: list[Store] = []

    def opened(name: str) -> Workspace:
        made.append(open_store(tmp_path / name))
        return Workspace(made[-1], lambda: Context(user="tester", host=name))

    yield opened
    for store in made:
        store.close()


@pytest.fixture
def old(tmp_path: Path, open_: Any) -> Workspace:
    """The store of data/store-0003: a bit of everything."""
    shutil.copytree(OLD, tmp_path / "old")
    return open_("old")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as :func:`fill` makes it, made once."""
    made = tmp_path_factory.mktemp("stores") / "template"
    ws = Workspace(open_store(made), lambda: Context(user="tester", host="template"))
    fill(ws, 2.0)
    ws.store.close()
    return made


@pytest.fixture
def theirs(template: Path, tmp_path: Path, open_: Any) -> Workspace:
    """A copy of it, as the other store."""
    shutil.copytree(template, tmp_path / "theirs")
    return open_("theirs")


def folder(ws: Workspace) -> Path:
    assert ws.store.folder is not None
    return ws.store.folder


def fill(ws: Workspace, factor: float) -> str:
    """Two versions of a data set, a run that used the second and names it everywhere, a model; the run's id."""
    ws.datasets.snapshot(FRAME, "sales", tags={"made": "first"})
    ws.datasets.snapshot(FRAME.assign(x=FRAME.x * factor), "sales")
    live = ws.runs.start(
        name="fit",
        params={"lr": factor, "data": "dataset:sales@2", "many": ["dataset:sales@1", "dataset:sales@2"]},
        tags={"used": "read dataset:sales@2, not dataset:sales@21 or mydataset:sales@2"},
        description="on dataset:sales@2",
    )
    for step in range(3):
        live.log_metric("loss", factor / (step + 1), step=step)
    live.log_artifact("notes/a.txt", f"by {factor}".encode())
    ws.runs.use_dataset(live.run_id, "sales", 2)
    live.end()
    register(ws, live.run_id, factor)
    return live.run_id


def register(ws: Workspace, run_id: str, factor: float) -> None:
    within = Workspace(ws.store, lambda: Context(user="tester", host="here", run_id=run_id))
    model = LinearRegression().fit(FRAME[["x"]], FRAME["x"] * factor)
    within.models.register(model, "price", input_example=FRAME[["x"]], alias="best")


def everything(ws: Workspace) -> dict[str, Any]:
    """What a user sees, without the small integers of the store."""
    runs = sorted(ws.runs.search(limit=1000), key=lambda r: r.run_id)
    with ws.store.read() as db:
        flows = [r.id for r in db.execute(sa.select(schema.flows).order_by(schema.flows.c.id))]
    return {
        "runs": [{**r.to_dict(), "experiment_id": ""} for r in (ws.runs.get(r.run_id) for r in runs)],
        "metrics": [
            (r.run_id, key, ws.runs.metric_history(r.run_id, key).to_dict("list").__repr__())
            for r in runs
            for key in sorted(r.metrics)
        ],
        "files": [
            (r.run_id, a.path, ws.runs.artifact(r.run_id, a.path)) for r in runs for a in ws.runs.artifacts(r.run_id)
        ],
        "uses": [(r.run_id, ws.runs.datasets(r.run_id), ws.runs.models(r.run_id)) for r in runs],
        "data": [v.to_dict() for d in ws.datasets.list() for v in ws.datasets.versions(d.name)],
        "models": [v.to_dict() for m in ws.models.list() for v in ws.models.versions(m.name)],
        "flows": [ws.pipelines.get(f"flow:{flow}").to_dict() for flow in flows],
        "alerts": ws.monitors.alerts(),
        "why": [str(ws.lineage.why(v.ref).to_dict()) for d in ws.datasets.list() for v in ws.datasets.versions(d.name)],
    }


def test_every_column_is_classified() -> None:
    tables = {t.name: {c.name for c in t.c} for t in schema.metadata.sorted_tables if t.name not in NOT_TAKEN}
    assert {name: set(table.columns) for name, table in TABLES.items()} == tables
    for name, table in TABLES.items():
        assert set(table.key) <= tables[name]
        assert not table.of or table.of in tables[name]


def test_an_empty_store_becomes_the_same(old: Workspace, open_: Any) -> None:
    new = open_("new")
    new.runs.start("something else", "ours").end()
    ours = {r.run_id for r in new.runs.search()}
    merged = new.merge(folder(old))
    assert merged.added["runs"] == 3
    assert merged.renumbered == merged.left_out == ()
    there, here = everything(old), everything(new)
    here["runs"] = [r for r in here["runs"] if r["run_id"] not in ours]
    here["uses"] = [u for u in here["uses"] if u[0] not in ours]
    assert here == there
    assert new.models.get("price@staging").version == 1
    pd.testing.assert_frame_equal(new.datasets.load("trips@2"), old.datasets.load("trips@2"))
    inputs = old.datasets.load("trips")[["x"]]
    assert np.allclose(new.models.load("price@2").predict(inputs), old.models.load("price@2").predict(inputs))
    assert len(new.deployments.window("price")) == len(old.deployments.window("price")) == 8
    assert [f for f in new.datasets.verify() if not f.ok] == []
    assert new.verify_ledger() == 1
    assert [e.type for e in new.events("model:price@2", merged=True)] == [e.type for e in old.events("model:price@2")]
    assert new.events(merged=True)[-1].store == merged.store_id
    checked = verify(new.store)
    assert checked.ok
    assert set(new.store.blobs.digests()) >= set(old.store.blobs.digests())
    assert [h["version"] for h in new.promotion.history("price", "staging")] == [1, 2, 1]
    with pytest.raises(UsageFault):  # the rollback there has taken the second away
        new.promotion.rollback("price", "staging", "once more")


def test_twice_changes_nothing_but_the_event(old: Workspace, open_: Any) -> None:
    new = open_("new")
    fill(new, 2.0)
    new.merge(folder(old))
    before, blobs = content(new.store), set(new.store.blobs.digests())
    again = new.merge(folder(old))
    assert (again.added, again.updated, again.blobs, again.events) == ({}, {}, 0, 0)
    assert content(new.store) == before
    assert set(new.store.blobs.digests()) == blobs
    assert new.events()[0].type == "store.merged"
    assert new.verify_ledger() == len(new.events())


def test_a_dry_run_tells_the_same_and_writes_nothing(old: Workspace, open_: Any) -> None:
    new = open_("new")
    told = new.merge(folder(old), dry_run=True)
    assert told.dry_run
    assert told.event is None
    assert set(new.store.blobs.digests()) == set()
    assert not any(rows for name, rows in content(new.store, without=()).items() if name != "meta")
    done = new.merge(folder(old))
    assert (told.added, told.blobs, told.bytes, told.events) == (done.added, done.blobs, done.bytes, done.events)


def test_versions_get_the_next_number_and_references_follow(open_: Any) -> None:
    ours, theirs = open_("ours"), open_("theirs")
    fill(ours, 2.0)
    run_id = fill(theirs, 3.0)
    merged = ours.merge(folder(theirs))
    moved = {r.there: r.here for r in merged.renumbered}
    assert moved == {"dataset:sales@2": "dataset:sales@3", "model:price@1": "model:price@2"}
    run = ours.runs.get(run_id)
    assert run.params["data"] == "dataset:sales@3"
    assert json.loads(run.params["many"]) == ["dataset:sales@1", "dataset:sales@3"]
    assert run.tags["used"] == "read dataset:sales@3, not dataset:sales@21 or mydataset:sales@2"
    assert run.description == "on dataset:sales@2"
    assert ours.runs.datasets(run_id) == ["dataset:sales@3"]
    assert ours.models.get("price@2").datasets == ("dataset:sales@3",) or ours.models.get("price@2").datasets == [
        "dataset:sales@3"
    ]
    assert ours.datasets.load("sales@3")["x"].tolist() == [3.0, 6.0, 9.0]
    assert ours.datasets.load("sales@2")["x"].tolist() == [2.0, 4.0, 6.0]
    assert ours.models.get("price@best").version == 1
    assert merged.left_out == ("best stays at model:price@1 here; there it is model:price@1 (2 here)",)
    assert ours.models.load("price@2").predict(FRAME[["x"]]).round(6).tolist() == [3.0, 6.0, 9.0]
    assert ours.verify_ledger() == len(ours.events())
    with theirs.store.write() as db:  # they go on, and so do we
        db.execute(schema.tags.update().values(value="changed there"))
    theirs.datasets.snapshot(FRAME.assign(x=0.0), "sales")
    ours.datasets.snapshot(FRAME.assign(x=9.0), "sales")
    again = ours.merge(folder(theirs))
    assert again.added == {"data set versions": 1}
    assert {r.there: r.here for r in again.renumbered}["dataset:sales@3"] == "dataset:sales@5"
    assert "changed there" not in ours.runs.get(run_id).tags.values()  # it had ended


def test_environments_of_a_model_that_is_here_stay_as_they_are(open_: Any, theirs: Workspace) -> None:
    theirs.promotion.promote("price@1", "staging", "good there")
    with theirs.store.write() as db:
        db.execute(schema.dataset_aliases.insert(), {"name": "sales", "alias": "golden", "version": 2})
    ours, new = open_("ours"), open_("new")
    run_id = fill(ours, 3.0)
    merged = ours.merge(folder(theirs))
    assert merged.left_out == (
        "best stays at model:price@1 here; there it is model:price@1 (2 here)",
        "staging is not set here; there it is model:price@1 (2 here)",
    )
    assert ours.datasets.load("sales@golden")["x"].tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(NotFound):
        ours.models.get("price@staging")
    new.merge(folder(theirs))
    assert new.models.get("price@staging").version == 1
    register(theirs, run_id, 4.0)
    theirs.promotion.promote("price@2", "staging", "better there")
    assert "staging stays at model:price@1 here" in new.merge(folder(theirs)).left_out[-1]
    assert new.models.get("price@staging").version == 1
    new.promotion.promote("price@2", "staging", "here too")
    new.promotion.rollback("price", "staging", "no")
    assert new.models.get("price@staging").version == 1
    assert new.verify_ledger() == len(new.events()) == 4


def test_every_column_that_names_a_version_follows(open_: Any) -> None:
    ours, theirs = open_("ours"), open_("theirs")
    fill(ours, 2.0)
    run_id = fill(theirs, 3.0)
    s, at = schema, clock.now()
    flow, cell, report = clock.new_id(), clock.new_id(), clock.new_id()
    decision = {"model": "price", "version": 1, "previous": None, "status": "promoted", "findings": []}
    facts = {
        "format": 1, "code": [[1, "d"]], "params": {"data": "dataset:sales@2"},
        "inputs": {"dataset:sales": [2, "blake3:x"], "model:price@best": [1, "sha"]},
        "found": {"dataset:sales": [2, "x"]},
    }  # fmt: skip
    stage = {
        "run_id": run_id, "flow_id": flow, "stage": "fit", "notebook": "fit.ipynb", "status": "FINISHED",
        "params": {"data": "dataset:sales@2"}, "pins": {"dataset:sales": 2, "model:price@best": 1}, "attempt": 1,
        "cells_done": 1, "cells": 1, "started_at": at, "fingerprint": "f", "facts": facts,
        "why": ["dataset:sales 1 -> 2", "forced"],
    }  # fmt: skip
    with theirs.store.write() as db:
        db.execute(
            s.flows.insert(),
            {
                "id": flow, "name": "p", "path": "p.yaml", "status": "FINISHED", "params": {"d": "dataset:sales@2"},
                "outputs": {"dataset:sales": 2, "model:price": 1}, "decision": decision,
                "trigger": {"type": "alert", "ref": "model:price@1"}, "spec": theirs.store.blobs.put(b"x"),
                "user": "u", "started_at": at, "pins": {"dataset:sales": 2},
            },
        )  # fmt: skip
        db.execute(s.stage_runs.insert(), stage)
        db.execute(s.run_outputs.insert(), {"run_id": run_id, "name": "o", "value": ["models:/price/1"], "at": at})
        db.execute(s.model_uses.insert(), {"run_id": run_id, "name": "price", "version": 1, "at": at})
        db.execute(
            s.cell_sessions.insert(),
            {"id": cell, "frontend": "kernel", "notebook": "", "user": "", "host": "", "pid": 1, "started_at": at},
        )
        db.execute(
            s.cell_executions.insert(),
            {
                "id": cell, "session_id": cell, "number": 1, "source": "load('sales@2')", "status": "ok", "outputs": [],
                "names": {}, "started_at": at,
            },
        )  # fmt: skip
        touch = {"execution_id": cell, "kind": "dataset", "subject": "dataset:sales@2", "name": "", "mode": "read"}
        db.execute(s.cell_touches.insert(), touch)
        row = {"id": report, "name": "price", "version": 1, "status": "ok", "rows": 0, "at": at}
        db.execute(s.monitor_reports.insert(), {**row, "data": theirs.store.blobs.put(b"{}")})
        row = {"id": clock.new_id(), "report_id": report, "name": "price", "version": 1, "message": "m", "at": at}
        db.execute(s.alerts.insert(), {**row, "status": "open", "findings": [{"seen": "model:price@1 is worse"}]})
        row = {"id": clock.new_id(), "name": "price", "version": 1, "environment": "staging", "created_at": at}
        db.execute(s.approvals.insert(), {**row, "status": "open", "reason": "r", "user": "u", "findings": []})
        row = {"id": clock.new_id(), "run_id": run_id, "status": "drifted", "user": "", "at": at}
        told = {"certificate": row["id"], "status": "drifted"}
        ledger.append(db, type="run.certified", subject=f"run:{run_id}", user="", data=told)
        differs = {"kind": "dataset", "name": "dataset:sales@2", "before": "x", "after": "y", "size": None, "cells": []}
        db.execute(s.certificates.insert(), {**row, "report": {"how": "stage", "differences": [differs]}})
        parent = {"type": "split", "of": "dataset:sales@2"}
        db.execute(s.dataset_versions.update().where(s.dataset_versions.c.version == 2).values(source=parent))
        db.execute(s.dataset_aliases.insert(), {"name": "sales", "alias": "good", "version": 2})
        db.execute(s.dataset_tags.insert(), {"name": "sales", "version": 2, "key": "like", "value": "dataset:sales@2"})
    ours.merge(folder(theirs))

    def one(table: sa.Table, **where: Any) -> Any:
        with ours.store.read() as db:
            query = sa.select(table).filter_by(**where)
            return db.execute(query).mappings().one()

    held = one(s.flows, id=flow)
    assert held["params"] == {"d": "dataset:sales@3"}
    assert held["outputs"] == {"dataset:sales": 3, "model:price": 2}
    assert held["decision"]["version"] == 2
    assert held["trigger"]["ref"] == "model:price@2"
    assert held["pins"] == {"dataset:sales": 3}
    held = one(s.stage_runs, run_id=run_id)
    assert held["params"] == {"data": "dataset:sales@3"}
    assert held["pins"] == {"dataset:sales": 3, "model:price@best": 2}
    assert held["facts"]["inputs"] == {"dataset:sales": [3, "blake3:x"], "model:price@best": [2, "sha"]}
    assert held["facts"]["found"] == {"dataset:sales": [3, "x"]}
    assert held["why"] == ["dataset:sales 1 -> 3", "forced"]
    assert held["fingerprint"] is None  # it was of a parameter that says something else now
    assert one(s.run_outputs, run_id=run_id)["value"] == ["models:/price/2"]
    assert one(s.model_uses, run_id=run_id)["version"] == 2
    assert one(s.cell_touches)["subject"] == "dataset:sales@3"
    assert one(s.cell_executions)["source"] == "load('sales@2')"
    assert one(s.monitor_reports)["version"] == 2
    assert (one(s.alerts)["version"], one(s.alerts)["findings"]) == (2, [{"seen": "model:price@2 is worse"}])
    assert one(s.approvals)["version"] == 2
    assert one(s.certificates)["report"]["differences"] == [{**differs, "name": "dataset:sales@3"}]
    assert one(s.dataset_versions, name="sales", version=3)["source"]["of"] == "dataset:sales@3"
    assert one(s.dataset_aliases)["version"] == 3
    assert one(s.dataset_tags, version=3)["value"] == "dataset:sales@3"
    before = content(ours.store)
    ours.merge(folder(theirs))
    assert content(ours.store) == before


def test_a_fingerprint_of_versions_alone_stays(open_: Any) -> None:
    from nbmlops.store.merging.numbers import Numbers

    numbers = Numbers({("dataset", "sales", 2): 3})
    row = dict.fromkeys(TABLES["stage_runs"].columns)
    row |= {"fingerprint": "f", "facts": {"inputs": {"dataset:sales": [2, "d"]}, "params": {}}}
    made = numbers.row("stage_runs", row)
    assert (made["fingerprint"], made["facts"]["inputs"]) == ("f", {"dataset:sales": [3, "d"]})


def test_a_run_that_was_open_comes_up_to_date_and_never_goes_back(open_: Any, tmp_path: Path) -> None:
    ours, theirs = open_("ours"), open_("theirs")
    live = theirs.runs.start(name="long", params={"lr": 1})
    for step in range(5):
        live.log_metric("loss", 1.0, step=step)  # still in the journal
    assert ours.merge(folder(theirs)).added["runs"] == 1
    assert len(ours.runs.metric_history(live.run_id, "loss")) == 5
    shutil.copytree(folder(theirs), tmp_path / "earlier")
    for step in range(5, 9):
        live.log_metric("loss", 0.5, step=step)
    live.set_tag("late", "yes")
    live.end()
    merged = ours.merge(folder(theirs))
    assert (merged.added.get("runs"), merged.updated["runs"]) == (None, 1)
    run = ours.runs.get(live.run_id)
    assert (run.status, run.tags["late"]) == ("FINISHED", "yes")
    assert ours.runs.metric_history(live.run_id, "loss")["step"].tolist() == list(range(9))
    before = content(ours.store)
    assert ours.merge(tmp_path / "earlier").updated == {}
    assert ours.merge(folder(theirs)).updated == {}
    assert content(ours.store) == before


def test_cells_still_in_their_journal_come_and_the_other_store_stays_as_it_is(open_: Any, theirs: Workspace) -> None:
    session, cell, at = clock.new_id(), clock.new_id(), clock.now()
    large = {"output_type": "display_data", "data": {"text/plain": "x" * 20_000}}
    begun = {
        "session": session,
        "at": at,
        "frontend": "kernel",
        "notebook": "n.ipynb",
        "user": "u",
        "host": "far",
        "pid": 1,
    }
    ended = {"end": cell, "status": "ok", "seconds": 1.0, "error": None, "outputs": [large], "names": {"stored": ["a"]}}
    lines = [begun, {"begin": cell, "number": 1, "source": "a = 1", "status": "running", "at": at}]
    journal = theirs.store.journal_folder / f"cells-{session}.far.1"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ours = open_("ours")
    assert ours.merge(folder(theirs), dry_run=True).added["cells"] == 1
    assert ours.merge(folder(theirs)).added["cells"] == 1
    with journal.open("a") as file:
        file.write(json.dumps(ended) + "\n")
    held = set(theirs.store.blobs.digests())
    assert ours.merge(folder(theirs)).updated == {"cells": 1}
    assert ours.merge(folder(theirs)).updated == {}
    with ours.store.read() as db:
        row = db.execute(sa.select(schema.cell_executions)).mappings().one()
    assert (row["status"], row["source"]) == ("ok", "a = 1")
    assert ours.store.blobs.get(row["outputs"][0]["data"]["text/plain"]["digest"]) == b"x" * 20_000
    assert set(theirs.store.blobs.digests()) == held
    assert journal.exists()
    journal.write_text(json.dumps({"begin": [1], "number": {}}) + "\n")
    assert ours.merge(folder(theirs)).left_out == (
        "what its sessions recorded of cells and was not folded: 1 broken line",
    )
    journal.write_text(json.dumps(lines[1] | {"begin": [1]}) + "\n")
    assert "recorded of cells and was not folded: unhashable" in ours.merge(folder(theirs)).left_out[0]


def test_who_claims_the_id_of_an_ended_run_does_not_change_it(open_: Any, tmp_path: Path, theirs: Workspace) -> None:
    ours = open_("ours")
    ours.merge(folder(theirs))
    change(
        folder(theirs),
        "UPDATE runs SET heartbeat_at = heartbeat_at + 1e6, name = 'other'",
        "UPDATE params SET value = 0",
    )
    before = content(ours.store)
    ours.merge(folder(theirs))
    assert content(ours.store) == before


def test_three_stores_in_any_order_are_the_same_set(open_: Any) -> None:
    for name, factor in (("a", 2.0), ("b", 3.0), ("c", 2.0)):
        fill(open_(name), factor)
    orders = ("abc", "cba", "bca")
    seen = []
    for order in orders:
        ws = open_(f"in order {order}")
        for name in order:
            ws.merge(folder(ws).parent / name)
        seen.append(ws)
    nested, pair = open_("nested"), open_("pair")
    pair.merge(folder(pair).parent / "b")
    pair.merge(folder(pair).parent / "c")
    nested.merge(folder(pair).parent / "a")
    nested.merge(folder(pair))
    nested.merge(folder(pair).parent / "c")
    assert [summary(ws) for ws in (*seen, nested)] == [summary(seen[0])] * 4
    for ws in (*seen, nested):
        assert ws.verify_ledger() == len(ws.events())


def summary(ws: Workspace) -> Any:
    """What is there, whatever its number: versions by their content, and runs with what their references mean."""
    data = {v.ref: v.digest for d in ws.datasets.list() for v in ws.datasets.versions(d.name)}
    models = {v.ref: v.package for m in ws.models.list() for v in ws.models.versions(m.name)}
    runs = [
        (r.run_id, r.metrics, data[r.params["data"]], [data[u] for u in ws.runs.datasets(r.run_id)])
        for r in sorted(ws.runs.search(limit=100), key=lambda r: r.run_id)
    ]
    return (
        sorted(data.values()),
        sorted(models.values()),
        runs,
        sorted(e.hash for e in ws.events(merged=True) if e.store and e.type != "store.merged"),
    )


def test_two_stores_that_merge_each_other(open_: Any) -> None:
    a, b = open_("a"), open_("b")
    fill(a, 2.0)
    fill(b, 3.0)
    for _ in range(2):
        a.merge(folder(b))
        b.merge(folder(a))
    assert {r.run_id for r in a.runs.search()} == {r.run_id for r in b.runs.search()}
    assert len(a.models.versions("price")) == len(b.models.versions("price")) == 2
    for ws in (a, b):
        assert ws.verify_ledger() == len(ws.events())


# --- copies of one store --------------------------------------------------------------------------------------------
def test_a_copy_is_the_same_store_until_both_go_on(open_: Any, tmp_path: Path) -> None:
    ours = open_("ours")
    fill(ours, 2.0)
    shutil.copytree(folder(ours), tmp_path / "laptop")
    laptop = open_("laptop")
    laptop.runs.start(name="on the way").end()
    merged = ours.merge(tmp_path / "laptop")
    assert (merged.added["runs"], merged.events) == (1, 0)
    run_id = laptop.runs.search()[0].run_id
    register(laptop, run_id, 5.0)
    register(ours, run_id, 7.0)
    merged = ours.merge(tmp_path / "laptop")
    assert merged.store_id is not None
    assert "~" in merged.store_id
    assert merged.renumbered[0].here == "model:price@3"
    register(laptop, run_id, 6.0)
    assert ours.merge(tmp_path / "laptop").store_id == merged.store_id
    assert laptop.merge(folder(ours)).added["model versions"] == 1
    assert len(ours.models.versions("price")) == len(laptop.models.versions("price")) == 4
    for ws in (ours, laptop):
        assert ws.verify_ledger() == len(ws.events())
    with pytest.raises(UsageFault, match="this store itself"):
        ours.merge(folder(ours))


# --- ledgers --------------------------------------------------------------------------------------------------------
def change(where: Path, *statements: str) -> None:
    with sqlite3.connect(where / "nbmlops.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE ledger SET user = 'eve' WHERE seq = 2", "event 2 .* was changed"),
        ("DELETE FROM ledger WHERE seq = 1", "event 1 was removed"),
        ("DELETE FROM ledger", "no event tells of the registration of model:price@1"),
        ("UPDATE ledger SET data = '[' WHERE seq = 1", "event 1 of the ledger is no event"),
        ("UPDATE model_aliases SET version = 1", "no event has put"),
        ("UPDATE ledger SET user = CAST(X'FF00' AS TEXT)", "the ledger cannot be read"),
        ("UPDATE meta SET value = '../x' WHERE name = 'store_id'", "no ids of stores: ../x"),
    ],
)
def test_a_ledger_that_is_not_intact_is_refused(open_: Any, theirs: Workspace, statement: str, said: str) -> None:
    ours = open_("ours")
    run_id = theirs.runs.search()[0].run_id
    register(theirs, run_id, 3.0)
    change(folder(theirs), statement)
    with pytest.raises(Tampered, match=said):
        ours.merge(folder(theirs))
    assert ours.runs.search() == []


def test_a_ledger_must_go_on_where_it_was(open_: Any, theirs: Workspace, tmp_path: Path) -> None:
    ours = open_("ours")
    run_id = theirs.runs.search()[0].run_id
    shutil.copytree(folder(theirs), tmp_path / "early")
    register(theirs, run_id, 3.0)
    ours.merge(folder(theirs))
    with pytest.raises(Tampered, match="ends before event 3"):
        ours.merge(tmp_path / "early")
    early = open_("early")
    register(early, run_id, 4.0)
    with pytest.raises(Tampered, match=r"event 3 of the ledger of .* \(model.registered of model:price@2\)"):
        ours.merge(tmp_path / "early")
    assert len(ours.models.versions("price")) == 2


def test_absurd_events_tell_nothing(open_: Any, theirs: Workspace) -> None:
    absurd: list[Any] = [{"model_versions": 5}, {"model_versions": {"a": 1}, "aliases": []}, {"certificates": 5}]
    with theirs.store.write() as db:
        for data in absurd:
            ledger.append(db, type="store.merged", subject="x", user="eve", data=data)
        ledger.append(db, type="model.registered", subject="model:x@1", user="eve", data={"id": [1]})
    ours = open_("ours")
    ours.merge(folder(theirs))
    ours.merge(folder(theirs))
    assert ours.verify_ledger() == 2
    assert len(ours.events(merged=True)) == 8


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE merged_ledger SET user = 'eve' WHERE seq = 2", "the ledger of .* event 2 .* was changed"),
        ("DELETE FROM merged_ledger", "taken over with 2 events"),
        ("DELETE FROM merged_ledger WHERE seq = 2", "taken over with 2 events"),
        ("UPDATE model_versions SET version = 9", "no event tells of the registration of model:price@9"),
        ("UPDATE model_versions SET id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'", "no event tells of the registration of model"),
        ("UPDATE model_aliases SET version = 7", "no event has put model:price@7 into best"),
    ],
)
def test_tampering_after_a_merge_is_found(open_: Any, theirs: Workspace, statement: str, said: str) -> None:
    ours = open_("ours")
    ours.merge(folder(theirs))
    change(folder(ours), statement)
    with pytest.raises(Tampered, match=said):
        ours.verify_ledger()


# --- what is refused ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE datasets SET name = '../../etc'", "datasets.name: '../../etc' cannot be the name"),
        ("UPDATE artifacts SET path = '../../x'", "artifacts.path: '../../x' leads elsewhere"),
        ("UPDATE artifacts SET path = '/etc/passwd'", "leads elsewhere"),
        ("UPDATE runs SET source = '{'", "runs.source: set() is no JSON"),
        ("UPDATE runs SET source = replace(hex(zeroblob(5000)), '0', '[')", "runs.source: set() is no JSON"),
        ("UPDATE runs SET started_at = 'now'", "runs.started_at: 'now' is no number"),
        ("UPDATE runs SET status = 'ODD'", "runs.status: 'ODD' is no status"),
        ("UPDATE runs SET id = 'x'", "runs.id: 'x' is no id"),
        ("UPDATE runs SET experiment_id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'", "is no experiment among the rows"),
        ("UPDATE params SET run_seq = run_seq + 77", "is no run among the rows"),
        ("UPDATE params SET key_id = key_id + 77", "is no key among the rows"),
        ("UPDATE dataset_uses SET version = 77", "dataset:sales@77 is not among the rows"),
        ("UPDATE dataset_uses SET run_id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'", "is needed and not among the rows"),
        ("UPDATE dataset_versions SET manifest = 'sha256:x'", "is no digest of a stored object"),
        ("UPDATE metric_chunks SET points = 4000000000, data = X'0102EE6B28EE'", "promises"),
        ("UPDATE metric_chunks SET data = X'0100030000000000'", "metric_chunks.data"),
        ("UPDATE keys SET name = 'a' || char(10) WHERE id = 1", "cannot be the name of a param"),
        ("UPDATE runs SET name = CAST(X'FF00' AS TEXT)", "cannot be read"),
        ("CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM params; END", "trigger 't'"),
        ("CREATE VIEW v AS SELECT 1", "view 'v'"),
        ("DROP TABLE alerts", "table alerts lacks id"),
    ],
)
def test_a_hostile_store_is_refused_whole(open_: Any, theirs: Workspace, statement: str, said: str) -> None:
    ours = open_("ours")
    change(folder(theirs), statement)
    before = content(ours.store, without=())
    with pytest.raises(InvalidValue) as refused:
        ours.merge(folder(theirs))
    assert said in str(refused.value)
    assert content(ours.store, without=()) == before
    assert set(ours.store.blobs.digests()) == set()


def test_all_faults_are_told_at_once(open_: Any, theirs: Workspace) -> None:
    ours = open_("ours")
    change(
        folder(theirs), "UPDATE artifacts SET path = '..'", "UPDATE runs SET pid = 'x'", "UPDATE datasets SET name = ''"
    )
    with pytest.raises(InvalidValue) as refused:
        ours.merge(folder(theirs))
    assert len([f for f in refused.value.faults if ".." in f or "pid" in f or "datasets" in f]) == 3


def test_missing_and_damaged_files(open_: Any, theirs: Workspace) -> None:
    ours = open_("ours")
    run_id = theirs.runs.search()[0].run_id
    path = Path(theirs.store.blobs.url(theirs.runs.artifacts(run_id)[0].digest))
    path.unlink()
    with pytest.raises(InvalidValue, match=r"is missing; artifacts.digest needs it"):
        ours.merge(folder(theirs))
    assert ours.runs.search() == []
    merged = ours.merge(folder(theirs), partial=True)
    assert "is missing" in merged.left_out[0]
    assert ours.runs.get(run_id).status == "FINISHED"
    path.write_bytes(b"something else")
    other = open_("other")
    with pytest.raises(Exception, match="does not have the content") as refused:
        other.merge(folder(theirs))
    assert type(refused.value).__name__ == "BlobCorrupt"
    assert other.runs.search() == []


def test_files_behind_a_manifest_must_be_there(open_: Any, theirs: Workspace) -> None:
    ours = open_("ours")
    manifest = json.loads(theirs.store.blobs.get(theirs.datasets.get("sales@1").manifest))
    Path(theirs.store.blobs.url(manifest["files"][0])).unlink()
    with pytest.raises(InvalidValue, match="a manifest needs it"):
        ours.merge(folder(theirs))


def test_no_store_and_one_that_is_too_new(open_: Any, theirs: Workspace, tmp_path: Path) -> None:
    ours = open_("ours")
    with pytest.raises(NotFound, match="there is no store"):
        ours.merge(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    change(folder(theirs), "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew):
        ours.merge(folder(theirs))
    change(folder(theirs), "UPDATE alembic_version SET version_num = '" + migrations.HEAD + "'", "DELETE FROM meta")
    with pytest.raises(StoreFault, match="has lost its id"):
        ours.merge(folder(theirs))


def test_an_older_store_is_not_changed(open_: Any, tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "untouched")
    before = {p: p.read_bytes() for p in (tmp_path / "untouched").rglob("*") if p.is_file()}
    merged = open_("ours").merge(tmp_path / "untouched")
    assert merged.added["flows"] == 2
    assert {p: p.read_bytes() for p in (tmp_path / "untouched").rglob("*") if p.is_file()} == before


# --- doors ----------------------------------------------------------------------------------------------------------
def test_the_command_line(cli: Callable[..., Any], nb: Any, theirs: Workspace, tmp_path: Path) -> None:
    told = cli("store", "merge", str(folder(theirs)), "--dry-run").out
    assert "dry run" in told
    assert "data set versions" in told
    assert cli("store", "merge", str(folder(theirs)), "--json").json()["added"]["runs"] == 1
    assert "nothing new" in cli("store", "merge", str(folder(theirs))).out
    assert "2 events, and 2 in the ledgers of 1 merged stores" in cli("ledger", "verify").out
    assert len(cli("ledger", "show", "--json").json()) == 2
    shown = cli("ledger", "show", "--all", "--json").json()
    assert [bool(e["store"]) for e in shown] == [False, False, True, True]
    cli("store", "merge", str(tmp_path / "nothing"), code=3)
