"""Capsules that are whole and lie: about runs of ours, about data, or by shapes that would stop later listings."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops import audit, clock, display
from nbmlops.capsules import Limits
from nbmlops.errors import UsageFault
from nbmlops.store import schema
from nbmlops.store.merging.checking import wrong
from nbmlops.workspace import Workspace
from tests.capsules.conftest import FRAME, worked, workspace
from tests.capsules.test_hostile import Forged, refused

Row = dict[str, Any]


class Lying(Forged):
    """A capsule whose rows and blobs are changed, with every hash and count put right."""

    def rows(self, table: str) -> list[Row]:
        return [json.loads(line) for line in self.files.get(f"rows/{table}.jsonl", b"").splitlines()]

    def set(self, table: str, rows: list[Row]) -> Lying:
        self.put(f"rows/{table}.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        self.index["inside"][table] = len(rows)
        return self

    def add(self, table: str, row: Row) -> Lying:
        return self.set(table, [*self.rows(table), row])

    def swap(self, name: str, data: bytes) -> str:
        """Another content for a file that is a blob, and all rows and manifests that name it; its digest."""
        old = next(d for d, n in self.index["blobs"].items() if n == name)
        new = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.files[name] = data
        self.index["blobs"][new] = self.index["blobs"].pop(old)
        for other in self.files:
            if other.startswith("rows/"):
                self.files[other] = self.files[other].replace(old.encode(), new.encode())
        self.listed()
        return new

    def run(self) -> Row:
        return next(row for row in self.rows("runs") if row["id"] == self.index["run"])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    """A store that has a run of its own, which nothing may speak for."""
    ws = workspace(tmp_path_factory.mktemp("strangers") / "store")
    live = ws.runs.start("prices", "ours")
    live.log_metric("auc", 0.5)
    live.end()
    yield ws, live.run_id
    ws.store.close()


def certificate(run_id: str) -> Row:
    report = {"how": "stage", "compared": {"metric": 3}}
    return {"id": clock.new_id(), "run_id": run_id, "status": "reproduced", "report": report, "user": "x", "at": 1.0}


def _certified(forged: Lying, run_id: str) -> None:
    forged.set("certificates", [certificate(run_id)])


def _certified_with_its_row(forged: Lying, run_id: str) -> None:
    """The run itself comes along, as somebody may have it who was once sent its capsule."""
    forged.add("runs", {**forged.run(), "id": run_id, "seq": 99, "parent_id": forged.index["run"]})
    forged.set("certificates", [certificate(run_id)])


def _another_run(forged: Lying, run_id: str) -> None:
    forged.add("runs", {**forged.run(), "id": clock.new_id(), "seq": 99})


def _nested_in_ours(forged: Lying, run_id: str) -> None:
    runs = forged.rows("runs")
    for row in runs:
        if row["id"] == forged.index["run"]:
            row["parent_id"] = run_id
    forged.set("runs", runs)


def _running(forged: Lying, run_id: str) -> None:
    runs = forged.rows("runs")
    runs[0].update(status="RUNNING", ended_at=None)
    forged.set("runs", runs)


def _model_of_ours(forged: Lying, run_id: str) -> None:
    forged.set("model_versions", [{**row, "run_id": run_id} for row in forged.rows("model_versions")])


def _data_of_ours(forged: Lying, run_id: str) -> None:
    forged.set("dataset_versions", [{**row, "run_id": run_id} for row in forged.rows("dataset_versions")])


def _use_by_another(forged: Lying, run_id: str) -> None:
    forged.set("dataset_uses", [{**row, "run_id": run_id} for row in forged.rows("dataset_uses")])


def _loose_cell(forged: Lying, run_id: str) -> None:
    cell = {
        "id": "c", "session_id": "somewhere", "number": 1, "cell_id": None, "count": 1, "source": "1", "status": "ok",
        "error": None, "outputs": [], "names": {}, "started_at": 1.0, "seconds": 0.1,
    }  # fmt: skip
    forged.set("cell_executions", [cell])


SPEAKING: dict[str, tuple[Callable[[Lying, str], None], str]] = {
    "certifies ours": (_certified, "certificates of run:.* which is not in it"),
    "certifies ours, which it has": (_certified_with_its_row, "certificates .* says it is of run:"),
    "brings another run": (_another_run, "is not run:.* nor nested in it"),
    "nests in ours": (_nested_in_ours, "runs .* says it is of run:.* which is here without it"),
    "has not ended": (_running, "has not ended"),
    "a model of ours": (_model_of_ours, "model_versions .* says it is of run:"),
    "data of ours": (_data_of_ours, "dataset_versions .* says it is of run:"),
    "a use by another": (_use_by_another, "dataset_uses of run:"),
    "a cell of no session": (_loose_cell, "of a session that is not in it"),
}


@pytest.mark.parametrize("name", SPEAKING)
def test_it_does_not_speak_for_others(
    ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    (ws, run_id), (deed, said) = ours, SPEAKING[name]
    forged = Lying(sent[0] / "bare.zip")
    deed(forged, run_id)
    error = refused(ws, forged.write(tmp_path / "x.zip"))
    assert re.search(said, error.message), error.message
    assert ws.runs.certificate(run_id) is None


def test_a_run_that_died_here_is_not_overwritten(sent: tuple[Path, str], place: Any, tmp_path: Path) -> None:
    ws = place("here")
    ws.capsules.import_(sent[0] / "bare.zip")
    with ws.store.write() as db:
        db.execute(schema.runs.update().where(schema.runs.c.id == sent[1]).values(status="KILLED"))
    forged = Lying(sent[0] / "bare.zip")
    later = {"name": "better", "heartbeat_at": 4e9, "ended_at": 4e9}
    forged.set("runs", [{**row, **later} if row["id"] == sent[1] else row for row in forged.rows("runs")])
    assert "is here, and not as it is in the capsule" in refused(ws, forged.write(tmp_path / "x.zip")).message
    assert ws.runs.get(sent[1]).name == "fit"


def test_a_run_that_a_capsule_brought_may_be_certified_by_a_later_one(
    sent: tuple[Path, str], place: Any, tmp_path: Path
) -> None:
    ws = place("here")
    ws.capsules.import_(sent[0] / "bare.zip")
    forged = Lying(sent[0] / "bare.zip").set("certificates", [certificate(sent[1])])
    assert ws.capsules.import_(forged.write(tmp_path / "x.zip")).merged.added == {"certificates": 1}
    assert ws.runs.certificate(sent[1]).status == "reproduced"
    assert audit.verify(ws.store)


def test_an_import_of_a_run_of_ours_does_not_make_it_theirs(place: Any, tmp_path: Path) -> None:
    ws = place("here")
    run_id = worked(ws)
    ws.capsules.export(run_id, tmp_path / "own.zip")
    tag = {**Lying(tmp_path / "own.zip").rows("dataset_tags")[0], "key": "seen", "value": "yes"}
    first = Lying(tmp_path / "own.zip").add("dataset_tags", tag).write(tmp_path / "first.zip")
    assert ws.capsules.import_(first).done == "imported"
    second = Lying(tmp_path / "own.zip").set("certificates", [certificate(run_id)]).write(tmp_path / "second.zip")
    assert "which is here without it" in refused(ws, second).message


# -- shapes --------------------------------------------------------------------------------------------------------
_KEYS = st.sampled_from(
    ["type", "path", "commit", "dirty", "name", "message", "traceback", "verdict", "findings", "what", "level", "kind",
     "cells", "names", "mend", "inputs", "outputs", "nullable", "of", "output_type", "loaded"]
)  # fmt: skip
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "nan", "<odd>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)
_SHOWN = [
    ("runs", "source"), ("runs", "git"), ("runs", "error"), ("runs", "verdict"), ("experiments", "tags"),
    ("dataset_versions", "schema"), ("dataset_versions", "source"), ("model_versions", "signature"),
    ("model_versions", "metrics"), ("model_versions", "datasets"),
]  # fmt: skip


@pytest.fixture(scope="module")
def theirs(sent: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    ws = workspace(tmp_path_factory.mktemp("shapes") / "store")
    ws.capsules.import_(sent[0] / "bare.zip")
    yield ws
    ws.store.close()


@pytest.mark.parametrize(("table", "column"), _SHOWN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_JSON)
def test_a_shape_that_passes_can_be_shown(
    theirs: Workspace, sent: tuple[Path, str], table: str, column: str, value: Any
) -> None:
    """What the check of rows lets through never stops whoever lists or shows them; what is refused is named."""
    known = schema.metadata.tables[table]
    with theirs.store.read() as db:
        row = dict(db.execute(known.select().limit(1)).mappings().one())
    if said := wrong(table, {**row, column: value}):
        assert f"{table}.{column}" in said[0]
        return
    key = next(iter(known.primary_key))
    where = known.c[key.name] == row[key.name]
    with theirs.store.write() as db:
        db.execute(known.update().where(where).values({column: value}))
    try:
        shown = [theirs.runs.get(sent[1]), theirs.datasets.get("sales"), theirs.models.get("price")]
        shown += [*theirs.runs.search(), *theirs.runs.experiments(), theirs.lineage.why(f"run:{sent[1]}")]
        for record in shown:
            assert "<odd>" not in display.html(record)
            display.text(record)
    finally:
        with theirs.store.write() as db:
            db.execute(known.update().where(where).values({column: row[column]}))


@pytest.mark.parametrize("at", [-1.0, 253_370_764_800.0, 1e300])
def test_times_that_no_calendar_has(
    ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path, at: float
) -> None:
    forged = Lying(sent[0] / "bare.zip").row("runs", started_at=at)
    assert "runs.started_at" in refused(ours[0], forged.write(tmp_path / "x.zip")).message


MANIFEST, PROFILE, PACKAGE = (
    "datasets/sales@1/manifest.json",
    "datasets/sales@1/profile.json",
    "models/price@1/package.json",
)


@pytest.mark.parametrize("file", ["bare.zip", "full.zip"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (MANIFEST, []), (MANIFEST, {}), (MANIFEST, "x"), (MANIFEST, {"format": "chunks-1"}),
        (MANIFEST, {"format": "chunks-1", "frame": {}, "rows": [10**12]}), (MANIFEST, {"format": "files-2"}),
        (PROFILE, []), (PROFILE, {}), (PROFILE, {"rows": 1, "columns": 5}), (PROFILE, {"rows": 1, "columns": {"x": 5}}),
        (PACKAGE, []), (PACKAGE, {}), (PACKAGE, {"files": {"model.skops": 5}}),
    ],
)  # fmt: skip
def test_manifests_that_nobody_writes(
    ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path, file: str, name: str, value: Any
) -> None:
    forged = Lying(sent[0] / file)
    forged.swap(name, json.dumps(value).encode())
    message = refused(ours[0], forged.write(tmp_path / "x.zip")).message
    assert "cannot be understood" in message or "cannot be read" in message, message


def test_what_is_here_is_not_taken_for_the_data_of_a_version_that_lies(
    sent: tuple[Path, str], place: Any, tmp_path: Path
) -> None:
    """Without data, but all that its manifest names is here: it would count as complete, under any digest."""
    ws = place("here")
    ws.datasets.snapshot(FRAME, "sales")
    forged = Lying(sent[0] / "bare.zip")
    rows = forged.rows("dataset_versions")
    rows[0].update(id=clock.new_id(), digest="blake3:" + "0" * 64)
    error = refused(ws, forged.set("dataset_versions", rows).write(tmp_path / "x.zip"))
    assert "its content has the digest" in error.message


def test_a_version_that_lies_is_not_completed_by_a_later_capsule(
    sent: tuple[Path, str], place: Any, tmp_path: Path
) -> None:
    """The first cannot be looked at, for its data are not there; the second is honest, and brings them."""
    ws = place("here")
    first = Lying(sent[0] / "bare.zip")
    rows = [
        {**row, "id": clock.new_id(), "digest": f"blake3:{n:064}"}
        for n, row in enumerate(first.rows("dataset_versions"))
    ]
    ws.capsules.import_(first.set("dataset_versions", rows).write(tmp_path / "x.zip"))
    assert "its content has the digest" in refused(ws, sent[0] / "full.zip").message


# -- bombs ---------------------------------------------------------------------------------------------------------
def test_what_swells_twice(ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path) -> None:
    squeeze = zstandard.ZstdCompressor().compressobj()
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(64)) + squeeze.flush()
    forged = Lying(sent[0] / "bare.zip").put("artifacts/bomb", bomb)
    error = refused(ours[0], forged.write(tmp_path / "x.zip"), limits=Limits(inner=16 << 20))
    assert "'artifacts/bomb': what is compressed in it swells" in error.message


@pytest.mark.parametrize("name", ["events.json", "rows/params.jsonl", MANIFEST])
def test_values_are_counted_before_they_are_made(
    ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    forged = Lying(sent[0] / "bare.zip")
    text = b'{"a":[' + b"{}," * 50_000 + b"{}]}"
    forged.swap(name, text) if name == MANIFEST else forged.put(name, text)
    error = refused(ours[0], forged.write(tmp_path / "x.zip"), limits=Limits(values=60_000))
    assert "more than 60,000 values" in error.message


def test_a_table_with_more_rows_than_its_manifest_says_is_not_read(
    ours: tuple[Workspace, str], sent: tuple[Path, str], tmp_path: Path
) -> None:
    forged = Lying(sent[0] / "full.zip")
    manifest = json.loads(forged.files[MANIFEST])
    name = forged.index["blobs"][manifest["files"][0]]
    kind = pa.parquet.read_schema(io.BytesIO(forged.files[name]))
    table = pa.table({f.name: pa.nulls(1 << 22, f.type) for f in kind}, schema=kind)
    pa.parquet.write_table(table, buffer := io.BytesIO(), compression="zstd")
    forged.swap(
        MANIFEST,
        json.dumps({**manifest, "files": [forged.swap(name, buffer.getvalue()), *manifest["files"][1:]]}).encode(),
    )
    assert "are not those of this version" in refused(ours[0], forged.write(tmp_path / "x.zip")).message


def test_a_capsule_that_could_not_be_opened_is_not_left(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = place("here")
    run_id = worked(ws)
    monkeypatch.setattr(Limits.__init__, "__defaults__", (20_000, 50 << 30, 200 << 20, 100, 200, 256 << 20))
    with pytest.raises(UsageFault, match="more than 100 values"):
        ws.capsules.export(run_id, tmp_path / "x.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]
