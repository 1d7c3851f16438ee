"""PyTorch modules. CI has no torch (200 MB): these tests are skipped there, by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbmlops.errors import CheckFailed, InvalidValue, Untrusted

torch = pytest.importorskip("torch", reason="torch is not installed: PyTorch modules are not tested here")


def test_a_module_is_kept_as_a_program_and_answers_the_same(ws):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    rows = np.random.default_rng(0).random((30, 3))
    with pytest.warns(UserWarning, match="trust=True"):
        version = ws.models.register(module, "net", training_data=rows)
    assert (version.flavor, [o["name"] for o in version.signature["outputs"]]) == ("torch", ["prediction"])
    with pytest.raises(Untrusted):
        ws.models.load(version.ref)
    model = ws.models.load(version.ref, trust=True)
    expected = module(torch.as_tensor(rows, dtype=torch.float32)).detach().numpy()[:, 0]
    for count in (1, 7, 30):
        np.testing.assert_allclose(model.predict(rows[:count]), expected[:count], rtol=1e-6)
    assert "torch==" in ws.store.blobs.get(ws.models.manifest(version)["files"]["requirements.txt"]).decode()


def test_images_and_several_outputs(ws):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 2))
    images = np.random.default_rng(0).random((30, 4, 5))
    with pytest.warns(UserWarning, match="trust=True"):
        version = ws.models.register(module, "images", training_data=images)
    assert version.signature["shape"] == [-1, 4, 5]
    assert [o["name"] for o in version.signature["outputs"]] == ["prediction_0", "prediction_1"]
    assert ws.models.load(version.ref, trust=True).predict(images).shape == (30, 2)


def test_what_cannot_be_exported_or_read_says_why(ws):
    class Choosy(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(InvalidValue, match="torch cannot export this Choosy"):
        ws.models.register(Choosy(), "m", training_data=pd.DataFrame({"a": np.arange(9.0)}))
    from nbmlops import flavors

    with pytest.raises(CheckFailed, match="cannot be rebuilt"):
        flavors.load("torch", {"model.pt2": b"no program"}, trust=True)
