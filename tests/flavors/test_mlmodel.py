"""Exported directories: MLflow and onnxruntime give the same answers without a registry; and hostile ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_elsewhere import MODELS  # type: ignore[import-not-found]

from nbmlops.errors import NotFound, StoreFault, Untrusted, UsageFault
from nbmlops.flavors import mlmodel, onnx, packaging

pytest.importorskip("skl2onnx")
N = 120
CHANCE = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": CHANCE.integers(18, 90, N),
        "income": CHANCE.normal(40, 10, N),
        "city": pd.Categorical(CHANCE.choice(["Bonn", "Köln"], N)),
    }
)
PAID = np.where(FRAME.income > 40, "yes", "no")
REFUSED = {"histograms", "envelope", "a turned target"}  # with skl2onnx 1.20 and scikit-learn 1.9


@pytest.fixture
def version(ws):
    steps = make_column_transformer((StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["city"]))
    return ws.models.register(make_pipeline(steps, LogisticRegression()).fit(FRAME, PAID), "m", training_data=FRAME)


@pytest.fixture
def folder(ws, version, tmp_path) -> Path:
    ws.exports.export(version.ref, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted(MODELS))
def test_as_onnx_it_is_proved_equal_or_refused_with_a_reason(what):
    model, data, target = MODELS[what]
    model.fit(data, target) if target is not None else model.fit(data)
    package = packaging.build(model, data)
    parity, content = onnx.convert(model, package.signature, package.inputs, package.outputs)
    assert (parity.status, what in REFUSED) in {("proved", False), ("refused", True)}, parity.reason
    assert len(parity.reason) > 10
    if content is not None:
        found = onnx.predict(content, package.signature, package.inputs)
        labels = [c for c in found if c.startswith("prediction")]
        assert list(found) == list(package.outputs)
        if found[labels[0]].dtype.kind != "f":
            assert (found[labels].astype(str).to_numpy() == package.outputs[labels].astype(str).to_numpy()).all()


LOAD = """
import sys, json, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas as pd
for folder in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(folder)
    model.predict(pd.read_pickle(folder + ".rows")).to_pickle(folder + ".found")
"""


@pytest.mark.slow
def test_mlflow_gives_the_same_answers(ws, version, tmp_path):
    array = FRAME[["age", "income"]].to_numpy(dtype=float)
    nullable = FRAME[["age", "income"]].astype({"age": "Int64", "income": "float32"})
    nullable["age"] = nullable.age.where(FRAME.index % 5 > 0)
    forest = RandomForestRegressor(4, random_state=0).fit(array, FRAME.income)
    words, note, said = MODELS["text"]
    boosting = MODELS["histograms"][0].fit(nullable.astype(float), FRAME.income)
    cases = {
        version.ref: FRAME,
        ws.models.register(forest, "array", training_data=array).ref: array,
        ws.models.register(words.fit(note, said), "text", training_data=note).ref: note.to_frame("note"),
        ws.models.register(boosting, "n", training_data=nullable).ref: nullable,
    }
    folders = []
    for number, (ref, rows) in enumerate(cases.items()):
        folders.append(tmp_path / f"m{number}")
        ws.exports.export(ref, folders[-1])
        given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=["x0", "x1"])
        given = given.assign(
            **{c: given[c].astype(object) for c in given if isinstance(given[c].dtype, pd.CategoricalDtype)}
        )
        # MLflow has no whole number that may be missing: its clients send a float.
        given = given.astype({c: "float64" for c in given if str(given[c].dtype) == "Int64"})
        given.to_pickle(f"{folders[-1]}.rows")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for folder, (ref, rows) in zip(folders, cases.items(), strict=True):
        found = pd.read_pickle(f"{folder}.found")  # written by our own process just now
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), ws.models.predict_frame(ref, rows).reset_index(drop=True)
        )


def test_onnxruntime_alone_gives_the_same_answers(ws, version, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    label, chances = session.run(
        None,
        {
            "age": FRAME[["age"]].to_numpy(),
            "income": FRAME[["income"]].to_numpy(
                dtype="float64" if "double" in session.get_inputs()[1].type else "float32"
            ),
            "city": FRAME[["city"]].astype(str).to_numpy(dtype=object),
        },
    )
    expected = ws.models.predict_frame(version.ref, FRAME)
    assert (label == expected.prediction).all()
    np.testing.assert_allclose(chances, expected[["probability_no", "probability_yes"]], atol=1e-5)


def test_the_directory_says_what_it_is(folder, version):
    import yaml

    told = yaml.safe_load((folder / "MLmodel").read_text())
    assert told["flavors"]["python_function"]["loader_module"] == "nbmlops.flavors.pyfunc"
    assert told["flavors"]["onnx"]["data"] == "model.onnx"
    assert json.loads(told["signature"]["inputs"])[2] == {"type": "string", "name": "city", "required": True}
    assert told["metadata"]["nbmlops"]["ref"] == version.ref
    assert "scikit-learn==" in (folder / "requirements.txt").read_text()
    assert mlmodel.check(folder)["ref"] == version.ref


def test_onnx_alone_and_what_cannot_be(ws, version, tmp_path, cli):
    told = cli("model", "export", version.ref, str(tmp_path / "o"), "--format", "onnx", "--json").json()
    assert (
        sorted(p.name for p in (tmp_path / "o").iterdir()) == ["model.onnx", "signature.json"] == sorted(told["files"])
    )
    numbers = FRAME[["age", "income"]]
    ws.models.register(EllipticEnvelope().fit(numbers), "e", training_data=numbers)
    with pytest.raises(UsageFault, match="is not exported as ONNX: MissingShapeCalculator"):
        ws.exports.export("e", tmp_path / "p", "onnx")
    assert not (tmp_path / "p").exists()
    assert ws.exports.export("e", tmp_path / "p").onnx == "refused"
    assert "e@1 as it was exported" in cli("model", "verify", str(tmp_path / "p")).out


def test_nothing_is_written_over_and_nothing_is_left_half(ws, version, folder, tmp_path, monkeypatch):
    with pytest.raises(UsageFault, match="holds something already"):
        ws.exports.export(version.ref, folder)
    with pytest.raises(UsageFault, match="there is no folder"):
        ws.exports.export(version.ref, tmp_path / "a" / "b")

    def full(path, _made):
        (path / "MLmodel").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlmodel, "write", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreFault, match="No space left"):
        ws.exports.export(version.ref, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    path.write_text(path.read_text().replace(old, new))


def reindex(folder: Path, change) -> None:
    path = folder / "nbmlops" / "index.json"
    index = json.loads(path.read_text())
    change(index["files"])
    path.write_text(json.dumps(index))


HOSTILE = {
    "an edited MLmodel": (lambda f: edit(f, "MLmodel", "nbmlops.flavors.pyfunc", "os"), "MLmodel was changed"),
    "another model": (lambda f: (f / "nbmlops/model.skops").write_bytes(b"PK"), "nbmlops/model.skops was changed"),
    "a file beside": (lambda f: (f / "nbmlops/model.pkl").write_bytes(b"x"), "nbmlops/model.pkl was added"),
    "a lost file": (lambda f: (f / "requirements.txt").unlink(), "requirements.txt was removed"),
    "a name that leads out": (lambda f: reindex(f, lambda i: i.update({"../x": "0"})), "'../x' leads out"),
    "an absolute name": (lambda f: reindex(f, lambda i: i.update({"/etc/passwd": "0"})), "'/etc/passwd' leads out"),
    "a link": (lambda f: relink(f / "nbmlops/model.skops"), "nbmlops/model.skops is a link"),
    "no index": (lambda f: (f / "nbmlops/index.json").write_text("[]"), "cannot be read"),
}  # fmt: skip


def relink(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_directory_that_was_changed_is_named_and_nothing_is_built(folder, what, monkeypatch):
    change, told = HOSTILE[what]
    change(folder)
    monkeypatch.setattr("nbmlops.flavors.load", lambda *_given: pytest.fail("it was built"))
    from nbmlops.flavors import pyfunc

    with pytest.raises(Untrusted, match=told):
        pyfunc._load_pyfunc(str(folder / "nbmlops"))


def test_a_directory_of_somebody_else_is_none(tmp_path):
    with pytest.raises(NotFound, match="is no model that nbmlops has exported"):
        mlmodel.check(tmp_path)


def test_onnx_files_from_elsewhere_are_looked_at_first(folder, tmp_path):
    import onnx as library

    good = (folder / "model.onnx").read_bytes()
    model = library.load_model_from_string(good)
    model.opset_import.append(library.helper.make_opsetid("evil.ops", 1))
    with pytest.raises(Untrusted, match=r"operators from elsewhere: evil\.ops"):
        onnx.check(model.SerializeToString())
    model = library.load_model_from_string(good)
    tensor = model.graph.initializer[0]
    tensor.data_location = library.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(Untrusted, match="lie in other files"):
        onnx.check(model.SerializeToString())
    with pytest.raises(Untrusted, match="cannot be read"):
        onnx.check(b"\x08no model")
    shutil.rmtree(folder)
