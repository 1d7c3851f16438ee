"""Splits: partitions that come out the same everywhere."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import splits

PARTS = st.lists(st.integers(1, 20), min_size=1, max_size=4).map(
    lambda given: {f"part{i}": n / max(20, sum(given)) for i, n in enumerate(given)}
)

PINNED = {"train": [2, 3, 4, 5, 9, 11], "test": [0, 1, 8]}


def check_partition(found, total):
    seen = np.concatenate([*found.rows.values(), np.zeros(0, np.int64)])
    assert len(set(seen.tolist())) == len(seen) <= total
    for rows in found.rows.values():
        assert (np.diff(rows) > 0).all()
        assert not len(rows) or 0 <= rows[0] <= rows[-1] < total
    assert all(found.sizes.values())


@settings(max_examples=60, deadline=None)
@given(PARTS, st.integers(0, 400), st.integers(-(2**70), 2**70))
def test_random_parts_are_exact_and_disjoint(parts, total, seed):
    try:
        found = splits.assign(total, parts, seed=seed)
    except InvalidValue as error:
        assert "would have no rows" in error.message  # noqa: PT017
        return
    check_partition(found, total)
    for name, share in parts.items():
        assert abs(found.sizes[name] - share * total) < 1
    if sum(map(Fraction, map(str, parts.values()))) >= Fraction(999_999_999, 10**9):
        assert sum(found.sizes.values()) == total


def test_a_known_split_stays():
    found = splits.assign(12, {"train": 0.5, "test": 0.25}, seed=7)
    assert {n: r.tolist() for n, r in found.rows.items()} == PINNED
    again = splits.assign(12, {"train": 0.5, "test": 0.25}, seed=8)
    assert again.rows["train"].tolist() != found.rows["train"].tolist()


def test_random_looks_random():
    half = splits.assign(100_000, {"a": 0.5, "b": 0.5}, seed=1).rows["a"]
    other = splits.assign(100_000, {"a": 0.5, "b": 0.5}, seed=2).rows["a"]
    assert abs(half.mean() - 50_000) < 400
    assert abs(len(np.intersect1d(half, other)) - 25_000) < 500
    assert abs((half % 2).sum() - 25_000) < 500


def test_shares_that_floats_cannot_sum():
    assert sum(splits.assign(10, {"a": 0.1, "b": 0.2, "c": 0.7}).sizes.values()) == 10
    assert splits.assign(9, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}).sizes == {"a": 3, "b": 3, "c": 3}
    assert splits.assign(1000, {"train": 700, "test": 100}).sizes == {"train": 700, "test": 100}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=120), PARTS, st.integers(0, 5))
def test_stratified_keeps_the_shares_of_classes(labels, parts, seed):
    table = pa.table({"label": pa.array(labels, pa.string())})
    try:
        found = splits.assign(table, parts, by="stratified", column="label", seed=seed, rare="spread")
    except InvalidValue as error:
        assert "would have no rows" in error.message  # noqa: PT017
        return
    check_partition(found, len(labels))
    for kind in {"a", "b", "c", None}:
        count = labels.count(kind)
        for name, share in parts.items():
            got = sum(labels[i] == kind for i in found.rows[name])
            assert abs(got - share * count) < 1 + 1e-9, "each class is rounded down or up"


def test_rare_classes_are_refused_or_reported():
    table = pa.table({"label": ["a"] * 90 + ["b"] * 8 + ["c", None]})
    parts = {"train": 0.8, "test": 0.2}
    with pytest.raises(InvalidValue, match=r"2 classes of 'label' have fewer rows than the 2 parts: .*rare='spread'"):
        splits.assign(table, parts, by="stratified", column="label")
    found = splits.assign(table, parts, by="stratified", column="label", rare="spread")
    assert set(found.rare) == {"'c'", "None"}
    assert found.sizes == {"train": 80, "test": 20}
    many = pa.table({"label": [str(i) for i in range(1000)]})
    assert splits.assign(many, parts, by="stratified", column="label", rare="spread").sizes == {
        "train": 800,
        "test": 200,
    }


def test_time_never_parts_equal_times():
    day = [dt.datetime(2013, 1, 1) + dt.timedelta(days=i // 10) for i in range(100)]
    order = np.random.default_rng(0).permutation(100)
    table = pa.table({"day": pa.array([day[i] for i in order])})
    found = splits.assign(table, {"monitor": 0.14, "train": 0.66, "test": 0.2}, by="time", column="day")
    assert found.sizes == {"monitor": 10, "train": 70, "test": 20}
    assert found.boundaries["train"] == ("2013-01-01 00:00:00", "2013-01-07 00:00:00")
    assert found.boundaries["test"] == ("2013-01-08 00:00:00", "2013-01-09 00:00:00")
    assert found.boundaries["monitor"] == ("2013-01-10 00:00:00", "2013-01-10 00:00:00")
    assert {day[order[i]].day for i in found.rows["test"]} == {8, 9}
    own = splits.assign(table, {"late": 0.5, "early": 0.3}, by="time", column="day")
    assert own.boundaries["late"][0].startswith("2013-01-01"), "names of one's own count in the order given"
    assert own.sizes == {"late": 50, "early": 30}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), PARTS)
def test_time_parts_follow_each_other(times, parts):
    table = pa.table({"t": times})
    try:
        found = splits.assign(table, parts, by="time", column="t")
    except InvalidValue as error:
        assert "would have no rows" in error.message  # noqa: PT017
        return
    check_partition(found, len(times))
    spans = [[times[i] for i in rows] for rows in found.rows.values()]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "values",
    [
        [1.5, 2.5, 3.5, 4.5],
        ["2013-01", "2013-02", "2013-03", "2013-04"],
        pa.array([1, 2, 3, 4], pa.date32()),
        pa.array(["a", "b", "c", "d"]).dictionary_encode(),
        [True, True, False, False],
    ],
    ids=["float", "text", "date", "dictionary", "bool"],
)
def test_time_is_anything_with_an_order(values):
    found = splits.assign(pa.table({"t": values}), {"train": 0.5, "test": 0.5}, by="time", column="t")
    assert found.sizes == {"train": 2, "test": 2}


def test_missing_times_are_refused():
    table = pa.table({"t": pa.array([1.0, None, float("nan"), 4.0], from_pandas=False)})
    with pytest.raises(InvalidValue, match="2 rows have no 't'"):
        splits.assign(table, {"train": 0.5, "test": 0.5}, by="time", column="t")
    with pytest.raises(InvalidValue, match="has no order"):
        splits.assign(pa.table({"t": [[1], [2]]}), {"train": 0.5, "test": 0.5}, by="time", column="t")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.integers(0, 25), min_size=1, max_size=150), st.integers(0, 9))
def test_groups_stay_together(groups, seed):
    table = pa.table({"g": pa.array(groups, pa.int64())})
    parts = {"train": 0.7, "test": 0.3}
    try:
        found = splits.assign(table, parts, by="group", column="g", seed=seed)
    except InvalidValue as error:
        assert "would have no rows" in error.message  # noqa: PT017
        return
    check_partition(found, len(groups))
    assert sum(found.sizes.values()) == len(groups)
    assert not {groups[i] for i in found.rows["train"]} & {groups[i] for i in found.rows["test"]}
    largest = max(groups.count(g) for g in set(groups))
    assert abs(found.sizes["test"] - 0.3 * len(groups)) <= largest + 1
    mirrored = splits.assign(
        pa.table({"g": pa.array(groups[::-1], pa.int64())}), parts, by="group", column="g", seed=seed
    )
    assert {groups[::-1][i] for i in mirrored.rows["test"]} == {groups[i] for i in found.rows["test"]}


def test_groups_of_one_size_are_drawn_exactly():
    table = pa.table({"g": np.repeat(np.arange(100), 10)})
    found = splits.assign(table, {"train": 0.8, "test": 0.1}, by="group", column="g", seed=3)
    assert found.sizes == {"train": 800, "test": 100}
    drawn = found.rows["test"][::10] // 10
    assert drawn.max() > 50, "not only the first groups"


def test_equal_rows_can_be_kept_together():
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.integers(0, 40, 1000), "b": rng.integers(0, 40, 1000)})
    parts = {"train": 0.8, "test": 0.2}
    apart = splits.assign(table, parts, seed=1)
    rows, equal = splits.disjoint(apart.rows, table)
    assert (rows.level, equal.level) == ("pass", "warn")
    assert "rows have an equal one in another part" in equal.seen
    kept = splits.assign(table, parts, seed=1, together=table.column_names)
    assert kept.sizes == {"train": 800, "test": 200}
    assert [f.level for f in splits.disjoint(kept.rows, iter([table.slice(0, 300), table.slice(300)]))] == ["pass"] * 2


def test_a_row_in_two_parts_blocks():
    table = pa.table({"a": [1, 2, 3]})
    found = splits.disjoint({"a": np.array([0, 1]), "b": np.array([1, 2])}, table)
    assert found[0].level == "block"


def test_all_faults_at_once():
    with pytest.raises(InvalidValue) as caught:
        splits.assign(100, {"train": 0.9, "test": 0.3, "none": -1.0}, by="strange", seed=1.5, rare="never")  # type: ignore[arg-type]
    assert len(caught.value.faults) == 4
    for parts, fault in (
        ({"train": 0.9, "test": 0.3}, "sum to 1.2, which is more than 1"),
        ({"train": 0.9, "test": 10}, "mixed"),
        ({}, "there are no parts"),
        ({"a": float("nan")}, "above zero"),
        ({"a": True}, "above zero"),
        ({"a": 90, "b": 11}, "101 rows are asked for, and there are 100"),
        ({"a": 0.999, "b": 0.001}, "part 'b' would have no rows: 0.001 of 100"),
    ):
        with pytest.raises(InvalidValue, match=fault):
            splits.assign(100, parts)
    with pytest.raises(InvalidValue, match="by time needs a column"):
        splits.assign(100, {"a": 0.5}, by="time")
    with pytest.raises(InvalidValue, match="takes no column"):
        splits.assign(100, {"a": 0.5}, column="x")
    with pytest.raises(NotFound, match="no column 'x'"):
        splits.assign(pa.table({"y": [1]}), {"a": 1.0}, by="group", column="x")
    with pytest.raises(InvalidValue, match="would have no rows"):
        splits.assign(pa.table({"y": [1] * 10}), {"a": 0.5, "b": 0.5}, by="group", column="y")


def test_a_description_is_json_and_says_it_all():
    table = pa.table({"t": list(range(10))})
    found = splits.assign(table, {"train": 0.8, "test": 0.2}, by="time", column="t")
    said = json.loads(json.dumps(found.describe("test", "dataset:flights@3", "blake3:ab")))
    assert said["part"] == "test"
    assert said["sizes"] == {"train": 8, "test": 2}
    assert said["boundaries"] == {"train": ["0", "7"], "test": ["8", "9"]}
    again = splits.assign(table, said["parts"], by=said["by"], column=said["column"], seed=said["seed"])
    assert (again.rows["test"] == found.rows["test"]).all()


def test_parts_as_text():
    assert splits.parse_parts("train=0.8, test=0.2") == {"train": 0.8, "test": 0.2}
    assert splits.parse_parts("train=800,test=200") == {"train": 800, "test": 200}
    with pytest.raises(InvalidValue, match="3 faults"):
        splits.parse_parts("train=0.8,test,=1,train=0.1")


def test_needed_columns():
    assert splits.needed("random", None) == []
    assert splits.needed("group", "g") == ["g"]
    assert splits.needed("random", None, ["a", "b", "a"]) == ["a", "b"]
