"""Profiles agree with pandas and never fail."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from frame_samples import COLUMNS
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.frames import arrow, profile


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("rows", [3, 0])
def test_every_column_has_a_json_profile(name, rows):
    packed = arrow.pack(pd.DataFrame({"x": COLUMNS[name]}).iloc[:rows])
    made = profile.profile_table(packed.table, packed.categorical())["x"]
    json.dumps(made, allow_nan=False)
    assert made["count"] + made["nulls"] == rows
    assert made["kind"] in {"numeric", "boolean", "categorical", "text", "datetime", "nested", "empty"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "numeric"),
        ([True, False], "boolean"),
        (["a", "b"], "categorical"),
        ([str(i) for i in range(60)], "text"),
        (pd.to_datetime(["2020"]), "datetime"),
        ([[1]], "nested"),
        ([None], "empty"),
        ([np.nan], "empty"),
        (pd.Categorical([1, 2]), "categorical"),
        (pd.to_timedelta([1], unit="s"), "numeric"),
    ],
)
def test_kind(values, kind):
    packed = arrow.pack(pd.DataFrame({"x": values}))
    assert profile.profile_table(packed.table, packed.categorical())["x"]["kind"] == kind


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_infinity=False) | st.integers(-5, 5).map(float), min_size=1, max_size=50))
def test_numeric_agrees_with_numpy(values):
    made = profile.profile_column(pa.array(values, pa.float64(), from_pandas=False))
    present = np.array([v for v in values if v == v])
    assert made["nulls"] == len(values) - len(present)
    if not len(present):
        assert made["kind"] == "empty"
        return
    assert made["distinct"] == len(np.unique(present))
    assert (made["min"], made["max"]) == (present.min(), present.max())
    assert sum(made["histogram"]["counts"]) == len(present)
    json.dumps(made, allow_nan=False)
    if np.abs(present).max() < 1e150:
        # A sum's order decides what is left of numbers that cancel: to the last bits of the largest, no further.
        rounding = np.finfo(float).eps * np.abs(present).max()
        assert made["mean"] == pytest.approx(math.fsum(present) / len(present), rel=1e-9, abs=rounding)
        for q, value in made["quantiles"].items():
            assert value == pytest.approx(np.quantile(present, float(q)), rel=1e-9, abs=1e-300)


def test_infinities_are_counted_apart():
    made = profile.profile_column(pa.array([1.0, float("inf"), float("-inf"), 3.0]))
    assert (made["min"], made["max"], made["mean"], made["infinite"], made["count"]) == (1.0, 3.0, 2.0, 2, 4)
    assert profile.profile_column(pa.array([float("inf")]))["infinite"] == 1


def test_histogram_agrees_with_numpy():
    values = np.random.default_rng(0).normal(size=10_000)
    made = profile.profile_column(pa.array(values))["histogram"]
    counts, edges = np.histogram(values, bins=20)
    assert np.allclose(made["edges"], edges)
    assert np.abs(np.array(made["counts"]) - counts).sum() <= 2


def test_top_values():
    made = profile.profile_column(pa.array(["a"] * 5 + ["b"] * 3 + [f"x{i}" for i in range(30)] + [None]))
    assert made["top"][:2] == [["a", 5], ["b", 3]]
    assert len(made["top"]) == 20
    assert sum(n for _, n in made["top"]) + made["other"] == made["count"] == 38


def test_times_are_seconds():
    made = profile.profile_column(pa.array([1_600_000_000_000, 1_600_000_001_000], pa.timestamp("ms", "UTC")))
    assert (made["min"], made["max"]) == (1.6e9, 1.6e9 + 1)
    assert profile.profile_column(pa.array([1], pa.date32()))["max"] == 86400
