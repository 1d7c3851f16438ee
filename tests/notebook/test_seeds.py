"""The seeds in cells, by their syntax alone."""

from __future__ import annotations

import pytest

from nbmlops.notebook.seeds import seeds


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np\nnp.random.seed(0)", [("np.random.seed", 0)]),
        ("rng = np.random.default_rng(7)", [("np.random.default_rng", 7)]),
        ("rng = np.random.default_rng()", []),
        ("rng = np.random.default_rng(None)", []),
        ("rng = default_rng(seed=3)", [("default_rng", 3)]),
        ("g = np.random.Generator(np.random.PCG64(5))", [("np.random.PCG64", 5)]),
        ("train_test_split(X, y, random_state=42)", [("train_test_split(random_state=)", 42)]),
        ("m = RandomForestClassifier(random_state=None)", []),
        ("m = A(random_state=np.random.RandomState(1))", [("np.random.RandomState", 1)]),
        ("torch.manual_seed(1); torch.cuda.manual_seed_all(2)",
         [("torch.manual_seed", 1), ("torch.cuda.manual_seed_all", 2)]),
        ("key = jax.random.key(0)", [("jax.random.key", 0)]),
        ("SEED = 9\nseed_everything(SEED)", [("seed_everything", 9)]),
        ("random.seed(time())", [("random.seed", "<time()>")]),
        ("df.sample(5, random_state=i + 1)", [("df.sample(random_state=)", "<i + 1>")]),
        ("%%time\nnp.random.seed(4)", [("np.random.seed", 4)]),
        ("x = [Forest(random_state=s).fit(X) for s in (1, 2)]", [("Forest(random_state=)", "<s>")]),
        ("d = dict(a=1)\nkey('x')\nf(*args)\nseed(*args)", []),
        ("this is no python(", []),
        ("", []),
    ],
)  # fmt: skip
def test_seeds_of_a_cell(source: str, expected: list) -> None:
    assert [(call, value) for _, call, value in seeds([source])] == expected


def test_constants_of_earlier_cells_count_until_they_change() -> None:
    cells = ["SEED = 1", "np.random.seed(SEED)", "SEED = clock()", "np.random.seed(SEED)"]
    assert [tuple(s) for s in seeds(cells)] == [(1, "np.random.seed", 1), (3, "np.random.seed", "<SEED>")]
