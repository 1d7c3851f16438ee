"""Certificates through every door, of a real session whose cells were recorded, and what a gate makes of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbmlops import clock, display
from nbmlops.context import Context
from nbmlops.errors import Blocked, Tampered
from nbmlops.notebook import engine
from nbmlops.notebook.job import Job
from nbmlops.pipelines import works
from nbmlops.store import ledger, schema
from nbmlops.workspace import Workspace
from tests.reproduction.test_rerun import notebook
from tests.store_rows import rows

CELLS = (
    "%load_ext nbmlops",
    "import nbmlops, pandas as pd, numpy as np\nfrom sklearn.linear_model import Ridge",
    "frame = pd.DataFrame({'x': np.arange(30.0), 'y': np.arange(30.0) ** 2})\nframe = nbmlops.snapshot(frame, 'line')",
    "data = nbmlops.load_dataset('line')\nnbmlops.start_run('fit')\nmodel = Ridge().fit(data[['x']], data['y'])",
    "nbmlops.log_metric('score', model.score(data[['x']], data['y']))\nnbmlops.log_metric('noise', NOISE)",
    "version = nbmlops.register_model(model, 'ridge', training_data=data[['x']], certify=True)\n"
    "print('certified', version.certificate and version.certificate.status)\nnbmlops.log_metric('after', 1)",
    "nbmlops.end_run()",
)


def session(folder: Path, *cells: str) -> Any:
    """What a person's kernel does with these cells, on the store of the test."""
    store = {"NBMLOPS_STORE": os.environ["NBMLOPS_STORE"], "NBMLOPS_USER": "tester"}
    document = notebook(*cells)
    warm = works.preload([(json.dumps(document).encode(), "session")])  # the same kernel as the clean runs have
    done = engine.execute(document, Job(cwd=str(folder), environment=store, preload=warm))
    assert done.status == "FINISHED", done.error
    return "".join(o.get("text", "") for cell in done.nb.cells for o in cell.outputs)


def test_a_session_is_certified_while_its_run_is_active_and_afterwards(
    ws: Workspace, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    printed = session(tmp_path, *(cell.replace("NOISE", "0.5") for cell in CELLS))
    assert "certified reproduced" in printed
    version = ws.models.get("ridge")
    inside = version.certificate
    assert (inside.status, inside.how, inside.compared) == ("reproduced", "journal", {"metrics": 2, "models": 1})
    assert ws.runs.search()[0].name == "fit"
    assert len(ws.runs.search()) == len(ws.models.versions("ridge")) == len(ws.datasets.versions("line")) == 1
    ws.cells.fold()
    before = rows(ws.store)
    again = cli("run", "reproduce", f"run:{version.run_id}", "--json").json()
    assert (again["status"], again["compared"]) == ("reproduced", {"metrics": 3, "models": 1})
    after = rows(ws.store)
    assert {name for name in after if after[name] != before[name]} == {"certificates", "ledger"}
    assert "compared 3 metrics, 1 model" in display.text(ws.runs.get(version.run_id))
    assert ws.lineage.why("model:ridge").root.facts["certificate"].startswith("reproduced, ")
    assert ws.promotion.promote("ridge", "staging", "same", ['certificate == "reproduced"']).status == "promoted"


def test_what_drifts_is_refused_by_a_gate_and_names_its_cell(
    ws: Workspace, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    cells = [cell.replace("NOISE", "np.random.rand()").replace(", certify=True", "") for cell in CELLS]
    session(tmp_path, *cells[:-2], cells[-2].replace("print", "# print"), cells[-1])
    assert ws.models.get("ridge").certificate is None
    told = cli("model", "certify", "ridge", code=1).out
    assert "drifted" in told
    made = ws.models.get("ridge").certificate
    assert [(d.kind, d.name, d.cells) for d in made.differences] == [("metric", "noise", ("[5]",))]
    with pytest.raises(Blocked, match="certificate = 'drifted'"):
        ws.promotion.promote("ridge", "staging", "same", ['certificate == "reproduced"'])
    with ws.store.write() as db:
        c = schema.certificates
        db.execute(c.update().values(status="reproduced"))
    with pytest.raises(Tampered, match="no event tells of the certificate"):
        ws.verify_ledger()


def test_a_certificate_of_another_store_opens_no_gate(ws: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other", ws.context)
    with other.store.write() as db:
        run_id = other.runs.start(name="fit").run_id
        report = {"how": "stage", "compared": {}, "environment": {}, "tolerance": 0.0, "seconds": 1.0}
        told = {"certificate": clock.new_id(), "status": "reproduced"}
        row = {"id": told["certificate"], "run_id": run_id, "status": "reproduced", "report": report, "user": "eve"}
        db.execute(schema.certificates.insert(), {**row, "at": clock.now()})
        ledger.append(db, type="run.certified", subject=f"run:{run_id}", user="eve", data=told)
    other.runs.resume(run_id).end()
    ws.merge(tmp_path / "other")
    assert ws.runs.certificate(run_id).status == "reproduced"
    assert ws.runs.certified_here(run_id) is None
    assert ws.verify_ledger()
    other.store.close()


def test_the_magics_ask_for_the_same(nb: Any, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbmlops.reproduction import Reproduction

    asked: list[Any] = []
    monkeypatch.setattr(Reproduction, "certify", lambda desk, version, **more: asked.append(more) or version)
    monkeypatch.setattr(Reproduction, "reproduce", lambda desk, ref, **more: asked.append((ref, more)))
    from IPython.core.interactiveshell import InteractiveShell
    from sklearn.linear_model import LinearRegression

    shell = InteractiveShell.instance()
    try:
        nb.load_ipython_extension(shell)
        shell.user_ns["model"] = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        shell.user_ns["rows"] = [[1.0], [2.0]]
        with nb.start_run("fit"):
            nb.register_model(shell.user_ns["model"], "line", input_example=[[1.0]], certify=True)
        shell.run_line_magic("mlops", "reproduce run:x --tolerance 0.1")
        nb.unload_ipython_extension(shell)
    finally:
        InteractiveShell.clear_instance()
    assert asked == [{"now": True}, ("run:x", {"tolerance": 0.1, "how": None})]


def test_inside_a_clean_run_nothing_is_certified(ws: Workspace) -> None:
    from nbmlops.records import ModelVersion

    inside = Workspace(ws.store, lambda: Context("tester", reproducing="scratch"))
    version = ModelVersion("m", 1, "skops", "sha256:0", {}, run_id="x")
    assert inside.reproduction.certify(version) is version
