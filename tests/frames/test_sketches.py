"""Sketches of parts merge into the profile of the whole, within the errors that they state."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from frame_samples import COLUMNS
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, hashing, sketches
from nbmlops.frames.profile import profile_column
from nbmlops.frames.sketches import counted, distinct, stored

RNG = np.random.default_rng(7)
N = 60_000
EXACT = ("type", "kind", "rows", "count", "nulls", "min", "max", "infinite", "lengths")
# name -> a column of N values
SAMPLES = {
    "normal": pa.array(RNG.normal(size=N), mask=RNG.random(N) < 0.1),
    "sorted": pa.array(np.arange(N)),
    "skewed": pa.array(np.exp(RNG.normal(size=N) * 3)),
    "few": pa.array(RNG.integers(0, 30, N, dtype=np.int16)),
    "zeros": pa.array(np.where(RNG.random(N) < 0.7, 0.0, RNG.normal(size=N))),
    "infinite": pa.array(np.where(RNG.random(N) < 0.01, np.inf, RNG.normal(size=N))),
    "big": pa.array(RNG.integers(-(2**63), 2**63 - 1, N)),
    "time": pa.array(np.sort(RNG.integers(0, 10**12, N)), pa.timestamp("us", "UTC")),
    "city": pa.array([f"city-{i}" for i in RNG.integers(0, 100, N)]),
    "user": pa.array([f"user_{i}" for i in RNG.integers(0, 10**9, N)]),
    "zipf": pa.array([f"w{i}" for i in RNG.zipf(1.5, N) % 100_000]),
    "flag": pa.array(RNG.random(N) < 0.3),
    "none": pa.nulls(N),
    "category": pa.array(RNG.integers(0, 20, N)).dictionary_encode(),
    "bytes": pa.array([int(i).to_bytes(4, "big") for i in RNG.integers(0, 1000, N)]),
}


def cut(column, cuts):
    places = sorted({0, len(column), *cuts})
    return [sketches.sketch_column(column.slice(a, b - a)) for a, b in itertools.pairwise(places)]


def rank_errors(column, profile):
    """Per quantile, how far its rank is off, as a share of the rows; 0 within a run of equal values."""
    values = np.sort(np.asarray(column.drop_null().cast(pa.int64() if "time" in profile["type"] else column.type)))
    values = values[np.isfinite(values)].astype(np.float64)
    unit = 1e6 if "time" in profile["type"] else 1
    for q, value in profile["quantiles"].items():
        rank = float(q) * (len(values) - 1)
        low, high = (np.searchsorted(values, value * unit * (1 + e), s) for e, s in ((-1e-9, "left"), (1e-9, "right")))
        yield max(0.0, min(low, high) - rank - 1, rank - max(low, high)) / len(values)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("cuts", [[], [1, 2, 30_000], list(range(0, N, 5000)), [59_999]], ids=len)
def test_however_rows_are_cut(name, cuts):
    column = SAMPLES[name]
    whole, merged = profile_column(column), sketches.to_profile(sketches.merge(cut(column, cuts)))
    json.dumps(merged, allow_nan=False)
    if not cuts:
        assert merged == whole
    assert {k: merged.get(k) for k in EXACT} == {k: whole.get(k) for k in EXACT}
    about = merged.get("approximate", {})
    assert merged["distinct"] == pytest.approx(whole["distinct"], rel=4 * about.get("distinct", 0) + 1e-12)
    if "mean" in whole:
        assert merged["mean"] == pytest.approx(whole["mean"], rel=1e-9, abs=1e-9 * whole["std"])
        assert merged["std"] == pytest.approx(whole["std"], rel=1e-9)
        assert max(rank_errors(column, merged)) <= about.get("rank", 0) < 0.02
        assert sum(merged["histogram"]["counts"]) == sum(whole["histogram"]["counts"])
        off = np.abs(np.cumsum(merged["histogram"]["counts"]) - np.cumsum(whole["histogram"]["counts"])).max()
        assert off <= about.get("rank", 0) * N
        if "rank" not in about and "distinct" not in about:
            assert merged["histogram"] == whole["histogram"]
    if "top" in whole:
        assert sum(n for _, n in merged["top"]) + merged["other"] == whole["count"]
        truth = Counter(v.hex() if isinstance(v, bytes) else v for v in column.to_pylist())
        for value, count in merged["top"]:
            assert truth[value] - about.get("top", 0) <= count <= truth[value]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_order_of_merging_matters_little(name):
    parts = cut(SAMPLES[name], range(0, N, 7000))
    flat = sketches.to_profile(sketches.merge(parts))
    assert sketches.to_profile(sketches.merge(parts[::-1])) == flat
    nested = parts[0]
    for part in parts[1:]:
        nested = sketches.merge([nested, part])
    made = sketches.to_profile(nested)
    assert {k: made.get(k) for k in EXACT} == {k: flat.get(k) for k in EXACT}
    assert made.get("mean") == pytest.approx(flat.get("mean"), abs=1e-9 * flat.get("std", 0)) or "mean" not in flat
    if "quantiles" in made:
        assert max(rank_errors(SAMPLES[name], made)) <= made.get("approximate", {}).get("rank", 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64) | st.none(), max_size=60),
    st.sets(st.integers(0, 60), max_size=4),
)
def test_few_numbers_are_exact_after_a_merge(values, cuts):
    column = pa.array(values, pa.float64(), from_pandas=False)
    whole, parts = profile_column(column), cut(column, [c for c in cuts if c < len(values)])
    merged = sketches.to_profile(sketches.merge(parts or [sketches.sketch_column(column)]))
    json.dumps(merged, allow_nan=False)
    assert "approximate" not in merged
    approximate = {"mean", "std"}
    assert {k: v for k, v in merged.items() if k not in approximate} == {
        k: v for k, v in whole.items() if k not in approximate
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=4) | st.none(), max_size=60), st.integers(0, 60))
def test_few_texts_are_exact_after_a_merge(values, place):
    column = pa.array(values, pa.string())
    parts = [sketches.sketch_column(c) for c in (column.slice(0, place), column.slice(place))]
    assert sketches.to_profile(sketches.merge(parts)) == profile_column(column)


def test_long_texts_that_begin_alike_stay_apart():
    texts = ["x" * 300 + str(i) for i in range(3)]
    made = sketches.to_profile(sketches.merge([sketches.sketch_column(pa.array(texts)) for _ in range(2)]))
    assert made["distinct"] == 3
    assert {v for v, _ in made["top"]} == {"x" * 199 + "…"}
    assert [n for _, n in made["top"]] == [2, 2, 2]


def test_coverage_of_time():
    days = pa.array(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-05", None]))
    more = pa.array(pd.to_datetime(["2024-01-12T00:00", "2024-01-13T12:00"]))
    told = sketches.to_profile(sketches.merge([sketches.sketch_column(c) for c in (days, more)]))["coverage"]
    day = 86400
    assert told == {
        "first": "2024-01-01T00:00:00",
        "last": "2024-01-13T12:00:00",
        "span": 12.5 * day,
        "largest_gap": 7 * day,
    }
    overlapping = sketches.merge([sketches.sketch_column(c) for c in (days, days)])
    assert sketches.to_profile(overlapping)["coverage"]["largest_gap"] is None
    assert profile_column(pa.array([-(10**15)], pa.timestamp("s")))["coverage"]["first"] == "-1e+15 s"


def test_balance_of_classes():
    even = profile_column(pa.array(["a", "b"] * 5))["balance"]
    assert even == {"entropy": pytest.approx(1.0), "largest": 0.5, "smallest": 0.5}
    assert profile_column(pa.array([True] * 9 + [False]))["balance"]["entropy"] == pytest.approx(0.469, abs=1e-3)
    assert profile_column(pa.array(["a"]))["balance"] == {"entropy": 0.0, "largest": 1.0, "smallest": 1.0}


def test_lengths_are_characters():
    made = profile_column(pa.array(["", "ü", "abc", None]))["lengths"]
    assert made == {"min": 0, "max": 3, "mean": 4 / 3, "empty": 1}
    many = profile_column(pa.array([f"ü{i}" for i in range(10_000)]))["lengths"]
    assert (many["min"], many["max"]) == (2, 5)


# --- counting distinct values -------------------------------------------------------------------------------------
@pytest.mark.parametrize("amount", [0, 1, 10, 1000, 5000, 100_000, 1_000_000])
def test_distinct_values_are_estimated_within_four_standard_errors(amount):
    made = distinct.estimate(distinct.registers(hashing.number_hashes(np.arange(amount))[0]))
    assert made == pytest.approx(amount, rel=4 * distinct.ERROR)


def test_registers_of_parts_are_those_of_the_whole():
    hashes = hashing.number_hashes(RNG.normal(size=10_000))[0]
    parts = distinct.union([distinct.registers(hashes[:1]), distinct.registers(hashes[1:])])
    assert (parts == distinct.registers(hashes)).all()


# --- hashing ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pa.array(["x", "y", None]), pa.array(["x", "y", None]).dictionary_encode()),
        (pa.array(["x", "y"], pa.large_string()), pa.array(["x", "y"], pa.string_view())),
        (
            pa.array([[1], [], None, [2, None]]),
            pa.array([[9], [1], [], None, [2, None]], pa.large_list(pa.int64()))[1:],
        ),
        (pa.array([1.0, float("nan")]), pa.array([1.0, -float("nan")])),
        (pa.array([True, False] * 9)[3:], pa.array([False, True] * 9)[:15]),
        (pa.array([[1], None, [2, 3]]), pa.array([[1], None, [2, 3]], pa.list_view(pa.int64()))),
        (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), pa.array([[1, 2], None])),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), pa.array([[{"key": "a", "value": 1}]])),
        (pa.array([{"a": 1}, None]), pa.array([{"a": 7}, {"a": 1}, None])[1:]),
    ],
)
def test_equal_values_have_equal_hashes(a, b):
    assert np.array_equal(hashing.column_hashes(a, 2), hashing.column_hashes(b, 2))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0.0], [-0.0]),
        (["", "a"], [None, "a"]),
        (["a\0"], ["a"]),
        (["x" * 600], ["x" * 601]),
        ([[1, 2]], [[2, 1]]),
        ([[]], [None]),
        ([{"a": 1, "b": 2}], [{"a": 2, "b": 1}]),
        ([b"12345678", b"9"], [b"123456789", b""]),
    ],
)
def test_different_values_have_different_hashes(a, b):
    a, b = pa.array(a), pa.array(b)
    if a.type != b.type:
        b = b.cast(a.type)
    for one, other in zip(hashing.column_hashes(a, 2), hashing.column_hashes(b, 2), strict=True):
        assert one[0] != other[0]


def test_unions_are_hashed():
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    made = hashing.column_hashes(union)[0]
    assert made[0] != made[1]


def test_hashes_never_change():
    made = hashing.row_hashes(pa.table({"i": [1, None], "s": ["abc", "ü" * 9], "f": [0.5, 1.0]}))
    assert [f"{v:016x}" for v in made.reshape(-1)] == [
        "88e7d6e2e6e3db12",
        "811648b61e81a2c6",
        "b43a87abef70bd81",
        "922a03cd0c4a108c",
    ]


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_is_hashed_and_sketched(name):
    packed = arrow.pack(pd.DataFrame({"x": COLUMNS[name]}))
    column = packed.table.column(0)
    again = pa.chunked_array([*column.slice(0, 1).chunks, *column.slice(1).chunks], column.type)
    assert np.array_equal(hashing.row_hashes(packed.table), hashing.row_hashes(pa.table({"x": again})))
    sketch = sketches.sketch_column(column, "x" in packed.categorical())
    loaded = stored.load(stored.dump({"x": sketch}))["x"]
    assert sketches.to_profile(loaded) == sketches.to_profile(sketch)


# --- as bytes -----------------------------------------------------------------------------------------------------
def kept():
    made = {n: sketches.sketch_column(c) for n, c in SAMPLES.items()}
    return made | {"merged": sketches.merge(cut(SAMPLES["normal"], range(0, N, 4000)))}


def test_bytes_give_the_same_sketches():
    made = kept()
    data = stored.dump(made)
    again = stored.load(data)
    assert stored.dump(again) == data == stored.dump(dict(reversed(made.items())))
    assert {n: sketches.to_profile(s) for n, s in again.items()} == {n: sketches.to_profile(s) for n, s in made.items()}
    assert len(data) / len(made) < 2500
    assert stored.load(stored.dump({})) == {}


def test_hostile_bytes_are_refused():
    data = stored.dump(kept())
    zstd = b"\x28\xb5\x2f\xfd"
    for bad in (b"", b"PK", stored.MAGIC, stored.MAGIC + zstd + b"\xff" * 40, data[:-10], data[:200]):
        with pytest.raises(InvalidValue, match="not sketches"):
            stored.load(bad)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_gives_sketches_or_an_error(data):
    import zstandard

    small = {"a": sketches.sketch_column(pa.array([1.0, 2.0, None])), "b": sketches.sketch_column(pa.array(["x", "y"]))}
    packed = stored.dump(small)
    body = bytearray(zstandard.ZstdDecompressor().decompress(packed[len(stored.MAGIC) :]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        made = stored.load(stored.MAGIC + zstandard.ZstdCompressor().compress(bytes(body)))
    except InvalidValue:
        return
    for sketch in made.values():
        json.dumps(sketches.to_profile(sketch), allow_nan=False)


def test_what_cannot_be_merged():
    number, text = sketches.sketch_column(pa.array([1])), sketches.sketch_column(pa.array(["a"]))
    with pytest.raises(InvalidValue, match="measured"):
        sketches.merge([number, text])
    with pytest.raises(InvalidValue, match="no sketches"):
        sketches.merge([])
    assert sketches.merge([number, sketches.sketch_column(pa.nulls(3))]).nulls == 3
    assert counted.TOP == 20
