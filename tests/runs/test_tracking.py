"""Tracking as a user has it: what is logged can be read back, whatever it is and however the process ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbmlops import session
from nbmlops.errors import InvalidValue, NotFound, UsageFault

MLFLOW_SCRIPT = """
import sys
import nbmlops as mlflow
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt

experiment = mlflow.set_experiment("regression")
assert experiment.experiment_id
with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="a test") as parent:
    mlflow.log_param("model", "tree")
    mlflow.log_params({"depth": 3, "learning rate": 0.1})
    for epoch in range(5):
        mlflow.log_metric("loss", 1.0 / (epoch + 1), step=epoch)
        mlflow.log_metrics({"rmse": 2.0 / (epoch + 1), "mae": 1.5}, step=epoch)
    mlflow.set_tags({"release": "1.0", "stage": "dev"})
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"a": [1, 2]}, "config.json")
    mlflow.log_dict({"a": [1, 2]}, "config.yaml")
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    mlflow.log_figure(figure, "plots/line.png")
    with open("data.csv", "w") as file:
        file.write("x,y")
    mlflow.log_artifact("data.csv")
    mlflow.log_artifact("data.csv", artifact_path="inputs")
    for depth in (2, 4):
        with mlflow.start_run(run_name=f"child-{depth}", nested=True) as child:
            mlflow.log_param("depth", depth)
            mlflow.log_metric("rmse", 1 / depth)
    assert mlflow.active_run().info.run_id == parent.info.run_id
found = mlflow.search_runs(
    experiment_names=["regression"],
    filter_string="metrics.rmse < 0.45 and params.model = 'tree'",
    order_by=["metrics.rmse ASC"],
)
assert list(found["run_id"]) == [parent.info.run_id], found
assert found.loc[0, "metrics.loss"] == 0.2 and found.loc[0, "params.learning rate"] == "0.1"
assert found.loc[0, "tags.team"] == "vision"
every = mlflow.search_runs(order_by=["metrics.rmse DESC"])
assert [round(v, 2) for v in every["metrics.rmse"]] == [0.5, 0.4, 0.25], every["metrics.rmse"]
run = mlflow.get_run(parent.info.run_id)
assert run.data.metrics["loss"] == 0.2 and run.data.params["depth"] == "3" and run.info.status == "FINISHED"
print(parent.info.run_id)
"""


def test_a_plain_mlflow_script_runs_unchanged(tmp_path: Path, ws: Any) -> None:
    (tmp_path / "script.py").write_text(MLFLOW_SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = ws.runs.get(done.stdout.strip())
    paths = [a.path for a in run.artifacts]
    assert paths == ["config.json", "config.yaml", "data.csv", "inputs/data.csv", "notes/hello.txt", "plots/line.png"]
    assert ws.runs.artifact(run.run_id, "plots/line.png").startswith(b"\x89PNG")
    assert [c.name for c in ws.runs.children(run.run_id)] == ["child-2", "child-4"]
    assert run.environment is not None
    assert b"pandas" in ws.store.blobs.get(run.environment)
    assert (run.source["type"], run.source["path"]) == ("script", str(tmp_path / "script.py"))


def test_history_keeps_logging_order_and_the_highest_step_counts(nb: Any) -> None:
    with nb.start_run() as run:
        for step, value in [(0, 1.0), (5, 2.0), (3, 9.0), (5, 4.0)]:
            nb.log_metric("m", value, step=step)
        nb.log_metric("no step", 1)
        nb.log_metric("no step", 2)
    history = nb.get_metric_history(run.run_id, "m")
    assert list(history.columns) == ["step", "timestamp", "value"]
    assert history["step"].tolist() == [0, 5, 3, 5]
    assert history["value"].tolist() == [1.0, 2.0, 9.0, 4.0]
    assert nb.get_run(run.run_id).metrics == {"m": 4.0, "no step": 2.0}
    assert history["timestamp"].is_monotonic_increasing


def test_nan_and_infinities_are_kept_and_do_not_spoil_the_others(nb: Any, ws: Any) -> None:
    with nb.start_run() as run:
        for step, value in enumerate([math.nan, 1.0, math.inf, -math.inf, 2.0, math.nan]):
            nb.log_metric("loss", value, step)
        nb.log_metric("up", math.inf)
    values = nb.get_metric_history(run.run_id, "loss")["value"].tolist()
    assert [str(v) for v in values] == ["nan", "1.0", "inf", "-inf", "2.0", "nan"]
    metrics = nb.get_run(run.run_id).metrics
    assert math.isnan(metrics["loss"])
    assert metrics["up"] == math.inf
    assert nb.get_run(run.run_id).to_dict()["metrics"] == {"loss": "nan", "up": "inf"}
    assert len(nb.search_runs(filter_string="metrics.up > 1")) == 1
    assert len(nb.search_runs(filter_string="metrics.loss < 1")) == 0


@pytest.mark.parametrize(
    "value", [3, np.float32(0.5), np.int64(7), np.array([2.5]), np.array(1.5), True, pd.Series([1.0]).mean()]
)
def test_numbers_of_many_kinds(nb: Any, value: Any) -> None:
    with nb.start_run() as run:
        nb.log_metric("m", value)
    assert nb.get_run(run.run_id).metrics["m"] == float(np.asarray(value).item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda nb: nb.log_metric("m", "high"), "metric 'm' must be a number, not str"),
        (lambda nb: nb.log_metric("m", None), "must be a number"),
        (lambda nb: nb.log_metric("m", np.array([1, 2])), "must be a number"),
        (lambda nb: nb.log_metric("m", 1.0, step="one"), "step must be a whole number"),
        (lambda nb: nb.log_metric("m", 1.0, step=1.5), "step must be a whole number"),
        (lambda nb: nb.log_metric("", 1.0), "cannot be the name"),
        (lambda nb: nb.log_metric("a\nb", 1.0), "cannot be the name"),
        (lambda nb: nb.log_metric(3, 1.0), "must be text"),
        (lambda nb: nb.log_param("p", "x" * 70_000), "70,000 characters"),
        (lambda nb: nb.log_params(["a"]), "dictionary"),
        (lambda nb: nb.log_text("x", "../../evil.txt"), "cannot be the path"),
        (lambda nb: nb.log_text("x", "/etc/passwd"), "cannot be the path"),
        (lambda nb: nb.log_figure("no figure"), "not a figure"),
        (lambda nb: nb.log_artifact("missing.txt"), "no file 'missing.txt'"),
    ],
)
def test_bad_input_is_refused_in_two_lines(nb: Any, call: Any, message: str) -> None:
    with nb.start_run(), pytest.raises((InvalidValue, NotFound)) as caught:
        call(nb)
    first, second = caught.value.lines()
    assert message in first
    assert second.startswith("  -> ")
    assert "\n" not in first + second


def test_nothing_of_a_wrong_batch_is_logged_and_all_faults_are_named(nb: Any) -> None:
    with nb.start_run() as run:
        with pytest.raises(InvalidValue) as caught:
            nb.log_metrics({"good": 1, "bad": "x", "worse": None})
        nb.log_metric("other", 1)
    assert len(caught.value.faults) == 2
    assert nb.get_run(run.run_id).metrics == {"other": 1.0}


def test_logging_a_parameter_again_is_no_error_and_keeps_the_old_value(nb: Any, ws: Any) -> None:
    with nb.start_run() as run:
        nb.log_param("depth", 7.0)
        nb.log_param("depth", 7)
        nb.log_param("depth", 7)
        nb.log_params({"layers": [1, 2], "none": None, "depth": 8})
    assert nb.get_run(run.run_id).params == {"depth": "8", "layers": "[1, 2]", "none": "None"}
    assert [h["value"] for h in ws.runs.param_history(run.run_id)] == ["7.0", "7"]


def test_a_block_that_raises_ends_its_run_failed(nb: Any) -> None:
    with pytest.raises(ZeroDivisionError), nb.start_run() as run:
        nb.log_param("a", 1)
        with nb.start_run(nested=True) as child:
            raise ZeroDivisionError("oh no")
    record = nb.get_run(run.run_id)
    assert (record.status, record.error["name"], record.error["message"]) == ("FAILED", "ZeroDivisionError", "oh no")
    assert "ZeroDivisionError: oh no" in record.error["traceback"]
    assert nb.get_run(child.run_id).status == "FAILED"
    assert nb.active_run() is None


def test_a_second_run_needs_nested_and_an_ended_one_cannot_be_logged_to(nb: Any) -> None:
    with nb.start_run("outer") as run, pytest.raises(UsageFault, match="'outer' is active already"):
        nb.start_run("other")
    with pytest.raises(UsageFault, match="has ended"):
        run._live.log_metric("m", 1.0)
    with nb.start_run(run_id=run.run_id):
        nb.log_metric("later", 1.0)
    assert nb.get_run(run.run_id).metrics == {"later": 1.0}


def test_logging_without_a_run_starts_one_that_makes_way(nb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    nb.log_metric("m", 1)
    implicit = nb.active_run()
    assert "no run was active" in capsys.readouterr().err
    with nb.start_run("real"):
        pass
    assert nb.get_run(implicit.run_id).status == "FINISHED"


def test_threads_share_the_run_and_may_have_their_own(nb: Any) -> None:
    def log(number: int) -> None:
        for step in range(200):
            nb.log_metric(f"t{number}", step, step)

    own: list[str] = []

    def separate(number: int) -> None:
        with nb.start_run(f"thread-{number}") as mine:
            nb.log_param("n", number)
            time.sleep(0.05)
            own.append(mine.run_id)

    with nb.start_run() as run:
        threads = [threading.Thread(target=f, args=(n,)) for n in range(4) for f in (log, separate)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    record = nb.get_run(run.run_id)
    assert record.metrics == {f"t{n}": 199.0 for n in range(4)}
    assert all(len(nb.get_metric_history(run.run_id, f"t{n}")) == 200 for n in range(4))
    assert sorted(nb.get_run(r).params["n"] for r in own) == ["0", "1", "2", "3"]
    assert all(nb.get_run(r).parent_id == run.run_id for r in own)


def test_a_forked_child_logs_to_the_same_run(nb: Any) -> None:
    with nb.start_run() as run:
        nb.log_metric("parent", 1, 0)
        child = os.fork()
        if child == 0:
            nb.log_metric("child", 2, 0)  # a new name here and there: the two journals number them alike
            nb.log_metric("parent", 3, 1)
            os._exit(0)
        os.waitpid(child, 0)
        nb.log_metric("after", 4, 0)
    record = nb.get_run(run.run_id)
    assert record.metrics == {"parent": 3.0, "child": 2.0, "after": 4.0}
    assert record.status == "FINISHED"


def test_others_see_a_point_within_a_second(nb: Any, ws: Any) -> None:
    with nb.start_run() as run:
        nb.log_metric("m", 42.0)
        deadline = time.monotonic() + 5
        other = type(ws.runs)(ws.store, ws.context)  # reads the tables only: `ws` has a store object of its own
        while other.get(run.run_id).metrics.get("m") != 42.0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


LOGGER = """
import sys, nbmlops
with nbmlops.start_run(sys.argv[1]):
    for i in range(10_000):
        nbmlops.log_metric("loss", i * 0.5, step=i)
"""


@pytest.mark.slow
def test_sixteen_processes_log_ten_thousand_points_each(tmp_path: Path, ws: Any) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", LOGGER, f"w{n}"], stderr=subprocess.PIPE) for n in range(16)]
    errors = [w.communicate()[1].decode() for w in workers]
    assert [w.returncode for w in workers] == [0] * 16, errors
    runs = ws.runs.search(filter="status = 'FINISHED'")
    assert len(runs) == 16
    total = 0
    for run in runs:
        history = ws.runs.metric_history(run.run_id, "loss")
        assert history["value"].tolist() == [i * 0.5 for i in range(10_000)]
        total += len(history)
    assert total == 160_000
    assert list(ws.store.journal_folder.iterdir()) == []


ENDLESS = """
import nbmlops, sys
nbmlops.start_run("victim")
nbmlops.log_param("p", "kept")
i = 0
while True:
    nbmlops.log_metric("n", i, step=i)
    if i % 1000 == 0:
        print(i, flush=True)
    i += 1
"""


def test_sigkill_loses_nothing_and_the_run_is_shown_killed(tmp_path: Path, ws: Any) -> None:
    victim = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    logged = 0
    for line in victim.stdout:
        logged = int(line)
        if logged >= 20_000:
            break
    victim.send_signal(signal.SIGKILL)
    rest = victim.stdout.read().split()
    victim.wait()
    logged = int(rest[-1]) if rest else logged
    (run,) = ws.runs.search()
    assert run.status == "KILLED"
    assert run.params == {"p": "kept"}
    values = ws.runs.metric_history(run.run_id, "n")["value"]
    assert len(values) > logged
    assert values.tolist() == list(range(len(values)))
    assert list(ws.store.journal_folder.iterdir()) == []


def test_a_script_that_crashes_ends_its_run_failed_and_one_that_just_ends_finished(tmp_path: Path, ws: Any) -> None:
    for name, last in (("crash", "raise ValueError('boom')"), ("end", "pass")):
        code = f"import nbmlops\nnbmlops.start_run({name!r})\nnbmlops.log_metric('m', 1)\n{last}"
        subprocess.run([sys.executable, "-c", code], capture_output=True)
    runs = {r.name: r for r in ws.runs.search()}
    assert (runs["crash"].status, runs["crash"].error["message"]) == ("FAILED", "boom")
    assert runs["end"].status == "FINISHED"
    assert runs["end"].metrics == {"m": 1.0}


def test_a_run_whose_lease_is_over_is_killed_and_lives_again_when_renewed(nb: Any, ws: Any) -> None:
    import sqlalchemy as sa

    live = ws.runs.start(name="asleep")
    with ws.store.write() as db:
        db.execute(sa.text("UPDATE runs SET heartbeat_at = heartbeat_at - 1000, host = 'elsewhere'"))
    assert ws.runs.get(live.run_id).status == "KILLED"
    ws.runs.renew(live.run_id)
    assert ws.runs.get(live.run_id).status == "RUNNING"
    live.end()


def test_system_metrics_on_request(nb: Any) -> None:
    with nb.start_run(log_system_metrics=True) as run:
        time.sleep(0.7)
    metrics = nb.get_run(run.run_id).metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/process_memory_megabytes"] > 10


def test_git_commit_and_uncommitted_changes_are_recorded(nb: Any, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()

    git("init", "-q", "-b", "main")
    (tmp_path / "model.py").write_text("depth = 3\n")
    git("add", "model.py")
    git("commit", "-qm", "first")
    (tmp_path / "model.py").write_text("depth = 4\n")
    with nb.start_run() as run:
        pass
    record = nb.get_run(run.run_id)
    assert record.git["commit"] == git("rev-parse", "HEAD")
    assert record.git["branch"] == "main"
    assert record.git["dirty"] is True
    assert b"+depth = 4" in session.workspace().store.blobs.get(record.git["diff"])


def test_finding_a_run_by_part_of_its_id_or_its_name(nb: Any) -> None:
    with nb.start_run("alpha") as run:
        pass
    with nb.start_run("twin"), nb.start_run("twin", nested=True):
        pass
    for ref in (
        run.run_id,
        run.run_id[-6:],
        run.run_id[-6:].lower(),
        f"run:{run.run_id}",
        "alpha",
        f"runs:/{run.run_id}",
    ):
        assert nb.get_run(ref).run_id == run.run_id
    with pytest.raises(NotFound, match="more than one"):
        nb.get_run("twin")
    with pytest.raises(NotFound, match="no run 'zzz'"):
        nb.get_run("zzz")


def test_deleting_hides_a_run(nb: Any, cli: Any) -> None:
    with nb.start_run("old") as run, pytest.raises(UsageFault, match="still running"):
        session.workspace().runs.delete(run.run_id)
    cli("run", "delete", run.run_id)
    assert len(nb.search_runs()) == 0


def test_tables_grow_and_images_are_kept(nb: Any) -> None:
    with nb.start_run() as run:
        nb.log_table({"a": [1]}, "t.json")
        nb.log_table({"a": [2]}, "t.json")
        nb.log_table(pd.DataFrame({"a": [1.5]}), "t.parquet")
        nb.log_image(np.zeros((4, 5, 3)), "black.png")
    runs = session.workspace().runs
    assert b"[[1],[2]]" in runs.artifact(run.run_id, "t.json").replace(b" ", b"")
    assert runs.artifact(run.run_id, "black.png").startswith(b"\x89PNG")
