"""A run sent from one store to another: everything arrives, nothing twice, and both ledgers stay sound."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from nbmlops import extension, session
from nbmlops.capsules.collecting import INCLUDED
from nbmlops.errors import NotFound, UsageFault
from nbmlops.records import Record
from nbmlops.store import schema
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.verify import verify
from nbmlops.workspace import Workspace
from tests.capsules.conftest import FRAME, worked, workspace
from tests.pipelines.notebooks import write
from tests.store_rows import content


def told(record: Record) -> str:
    """A record as text in which order of keys does not count, and NaN is like itself."""
    return json.dumps(record.to_dict(), sort_keys=True)


def seen(ws: Workspace) -> dict[str, Any]:
    """What a user sees."""
    runs = sorted(ws.runs.search(limit=100), key=lambda r: r.run_id)
    versions = [v for d in ws.datasets.list() for v in ws.datasets.versions(d.name)]
    models = [v for m in ws.models.list() for v in ws.models.versions(m.name)]
    return {
        "runs": [told(ws.runs.get(r.run_id)) for r in runs],
        "metrics": [
            (r.run_id, k, repr(ws.runs.metric_history(r.run_id, k).to_dict("list")))
            for r in runs
            for k in sorted(r.metrics)
        ],
        "params": [(r.run_id, ws.runs.param_history(r.run_id)) for r in runs],
        "files": [
            (r.run_id, a.path, ws.runs.artifact(r.run_id, a.path)) for r in runs for a in ws.runs.artifacts(r.run_id)
        ],
        "uses": [(r.run_id, ws.runs.datasets(r.run_id), ws.runs.models(r.run_id)) for r in runs],
        "cells": [list(map(told, ws.cells.behind(r.run_id))) for r in runs],
        "data": [v.to_dict() for v in versions],
        "models": [v.to_dict() for v in models],
        "why": [told(ws.lineage.why(v.ref)) for v in (*runs, *versions, *models)],
    }


def names(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def inside(file: Path, name: str) -> Any:
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read(name))


def test_everything_of_a_run_arrives(sent: tuple[Path, str], place: Callable[[str], Workspace]) -> None:
    folder, run_id = sent
    there, here = workspace(folder / "store"), place("here")
    here.runs.start("prices", "ours").end()
    ours = {r.run_id for r in here.runs.search()}
    would = here.capsules.import_(folder / "full.zip", dry_run=True)
    assert (would.done, would.event, would.merged.added["runs"]) == ("would import", None, 2)  # type: ignore[union-attr]
    assert {r.run_id for r in here.runs.search()} == ours
    done = here.capsules.import_(folder / "full.zip")
    assert (done.done, done.run, done.run_id, done.without_data) == ("imported", "fit", run_id, ())
    assert done.merged.added == would.merged.added  # type: ignore[union-attr]
    for run in ours:
        here.runs.delete(run)
    assert seen(here) == seen(there)
    pd.testing.assert_frame_equal(here.datasets.load("sales@2"), there.datasets.load("sales@2"))
    predicted = [w.models.load("price@1").predict(FRAME[["x"]]) for w in (here, there)]
    assert np.array_equal(*predicted)
    assert [f.level for f in here.datasets.verify()] == ["pass", "pass"]
    assert verify(here.store).ok
    assert [e.type for e in here.events()] == ["run.imported", "store.merged"]
    assert here.events()[0].data["content"] == done.content
    assert there.events()[0].type == "run.exported"
    assert here.verify_ledger() == 2
    assert there.verify_ledger() == len(there.events())
    there.store.close()


def test_twice_changes_nothing(sent: tuple[Path, str], place: Callable[[str], Workspace]) -> None:
    here = place("here")
    for name in ("bare.zip", "full.zip", "bare.zip"):
        here.capsules.import_(sent[0] / name)
    before, blobs, events = content(here.store), set(here.store.blobs.digests()), len(here.events())
    for name in ("bare.zip", "full.zip"):
        again = here.capsules.import_(sent[0] / name)
        assert (again.done, again.event) == ("nothing new", None)
    assert (content(here.store), set(here.store.blobs.digests()), len(here.events())) == (before, blobs, events)


def test_the_same_bytes_each_time_and_from_where_it_came_to(
    sent: tuple[Path, str], place: Callable[[str], Workspace], tmp_path: Path
) -> None:
    folder, run_id = sent
    there, here = workspace(folder / "store"), place("here")
    there.capsules.export(run_id, tmp_path / "again.zip")
    there.store.close()
    assert (tmp_path / "again.zip").read_bytes() == (folder / "bare.zip").read_bytes()
    here.capsules.import_(folder / "full.zip")
    here.capsules.export(run_id, tmp_path / "back.zip", data=True)
    first, second = (inside(f, "capsule.json")["files"] for f in (folder / "full.zip", tmp_path / "back.zip"))
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing <= {"events.json", "ro-crate-metadata.json", "rows/experiments.jsonl", "rows/runs.jsonl"}
    with pytest.raises(UsageFault, match="exists already"):
        here.capsules.export(run_id, tmp_path / "back.zip")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["again.zip", "back.zip"]


def test_a_capsule_without_data_and_then_with(sent: tuple[Path, str], place: Callable[[str], Workspace]) -> None:
    folder, run_id = sent
    here = place("here")
    done = here.capsules.import_(folder / "bare.zip")
    assert done.without_data == ("dataset:sales@1", "dataset:sales@2")
    with pytest.raises(NotFound, match="the data of dataset:sales@2 were not in the capsule that brought it") as error:
        here.datasets.load("sales@2")
    assert error.value.hint == "ask for one made with --data, and import that"
    with pytest.raises(NotFound, match="were not in the capsule"):
        here.capsules.export(run_id, folder / "never.zip", data=True)
    assert here.datasets.profile("sales@2").rows == 30  # type: ignore[union-attr]
    assert {f.level for f in here.datasets.verify()} == {"warn"}
    assert verify(here.store).ok
    assert np.allclose(here.models.load("price").predict(FRAME[["x"]]), FRAME["x"] * 2)
    assert here.capsules.import_(folder / "full.zip").done == "imported"
    assert here.datasets.load("sales@2")["x"].tolist() == (FRAME.x * 2).tolist()
    assert here.datasets.get("sales@2").tags == {}
    assert here.datasets.get("sales@1").tags == {"made": "first"}
    assert here.verify_ledger() == len(here.events()) == 4


def test_a_snapshot_of_what_came_without_data_is_kept(
    sent: tuple[Path, str], place: Callable[[str], Workspace]
) -> None:
    here = place("here")
    here.capsules.import_(sent[0] / "bare.zip")
    made = here.datasets.snapshot(FRAME.assign(x=FRAME.x * 2.0), "sales")
    assert made.digest == here.datasets.get("sales@2").digest
    assert here.datasets.load(made)["x"].tolist() == (FRAME.x * 2).tolist()
    assert here.datasets.snapshot(FRAME.assign(x=0.0), "sales").version == made.version + 1


def test_versions_get_a_free_number(sent: tuple[Path, str], place: Callable[[str], Workspace]) -> None:
    here = place("here")
    worked(here, 3.0)
    done = here.capsules.import_(sent[0] / "full.zip")
    moved = {r.there: r.here for r in done.merged.renumbered}  # type: ignore[union-attr]
    assert moved == {"dataset:sales@2": "dataset:sales@3", "model:price@1": "model:price@2"}
    run = here.runs.get(sent[1])
    assert (run.params["data"], run.datasets) == ("dataset:sales@3", ("dataset:sales@3",))
    assert here.datasets.load("sales@3")["x"].tolist() == (FRAME.x * 2).tolist()
    assert here.datasets.load("sales@2")["x"].tolist() == (FRAME.x * 3).tolist()
    assert np.allclose(here.models.load("price@2").predict(FRAME[["x"]]), FRAME["x"] * 2)
    assert here.verify_ledger() == len(here.events())


@pytest.mark.parametrize("name", ["bare.zip", "full.zip"])
def test_after_it_a_merge_of_the_whole_store(
    sent: tuple[Path, str], place: Callable[[str], Workspace], name: str
) -> None:
    folder, _ = sent
    there, here, third = workspace(folder / "store"), place("here"), place("third")
    here.capsules.import_(folder / name)
    third.merge(str(here.store.folder))
    third.merge(folder / "store")
    for _ in range(2):
        here.merge(folder / "store")
        assert seen(here) == seen(there)
        assert here.datasets.load("sales@2")["x"].tolist() == (FRAME.x * 2).tolist()
        assert here.verify_ledger() == len(here.events())
    assert seen(third) == seen(there)
    assert third.verify_ledger() == len(third.events())
    assert verify(here.store).ok
    assert verify(third.store).ok
    there.store.close()


def test_what_is_inside(sent: tuple[Path, str]) -> None:
    folder, _ = sent
    listed = names(folder / "bare.zip")
    assert listed == sorted(listed)
    assert {
        "README.md", "capsule.json", "run.json", "cells.json", "events.json", "ro-crate-metadata.json",
        "environment/environment.json", "environment/requirements.txt", "artifacts/Notes/A.txt",
        "models/price@1/model.skops", "datasets/sales@2/manifest.json", "rows/runs.jsonl",
    } <= set(listed)  # fmt: skip
    assert "artifacts/notes/a.txt" not in listed  # on some disks it is the same name
    about = inside(folder / "bare.zip", "capsule.json")
    assert about["format"] == "nbmlops-capsule-1"
    assert set(about["files"]) | {"capsule.json"} == set(listed)
    events = inside(folder / "bare.zip", "events.json")
    assert {e["type"] for e in events} == {"model.registered"}
    assert set(INCLUDED) <= set(TABLES)
    assert not {"dataset_aliases", "model_aliases", "alias_history", "approvals", "feedback"} & set(INCLUDED)


def test_the_crate_says_who_did_what_with_what(sent: tuple[Path, str]) -> None:
    crate = inside(sent[0] / "bare.zip", "ro-crate-metadata.json")
    assert crate["@context"] == "https://w3id.org/ro/crate/1.2/context"
    things = {each["@id"]: each for each in crate["@graph"]}
    assert len(things) == len(crate["@graph"])
    assert things["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.2"}
    root = things["./"]
    assert {"name", "description", "datePublished", "license", "hasPart"} <= root.keys()
    action = next(each for each in things.values() if each["@type"] == "CreateAction")
    assert {"instrument", "object", "result", "agent", "startTime", "endTime"} <= action.keys()
    named = [i["@id"] for each in things.values() for v in each.values() for i in (v if isinstance(v, list) else [v])
             if isinstance(i, dict)]  # fmt: skip
    assert all(each in things for each in named if not each.startswith("https://w3id.org"))
    listed = {n for n in names(sent[0] / "bare.zip") if n not in {"capsule.json", "ro-crate-metadata.json"}}
    assert {each["@id"].replace("%40", "@") for each in things.values() if each["@type"] == "File"} == listed
    assert str(sent[0]) not in json.dumps(crate)


@pytest.mark.slow
def test_a_stage_with_its_certificate(ws: Workspace, place: Callable[[str], Workspace], tmp_path: Path) -> None:
    cells = ("x: int = 3", "import nbmlops\nnbmlops.log_metric('double', x * 2)")
    run_id = ws.pipelines.run_stage(write(tmp_path / "double.ipynb", *cells), {"x": 4}, progress=False).run_id
    assert ws.reproduction.reproduce(run_id, progress=False).status == "reproduced"
    ws.capsules.export(run_id, tmp_path / "stage.zip")
    with zipfile.ZipFile(tmp_path / "stage.zip") as archive:
        assert archive.read("notebook.ipynb") == ws.runs.artifact(run_id, "executed.ipynb")
        assert b"double" in archive.read("notebook.html")
    assert inside(tmp_path / "stage.zip", "certificate.json")["status"] == "reproduced"
    here = place("here")
    here.capsules.import_(tmp_path / "stage.zip")
    assert seen(here) == seen(ws)
    assert here.runs.certificate(run_id) == ws.runs.certificate(run_id)
    assert here.verify_ledger() == len(here.events())
    here.merge(str(ws.store.folder))
    assert here.verify_ledger() == len(here.events())


@pytest.fixture
def shell(nb: Any) -> Any:
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.history_manager.enabled = False
    extension.load(made)
    yield lambda source, cell_id=None: made.run_cell(source, store_history=True, cell_id=cell_id)
    extension.unload(made)
    InteractiveShell.clear_instance()


def test_runs_of_one_session_with_their_cells(
    shell: Any, place: Callable[[str], Workspace], cli: Callable[..., Any], tmp_path: Path
) -> None:
    shell("import nbmlops, pandas as pd", "one")
    shell("v = nbmlops.snapshot(pd.DataFrame({'x': [1, 2]}), 'sales')", "snap")
    shell("other = nbmlops.snapshot(pd.DataFrame({'y': [1, 2]}), 'others')", "other")
    shell("with nbmlops.start_run('first'):\n    nbmlops.load_dataset('sales'); nbmlops.log_metric('auc', 0.5)", "a")
    shell("with nbmlops.start_run('second'):\n    nbmlops.load_dataset('others'); nbmlops.log_metric('auc', 1)", "b")
    there, here = session.workspace(), place("here")
    second, first = (r.run_id for r in there.runs.search())
    assert shell(f"%mlops run export {first} first.zip").result.done == "exported"
    cli("run", "export", first, "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "first.zip").read_bytes()
    cli("run", "export", second, "second.zip", "--data")
    assert "notebook.ipynb" in names(tmp_path / "first.zip")
    assert "notebook.html" in names(tmp_path / "first.zip")
    here.capsules.import_("first.zip")
    assert [e.cell_id for e in here.cells.behind(first)] == ["one", "snap", "other", "a"]
    assert here.cells.export(first) == there.cells.export(first)
    assert here.cells.made("dataset", "dataset:sales@1").cell_id == "snap"  # type: ignore[union-attr]
    assert here.cells.made("dataset", "dataset:others@1") is None
    here.capsules.import_("second.zip")
    assert here.cells.made("dataset", "dataset:others@1").cell_id == "other"  # type: ignore[union-attr]
    here.merge(str(there.store.folder))
    assert seen(here) == seen(there)
    with here.store.read() as db, there.store.read() as theirs:
        touches = [sorted(map(repr, d.execute(sa.select(schema.cell_touches)))) for d in (db, theirs)]
    assert touches[0] == touches[1]
    would = cli("--store", str(tmp_path / "new"), "run", "import", "first.zip", "--dry-run", "--json").json()
    assert would["done"] == "would import"
    there.runs.start(name="open")
    with pytest.raises(UsageFault, match="has not ended"):
        there.capsules.export("open", "open.zip")
