"""Flavors besides skops: pickles only where they are asked for and trusted in that call, plug-ins, hostile packages."""

from __future__ import annotations

import importlib.metadata
import io
import json
import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from nbmlops import flavors
from nbmlops.errors import BlobCorrupt, Blocked, CheckFailed, InvalidValue, NbmlopsError, NotFound, Untrusted
from nbmlops.flavors import sklearn as skops_flavor
from nbmlops.store import schema

FRAME = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) % 3})


class Rule:
    """Anything that predicts."""

    def __init__(self, least: float) -> None:
        self.least = least

    def predict(self, frame):
        return np.where(frame.a > self.least, "high", "low")


class Evil:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.write_text, (self.canary, "owned")


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("flavor", ["joblib", "cloudpickle"])
def test_a_pickle_is_kept_if_asked_for_and_opened_if_trusted_in_that_call(ws, flavor):
    with pytest.raises(InvalidValue, match="cannot be stored as a model"):
        ws.models.register(Rule(9), "m", training_data=FRAME)
    with pytest.warns(UserWarning, match=r"load_model\(ref, trust=True\), and no environment takes it"):
        version = ws.models.register(Rule(9), "m", training_data=FRAME, flavor=flavor)
    assert version.flavor == flavor
    assert [o["name"] for o in version.signature["outputs"]] == ["prediction"]
    for trusted in ((), ("builtins.object",), (f"{Rule.__module__}.Rule",)):
        with pytest.raises(Untrusted, match="one that can do anything when it is loaded"):
            ws.models.load(version.ref, trusted=trusted)
    model = ws.models.load(version.ref, trust=True)
    assert list(model.predict(FRAME)[8:12]) == ["low", "low", "high", "high"]
    with pytest.raises(Untrusted):  # not even after it was loaded
        ws.models.predict_frame(version.ref, FRAME)
    with pytest.raises(Blocked) as caught:
        ws.promotion.promote(version.ref, "staging", "please")
    assert any("can do anything" in f.seen for f in caught.value.findings if f.level == "block")


@pytest.mark.parametrize("trust", [1, "yes", ("joblib",)])
def test_only_true_is_trust(trust):
    with pytest.raises(Untrusted):
        flavors.load("joblib", {"model.joblib": b""}, trust=trust)


@pytest.mark.parametrize("flavor", ["joblib", "cloudpickle"])
def test_looking_at_a_pickle_never_runs_it(ws, canary, flavor):
    with pytest.warns(UserWarning, match="no environment takes it"):
        version = ws.models.register(Rule(9), "m", training_data=FRAME, flavor=flavor)
    replace(ws, version, {f"model.{flavor}": pickle.dumps(Evil(canary))})
    ws.models.verify(version.ref)
    ws.models.get(version.ref)
    ws.lineage.why(version.ref)
    ws.evidence.gather(version.ref)
    assert flavors.types_in(flavor, {f"model.{flavor}": pickle.dumps(Evil(canary))}) == ([], [f"{flavor}: anything"])
    with pytest.raises(Untrusted):
        ws.deployments.predict(version.ref, FRAME)
    assert not canary.exists()
    ws.models.load(version.ref, trust=True)  # whoever says so gets what it does
    assert canary.exists()


def test_what_cannot_be_pickled_or_rebuilt_says_why(ws):
    with pytest.raises(InvalidValue, match="joblib cannot store this Locked"):
        ws.models.register(Locked(), "m", training_data=FRAME, flavor="joblib")
    with pytest.raises(CheckFailed, match="cannot be rebuilt"):
        flavors.load("cloudpickle", {"model.cloudpickle": b"\x80\x04."}, trust=True)
    with pytest.raises(InvalidValue, match=r"the flavor joblib does not keep a builtins\.dict"):
        ws.models.register({}, "m", training_data=FRAME, flavor="joblib")
    with pytest.raises(NotFound, match="no model flavor 'pickle'"):
        ws.models.register(Rule(9), "m", training_data=FRAME, flavor="pickle")


class Locked(Rule):
    def __init__(self) -> None:
        super().__init__(1.0)
        self.file = open(__file__)  # noqa: SIM115  (that it is open is the point)

    def predict(self, frame):
        return np.zeros(len(frame))


# --- hostile packages ---------------------------------------------------------------------------------------------
def replace(ws, version, files: dict[str, bytes], **more: object) -> None:
    """Write another package for a version, as somebody with access to the store could."""
    manifest = ws.models.manifest(version)
    manifest["files"] |= {name: ws.store.blobs.put(content) for name, content in files.items()}
    digest = ws.store.blobs.put(json.dumps({**manifest, **more}).encode())
    with ws.store.write() as db:
        db.execute(
            schema.model_versions.update().values(package=digest, **{k: v for k, v in more.items() if k == "flavor"})
        )


@pytest.fixture
def fitted(ws):
    return ws.models.register(LogisticRegression().fit(FRAME, FRAME.b > 1), "m", training_data=FRAME)


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def packed(model: object) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(skops_flavor.save(model)["model.skops"])) as file:
        return {name: file.read(name) for name in file.namelist()}


def hostile(canary: Path) -> dict[str, bytes]:
    """Files that are called model.skops and are something else, or more."""
    good = packed(LogisticRegression().fit(FRAME, FRAME.b > 1))
    schema_ = json.loads(good["schema.json"])
    array = next(name for name in good if name.endswith(".npy"))
    evil = io.BytesIO()
    joblib.dump(Evil(canary), evil)
    objects = io.BytesIO()
    np.save(objects, np.array([Evil(canary)], dtype=object), allow_pickle=True)
    return {
        "a joblib file": evil.getvalue(),
        "a pickle beside": archive({**good, "model.pkl": pickle.dumps(Evil(canary))}),
        "a pickle as an array": archive({**good, array: objects.getvalue()}),
        "a name that leads out": archive({**good, f"../../{canary.name}": b"owned"}),
        "an absolute name": archive({**good, str(canary): b"owned"}),
        "a trust list": archive({**good, "trusted.json": b'["builtins.eval", "posix.system"]'}),
        "a bomb": archive({**good, array: bytes(80 << 20)}, zipfile.ZIP_DEFLATED),
        "a function as a class": archive({**good, "schema.json": json.dumps(renamed(schema_)).encode()}),
    }


def renamed(schema_: dict) -> dict:
    return {**schema_, "__class__": "system", "__module__": "posix"}


@pytest.mark.parametrize("what", sorted(hostile(Path("x"))))
def test_a_hostile_package_runs_no_code_and_is_named(ws, fitted, canary, what):
    replace(ws, fitted, {"model.skops": hostile(canary)[what]})
    with pytest.raises((Untrusted, CheckFailed)) as caught:
        ws.models.load(fitted.ref)
    assert "model file" in caught.value.message
    findings = ws.models.verify(fitted.ref)
    assert [f.check for f in findings if f.level == "block"] == ["loads"]
    with pytest.raises(Blocked):
        ws.promotion.promote(fitted.ref, "staging", "please")
    assert not canary.exists()


def test_a_package_that_says_it_is_a_pickle_is_one(ws, fitted, canary):
    replace(ws, fitted, {"model.joblib": pickle.dumps(Evil(canary))}, flavor="joblib")
    with pytest.raises(Untrusted):
        ws.models.load(fitted.ref)
    assert not canary.exists()


def test_a_swapped_blob_and_names_that_lead_out_are_named(ws, fitted, canary):
    digest = ws.models.manifest(fitted)["files"]["model.skops"]
    path = next(p for p in Path(ws.store.blobs.root).rglob("*") if p.is_file() and digest.endswith(p.name))
    path.chmod(0o644)
    path.write_bytes(pickle.dumps(Evil(canary)))
    with pytest.raises(BlobCorrupt):
        ws.models.load(fitted.ref)
    assert [f.check for f in ws.models.verify(fitted.ref) if not f.ok] == ["model.skops"]
    manifest = {**ws.models.manifest(fitted), "files": {"model.skops": f"sha256:../../{canary}"}}
    with ws.store.write() as db:
        db.execute(schema.model_versions.update().values(package=ws.store.blobs.put(json.dumps(manifest).encode())))
    with pytest.raises(NbmlopsError):
        ws.models.load(fitted.ref)
    assert not canary.exists()


# --- plug-ins -----------------------------------------------------------------------------------------------------
class Boxed:
    """A flavor of another package."""

    @staticmethod
    def supports(model: object) -> bool:
        return isinstance(model, Rule)

    @staticmethod
    def save(model: Rule, example=None) -> dict[str, bytes]:
        return {"model.box": str(model.least).encode()}

    @staticmethod
    def load(files, trusted=()):
        return Rule(float(files["model.box"]))

    @staticmethod
    def types_in(files):
        return ["all.of.it"], []  # it says that it is trusted, which is not for it to say


@pytest.fixture
def plugins(monkeypatch):
    """Entry points as installed packages have them."""
    point = importlib.metadata.EntryPoint
    given = [
        point("box", f"{__name__}:Boxed", flavors.GROUP),
        point("broken", "no_such_module:x", flavors.GROUP),
        point("empty", f"{__name__}:Rule", flavors.GROUP),
        point("skops", f"{__name__}:Boxed", flavors.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: given if group == flavors.GROUP else [])
    flavors._others.cache_clear()
    yield
    flavors._others.cache_clear()


def test_a_flavor_of_another_package_keeps_its_models_and_counts_as_untrusted(ws, plugins, caplog):
    with pytest.warns(UserWarning, match="box: anything"):
        version = ws.models.register(Rule(9), "m", training_data=FRAME)
    assert version.flavor == "box"
    with pytest.raises(Untrusted, match="of another package's flavor"):
        ws.models.load(version.ref)
    assert ws.models.load(version.ref, trust=True).least == 9
    told = caplog.text
    for part in ("the flavor broken", "the flavor empty", "takes the name of a flavor of nbmlops, skops"):
        assert part in told


def test_a_plug_in_that_is_gone_is_said(ws, plugins, monkeypatch):
    with pytest.warns(UserWarning, match="no environment takes it"):
        version = ws.models.register(Rule(9), "m", training_data=FRAME)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    flavors._others.cache_clear()
    with pytest.raises(NotFound, match="no model flavor 'box'"):
        ws.models.load(version.ref, trust=True)
