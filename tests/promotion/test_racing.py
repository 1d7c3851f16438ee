"""Two processes decide about the same versions at once: whatever they do, only what was approved reaches production."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from nbmlops import audit
from nbmlops.context import Context, hostname
from nbmlops.errors import NbmlopsError
from nbmlops.store import Store, ledger, open_store, schema
from nbmlops.workspace import Workspace

pytestmark = pytest.mark.slow
VERSIONS, BAD = (1, 2, 3, 4), 3  # the rule of staging refuses the third
USERS = ("ada", "bob", "cleo")
PROJECT = """
[environments.staging]
service = false
rules = ["metrics.auc >= 0.5"]
[environments.production]
approvers = 2
four_eyes = true
"""
verbs = st.one_of(
    st.tuples(st.just("promote"), st.sampled_from(VERSIONS), st.sampled_from(["staging", "production"])),
    st.tuples(st.just("approve"), st.sampled_from(VERSIONS), st.just("production")),
    st.tuples(st.just("reject"), st.sampled_from(VERSIONS), st.just("production")),
    st.tuples(st.just("rollback"), st.just(0), st.sampled_from(["staging", "production"])),
    st.tuples(st.just("delete"), st.sampled_from(VERSIONS), st.just("")),
)
# What leads somewhere more often than chance would: a version on its way, with the approvals that it needs.
ways = st.sampled_from(VERSIONS).map(
    lambda n: [
        ("promote", n, "staging"), ("promote", n, "production"), ("approve", n, "production"),
        ("approve", n, "production"),
    ]
)  # fmt: skip
acts = st.lists(st.one_of(ways, verbs.map(lambda verb: [verb])), min_size=1, max_size=5).map(
    lambda parts: [verb for part in parts for verb in part]
)


def decide(pipe: Connection) -> None:
    """Do what comes through the pipe; refusals are no faults, anything else is."""
    while (asked := pipe.recv()) is not None:
        folder, todo = asked
        os.chdir(Path(folder).parent)
        told: list[str] = []
        store = open_store(folder)
        for place, (verb, number, environment) in enumerate(todo):
            user = USERS[place % 3]
            ws = Workspace(store, lambda user=user: Context(user=user, host=hostname()))
            try:
                act(ws, verb, number, environment)
                told.append("done")
            except NbmlopsError as error:
                told.append(type(error).__name__)
        store.close()
        pipe.send(told)


def act(ws: Workspace, verb: str, number: int, environment: str) -> None:
    desk, ref = ws.promotion, f"model:m@{number}"
    if verb == "rollback":
        desk.rollback("m", environment, "because")
    elif verb == "delete":
        desk.delete(ref, "because")
    else:
        getattr(desk, verb)(ref, environment, "because")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rules and a store with four versions."""
    folder = tmp_path_factory.mktemp("racing")
    (folder / "nbmlops.toml").write_text(PROJECT)
    store = open_store(folder / ".nbmlops")
    context = Context(user="author", host=hostname())
    ws = Workspace(store, lambda: context)
    frame = pd.DataFrame({"a": np.arange(30.0), "b": np.arange(30.0) % 3})
    for number in VERSIONS:
        live = ws.runs.start("x")
        live.log_metric("auc", 0.1 if number == BAD else 0.9)
        live.end()
        context = Context(user="author", host=hostname(), run_id=live.run_id)
        ws.models.register(DummyClassifier().fit(frame, frame.b > 1), "m", training_data=frame)
    store.close()
    return folder


@pytest.fixture(scope="module")
def racers(project: Path) -> Iterator[list[Connection]]:
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(2):
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=decide, args=(theirs,), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    yield pipes
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join(20)


@settings(max_examples=10, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=st.tuples(acts, acts))
def test_only_what_was_approved_reaches_production(
    plans: tuple[list[Any], list[Any]], project: Path, racers: list[Connection], tmp_path: Path
) -> None:
    folder = tmp_path / "race"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder)
    for pipe, plan in zip(racers, plans, strict=True):
        pipe.send((str(folder / ".nbmlops"), plan))
    for pipe in racers:
        assert pipe.poll(120), "a racer is stuck"
        pipe.recv()
    store = open_store(folder / ".nbmlops")
    try:
        check(store)
    finally:
        store.close()


def check(store: Store) -> None:
    """Follow the ledger from its beginning, and hold every move against what it tells before."""
    audit.verify(store)
    stands: dict[str, int | None] = {"staging": None, "production": None}
    open_: dict[str, dict[str, Any]] = {}
    deleted: set[int] = set()
    had: dict[str, list[int]] = {"staging": [], "production": []}
    for event in reversed(ledger.read(store)):
        if event.type == "policy.set":
            continue
        number = int(event.subject.rpartition("@")[2])
        to, data = event.data.get("environment"), event.data
        assert number not in deleted or event.type == "model.promotion-blocked", f"{event.type} of a deleted version"
        if event.type == "model.promotion-requested":
            assert stands["staging"] == number
            open_[data["approval"]] = {"number": number, "by": {event.user}, "given": set()}
        elif event.type == "model.approval-given":
            waiting = open_[data["approval"]]
            assert event.user not in {*waiting["by"], "author"}
            waiting["given"].add(event.user)
        elif event.type == "model.rejected":
            del open_[data["approval"]]
        elif event.type == "model.promoted":
            assert (to, number == BAD) == ("staging", False)
            stands["staging"] = number
            had["staging"].append(number)
        elif event.type == "model.approved":
            waiting = open_.pop(data["approval"])
            given = waiting["given"] | {event.user}
            assert (to, waiting["number"], stands["staging"]) == ("production", number, number)
            assert len(given) == 2
            assert not given & {*waiting["by"], "author"}
            stands["production"] = number
            had["production"].append(number)
        elif event.type == "model.rolled-back":
            assert number in had[to][:-1]
            while had[to][-1] != number:
                had[to].pop()
            stands[to] = number
        elif event.type == "model.deleted":
            assert number not in stands.values()
            open_ = {key: waiting for key, waiting in open_.items() if waiting["number"] != number}
            deleted.add(number)
    with store.read() as db:
        now = {row.alias: row.version for row in db.execute(schema.model_aliases.select())}
        waiting = {row.id for row in db.execute(schema.approvals.select()) if row.status == "open"}
    assert now == {name: number for name, number in stands.items() if number is not None}
    assert waiting == set(open_)
