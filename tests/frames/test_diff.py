"""What changed between two stored tables, held against plain Python; chunks that both hold are not read."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue
from nbmlops.frames import diff, sketches
from nbmlops.frames.diff import sets
from nbmlops.frames.digest import column_digest

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 2),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([0.0, -0.0, None, float("nan")]),
    ),
    max_size=12,
)
CUTS = st.sets(st.integers(1, 11), max_size=4)


@dataclass(frozen=True)
class Chunk:
    rows: int
    digests: dict


@dataclass
class Chunked:
    """A table cut at some rows, which remembers what was read."""

    table: pa.Table
    cuts: tuple = ()
    known: bool = True
    reads: list = field(default_factory=list)

    def __post_init__(self):
        places = sorted({0, self.table.num_rows, *(c for c in self.cuts if c < self.table.num_rows)})
        self.parts = [self.table.slice(a, b - a) for a, b in itertools.pairwise(places)]
        self.chunks = [
            Chunk(p.num_rows, {n: column_digest(p[n]) for n in p.column_names} if self.known else {})
            for p in self.parts
        ]

    @property
    def schema(self):
        return self.table.schema

    def read(self, chunk, fields=None):
        self.reads.append((chunk, tuple(fields)))
        return self.parts[chunk].select(fields)


@pytest.fixture(params=["memory", "disk"], autouse=True)
def rows_on_disk(request, monkeypatch):
    if request.param == "disk":
        monkeypatch.setattr(sets, "IN_MEMORY", 100)


def table(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    types = pa.int64(), pa.string(), pa.float64()
    return pa.table([pa.array(c, t, from_pandas=False) for c, t in zip(columns, types, strict=True)], names="isf")


def shown(row):
    return tuple(map(repr, row))


@settings(max_examples=150, deadline=None)
@given(ROWS, ROWS, CUTS, CUTS, st.booleans())
def test_rows_are_a_multiset(before, after, cuts, other_cuts, known):
    made = diff.changes(Chunked(table(before), tuple(cuts), known), Chunked(table(after), tuple(other_cuts)))
    a, b = (Counter(map(shown, rows)) for rows in (before, after))
    assert (made.rows_added, made.rows_removed) == ((b - a).total(), (a - b).total())
    if list(map(shown, before)) == list(map(shown, after)):
        assert made.cells_changed == {}


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 15), st.tuples(st.integers(0, 1), st.none() | st.text("ab", max_size=1)), max_size=12
    ),
    st.dictionaries(
        st.integers(0, 15), st.tuples(st.integers(0, 1), st.none() | st.text("ab", max_size=1)), max_size=12
    ),
    CUTS,
    CUTS,
)
def test_rows_by_key(before, after, cuts, other_cuts):
    sides = []
    for rows, places in ((before, cuts), (after, other_cuts)):
        made = pa.table(
            {
                "k": pa.array(list(rows), pa.int64()),
                "n": pa.array([v[0] for v in rows.values()], pa.int64()),
                "s": pa.array([v[1] for v in rows.values()], pa.string()),
            }
        )
        sides.append(Chunked(made, tuple(places)))
    made = diff.changes(*sides, key=["k"], examples=100)
    both = before.keys() & after.keys()
    assert made.rows_added == len(after.keys() - before.keys())
    assert made.rows_removed == len(before.keys() - after.keys())
    assert made.rows_changed == sum(before[k] != after[k] for k in both)
    cells = {n: sum(before[k][i] != after[k][i] for k in both) for i, n in enumerate("ns")}
    assert made.cells_changed == {n: c for n, c in cells.items() if c}
    kinds = {"changed": made.rows_changed, "added": made.rows_added, "removed": made.rows_removed}
    assert Counter(e["change"] for e in made.examples) == Counter(kinds)
    for example in made.examples:
        key = example["key"]["k"]
        for side, rows in (("before", before), ("after", after)):
            for name, value in example.get(side, {}).items():
                assert value == rows[key]["ns".index(name)]


def big(n=4000):
    rng = np.random.default_rng(3)
    return pa.table({"id": np.arange(n), "x": rng.normal(size=n), "s": pa.array([f"t{i % 7}" for i in range(n)])})


CUT = tuple(range(500, 4000, 500))


def replaced(data, name, rows, value):
    column = data[name].to_pylist()
    for row in rows:
        column[row] = value
    place = data.schema.get_field_index(name)
    return data.set_column(place, name, pa.array(column, data.schema.field(name).type))


@pytest.mark.parametrize("key", [None, ["id"]])
def test_only_what_differs_is_read(key):
    before, after = Chunked(big(), CUT), Chunked(replaced(big(), "x", [1203, 1204], -1.0), CUT)
    made = diff.changes(before, after, key=key)
    assert (made.rows_changed, made.cells_changed, made.columns) == (2, {"x": 2}, ("x",))
    assert (made.rows_added, made.rows_removed) == ((0, 0) if key else (2, 2))
    place = {"key": {"id": 1203}} if key else {"row": 1203}
    was = big()["x"][1203].as_py()
    assert made.examples[0] == {"change": "changed", **place, "before": {"x": was}, "after": {"x": -1.0}}
    for side in (before, after):
        assert {c for c, fields in side.reads if tuple(fields) != ("id",)} == {2}
    assert len(after.reads) <= 3
    nothing = diff.changes(Chunked(big(), CUT), after := Chunked(big(), CUT))
    assert (nothing, after.reads) == (diff.Changes(), [])


def test_rows_inserted_and_deleted():
    data = big()
    after = pa.concat_tables([data.slice(0, 1600), data.slice(7, 3), data.slice(1600)])
    cuts = (*(c for c in CUT if c <= 1500), *(c + 3 for c in CUT if c > 1600))
    made = diff.changes(Chunked(data, CUT), Chunked(after, cuts))
    assert (made.rows_added, made.rows_removed, made.rows_changed) == (3, 0, 0)
    assert made.columns == ("id", "x", "s")
    assert {e["change"] for e in made.examples} == {"added"}
    back = diff.changes(Chunked(after, cuts), Chunked(data, CUT))
    assert (back.rows_added, back.rows_removed) == (0, 3)
    with pytest.raises(InvalidValue, match=r"after: id=7 on 2 rows; id=8 on 2 rows; id=9 on 2 rows"):
        diff.changes(Chunked(data, CUT), Chunked(after, cuts), key=["id"])


def test_rows_that_moved():
    data = big()
    swapped = pa.concat_tables([data.slice(500, 500), data.slice(0, 500), data.slice(1000)])
    after = Chunked(swapped, CUT)
    made = diff.changes(Chunked(data, CUT), after)
    assert (made.rows_added, made.rows_removed, made.rows_changed, after.reads) == (0, 0, 0, [])
    assert made.columns == ("id", "x", "s")
    shuffled = data.take(np.random.default_rng(0).permutation(data.num_rows))
    made = diff.changes(Chunked(data, CUT), Chunked(shuffled, CUT))
    assert (made.rows_added, made.rows_removed, made.rows_changed, made.cells_changed) == (0, 0, 0, {})
    keyed = diff.changes(Chunked(data, CUT), Chunked(replaced(shuffled, "s", [5], "new"), CUT), key=["id"])
    assert (keyed.rows_changed, keyed.cells_changed) == (1, {"s": 1})


def test_other_cuts_of_the_same_rows_are_no_change():
    made = diff.changes(Chunked(big(), CUT), Chunked(big(), (333, 1000, 2222)))
    assert made == diff.Changes()
    assert diff.changes(Chunked(big(), CUT, known=False), Chunked(big(), known=False), key=["id"]).columns != ("x",)


def test_columns():
    data = big()
    after = Chunked(
        data.rename_columns(["id", "y", "s"]).append_column("new", data["id"]).select(["s", "id", "y", "new"]), CUT
    )
    made = diff.changes(Chunked(data, CUT), after)
    assert (made.columns_added, made.columns_removed, made.renamed, made.columns_moved) == (
        ("new",),
        (),
        {"x": "y"},
        True,
    )
    assert (made.rows_added, made.columns, after.reads) == (0, (), [])
    other = data.set_column(1, "x", data["x"].cast(pa.float32()))
    made = diff.changes(Chunked(data, CUT), Chunked(other, CUT))
    assert (made.types_changed, made.columns, made.rows_added) == ({"x": ("double", "float")}, ("x",), 0)
    made = diff.changes(Chunked(data.select(["x"]), CUT), Chunked(data.select(["s"]).slice(5), CUT))
    assert (made.columns_added, made.columns_removed, made.rows_added, made.rows_removed) == (("s",), ("x",), 0, 5)


def test_a_key_must_be_one():
    data = pa.table({"a": [1, 1, 2, None], "b": ["x", "x", "y", "z"], "c": [1, 2, 3, 4]})
    other = data.set_column(2, "c", pa.array(["1", "2", "3", "4"])).drop_columns(["b"])
    with pytest.raises(InvalidValue) as caught:
        diff.changes(Chunked(data), Chunked(other), key=["b", "c", "d"])
    assert len(caught.value.faults) == 3
    with pytest.raises(InvalidValue, match=r"before: a=1, b='x' on 2 rows") as caught:
        diff.changes(Chunked(data), Chunked(data, (1,)), key=["a", "b"])
    assert len(caught.value.faults) == 2
    assert diff.changes(Chunked(data), Chunked(data.slice(1), ()), key=["c"]).rows_removed == 1


def test_rows_of_odd_columns():
    before = pa.table(
        {
            "l": [[1], [2]],
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "n": pa.nulls(2),
            "h": np.array([1, 2], np.float16),
        }
    )
    after = pa.table({"l": [[2], [3]], "d": ["y", "x"], "n": pa.nulls(2), "h": np.array([2, 1], np.float16)})
    made = diff.changes(diff.InMemory(before), diff.InMemory(after))
    assert (made.rows_added, made.rows_removed) == (1, 1)
    made = diff.changes(diff.InMemory(before), diff.InMemory(before.slice(1)))
    assert (made.rows_added, made.rows_removed) == (0, 1)


# --- distributions ------------------------------------------------------------------------------------------------
def distance(a, b):
    return diff.column_change(sketches.sketch_column(a), sketches.sketch_column(b))


@pytest.mark.parametrize("rows", [400, 50_000])
def test_ks_agrees_with_scipy(rows):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a, b = pa.array(rng.normal(size=rows + 100)), pa.array(rng.normal(0.3, size=rows))
    made = distance(a, b)
    assert made["measure"] == "ks"
    exact = stats.ks_2samp(a.to_numpy(), b.to_numpy()).statistic
    assert made["distance"] == pytest.approx(exact, abs=1e-12 if rows <= 412 else 0.012)


def test_total_variation():
    made = distance(pa.array(["x"] * 3 + ["y"]), pa.array(["x", "z"] * 2))
    assert (made["measure"], made["distance"]) == ("total variation", pytest.approx(0.5))


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("s"), pa.date32(), pa.duration("ms"), pa.time32("s"), pa.decimal128(12, 0), pa.float16()],
    ids=str,
)
def test_distance_of_other_numbers(kind):
    via = {"halffloat": pa.float64(), "timestamp[s]": pa.int64(), "duration[ms]": pa.int64()}.get(str(kind), pa.int32())
    a, b = (pa.array(v, via).cast(kind) for v in ([1, 2], [3, 4]))
    assert distance(a, b)["distance"] == 1.0
    assert distance(a, a)["distance"] == 0.0
