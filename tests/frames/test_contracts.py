"""Contracts: read with every fault at once, checked with every violation at once."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import ContractViolated, InvalidValue, NotFound
from nbmlops.frames.contracts import check, infer_contract, load_contract, refuse
from nbmlops.frames.contracts.schemas import to_pandera

FLIGHTS = """
name: flights
on_violation: refuse
strict: true
ordered: true
rows: {min: 1, max: 100}
columns:
  flight: {type: integer, min: 1}
  carrier: {type: text, nullable: false, in: [AA, UA, "NO"]}
  tail: {type: text, matches: 'N\\d+', length: {min: 2, max: 6}, share_null: 0.25}
  dep: {type: datetime, min: 2013-01-01, max: 2013-12-31}
  arr: datetime
  air_time: {type: number, min: 0.5}
unique: [flight, dep]
checks:
  - dep <= arr
  - air_time * 60 < 10000 or carrier == "UA"
"""


def good() -> pa.Table:
    dep = [dt.datetime(2013, 1, 1, hour) for hour in range(4)]
    return pa.table(
        {
            "flight": [1, 2, 3, 4],
            "carrier": ["AA", "UA", "NO", "AA"],
            "tail": ["N1", "N22", None, "N4444"],
            "dep": dep,
            "arr": [d + dt.timedelta(hours=2) for d in dep],
            "air_time": [100.0, 1e6, float("nan"), 90.0],
        }
    )


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    path = tmp_path / "flights.yaml"
    path.write_text(FLIGHTS)
    return path


def lines(report) -> dict[tuple[str, str], tuple[int | None, tuple]]:
    return {(v.column, v.rule): (v.rows, tuple(e["row"] for e in v.examples)) for v in report.violations}


@pytest.mark.parametrize(
    "made", [lambda t: t, lambda t: t.to_pandas(), pl.from_arrow], ids=["arrow", "pandas", "polars"]
)
def test_good_data_pass_in_every_library(flights, made):
    report = check(load_contract(flights), made(good()), "dataset:flights@1")
    assert report.ok, [v.line() for v in report.violations]
    assert report.status == "pass"
    assert report.rows == 4
    assert [f.level for f in report.findings] == ["pass"]
    refuse(report)


def broken() -> pa.Table:
    at = [dt.datetime(2014, 1, 1, 1), dt.datetime(2013, 1, 1), dt.datetime(2013, 1, 1), None]
    return pa.table(
        {
            "carrier": ["AA", None, "XX", "AA"],
            "flight": [0, 2, 2, 4],
            "tail": ["N1x", None, None, "N44444444"],
            "dep": at,
            "arr": [dt.datetime(2013, 1, 1)] * 4,
            "air_time": ["1", "2", "3", "4"],
            "new": [1, 2, 3, 4],
        }
    )


@pytest.mark.parametrize(
    "made", [lambda t: t, lambda t: t.to_pandas(), pl.from_arrow], ids=["arrow", "pandas", "polars"]
)
def test_every_violation_at_once(flights, made):
    contract = load_contract(flights)
    report = check(contract, made(broken()), "dataset:flights@2")
    assert lines(report) == {
        ("new", "strict"): (None, ()),
        ("", "ordered"): (None, ()),
        ("flight", "min"): (1, (0,)),
        ("carrier", "nullable"): (1, (1,)),
        ("carrier", "in"): (1, (2,)),
        ("tail", "matches"): (1, (0,)),
        ("tail", "length"): (1, (3,)),
        ("tail", "share_null"): (2, ()),
        ("dep", "max"): (1, (0,)),
        ("air_time", "type"): (None, ()),
        ("", "unique"): (1, (2,)),
        ("", "check"): (1, (0,)),
    } | {("", "check"): lines(report)["", "check"]}
    checks = [v for v in report.violations if v.rule == "check"]
    assert [v.rows for v in checks] == [1, None]
    assert checks[0].examples == ({"row": 0, "value": "dep = 2014-01-01 01:00:00, arr = 2013-01-01 00:00:00"},)
    assert "cannot be judged" in checks[1].seen
    assert report.violations[3].examples[0]["value"] is None
    assert {f.level for f in report.findings} == {"block"}
    with pytest.raises(ContractViolated) as caught:
        refuse(report)
    error = caught.value
    assert error.exit_code == 1
    assert len(error.violations) == len(report.violations) == len(error.lines()[0].splitlines()) - 1
    assert "flights on dataset:flights@2: 13 violations" in error.message
    assert pickle.loads(pickle.dumps(error)).violations == error.violations


def test_a_warning_does_not_refuse(flights):
    report = check(load_contract(flights, on_violation="warn"), broken())
    assert report.status == "warn"
    assert {f.level for f in report.findings} == {"warn"}
    refuse(report)
    with pytest.raises(InvalidValue, match="on_violation is 'maybe'"):
        load_contract(flights, on_violation="maybe")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_chunks_do_not_matter(data):
    values = data.draw(st.lists(st.none() | st.integers(0, 9), max_size=30))
    texts = pa.array([None if v is None else str(v) for v in values], pa.string())
    table = pa.table({"a": pa.array(values, pa.int64()), "s": texts})
    contract = load_contract(
        {
            "columns": {
                "a": {"nullable": False, "unique": True, "min": 2, "max": 7, "in": [3, 4, 5, 9], "share_null": 0.1},
                "s": {"type": "text", "matches": "[0-5]", "length": {"max": 1}},
            },
            "checks": ["a * 2 <= 12 and not a == 4"],
        }
    )
    whole = check(contract, table)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    parts = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(values)], strict=True)]
    assert check(contract, iter(parts)) == whole
    expected = {
        "nullable": [v is None for v in values],
        "min": [v is not None and v < 2 for v in values],
        "max": [v is not None and v > 7 for v in values],
        "in": [v is not None and v not in (3, 4, 5, 9) for v in values],
        "matches": [v is not None and v > 5 for v in values],
        "check": [v is not None and not (v * 2 <= 12 and v != 4) for v in values],
        "unique": [v in values[:i] for i, v in enumerate(values)],
    }
    for rule, hits in expected.items():
        found = [v for v in whole.violations if v.rule == rule]
        assert sum(v.rows for v in found) == sum(hits)
        assert [e["row"] for v in found for e in v.examples] == [i for i, hit in enumerate(hits) if hit][:5]


# --- reading ----------------------------------------------------------------------------------------------------------
def test_every_fault_of_a_file_at_once(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        """
colums: {}
rows: 3
strict: "yes"
on_violation: maybe
columns:
  a: {type: int46, min: 5, max: 3, in: [], matches: "(?=x)", length: {min: -1, most: 2}}
  b: {type: text, in: [NO], min: 3, share_null: 2}
  b: {type: integer}
  c: {type: datetime, min: yesterday}
  d: [1]
unique: [z]
checks: [a.b > 3, "len(a) > 3", bb > 3, 1 > 0, 7, "a >"]
"""
    )
    with pytest.raises(InvalidValue) as caught:
        load_contract(path)
    said = "\n".join(caught.value.faults)
    assert str(path) in caught.value.message
    for part in (
        "colums: unknown key; did you mean 'columns'?",
        "rows: a mapping is needed",
        "strict: true or false is needed",
        "on_violation: 'maybe'",
        "columns.a.type: 'int46' is no type; did you mean 'int64'?",
        "columns.a: min 5 is above max 3",
        "columns.a.in: a list of values is needed",
        "columns.a.matches: '(?=x)' is no regular expression that RE2 knows",
        "columns.a.length.min: a whole number is needed",
        "columns.a.length.most: unknown key",
        "columns.b: given twice (line 9)",
        "columns.c.min: 'yesterday' is no datetime",
        "columns.d: a mapping is needed",
        "unique: there is no column 'z'",
        "checks.1: 'a.b > 3': 'a.b' is not allowed here",
        "checks.2: 'len(a) > 3': 'len(a)' is not allowed here",
        "checks.3: 'bb > 3': there is no column 'bb' under columns; did you mean 'b'?",
        "checks.4: '1 > 0': it names no column",
        "checks.5: 7: a check is text",
        "checks.6: 'a >': it cannot be read",
    ):
        assert part in said, said


def test_yaml_words_that_are_no_text(tmp_path):
    with pytest.raises(InvalidValue, match=r"columns.b.in: False is no text; YAML reads yes, no, on and off"):
        load_contract({"columns": {"b": {"type": "text", "in": ["AA", False]}}})


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "a: b: c", "", "columns: {}", "&a [*a]", "columns: &a {x: *a}", "? [1]\n: 2", "\x00", "x" * 1_000_001],
    ids=["list", "colons", "empty", "no rules", "circle", "circle within", "key", "control", "large"],
)
def test_hostile_files_are_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InvalidValue, match=r"c\.yaml"):
        load_contract(path)


def test_what_is_no_contract(tmp_path):
    with pytest.raises(NotFound, match="no contract"):
        load_contract(tmp_path / "none.yaml")
    with pytest.raises(InvalidValue, match="is no contract"):
        load_contract("contract.json")
    with pytest.raises(InvalidValue, match=r"a builtins\.int is no contract"):
        load_contract(3)
    contract = load_contract({"columns": {"a": "integer"}})
    assert load_contract(contract) is contract
    with pytest.raises(InvalidValue, match="a str cannot be checked"):
        check(contract, "flights")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.b",
        "a[0]",
        "(lambda: 1)()",
        "[x for x in a]",
        "a if a else a",
        "a ** 9",
        "f'{a}'",
        "a == None",
        "a in b",
        "a @ b",
        "(a := 3)",
        "a == b''",
        "(" * 500 + "a" + ")" * 500,
        "-" * 900 + "a",
    ],
)
def test_checks_are_not_code(text):
    with pytest.raises(InvalidValue, match=r"checks\.1"):
        load_contract({"columns": {"a": {}, "b": {}}, "checks": [text]})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a < b", [1]),
        ("0 <= a < 3", [2]),
        ("a / b == 0.5", [1, 2]),
        ("-a + 1 <= b - 2", []),
        ("s in ['x', 'y']", [2]),
        ("s not in ('x',)", [0]),
        ("a in [1, 2.5]", [1, 2]),
        ("s == 'x' or a > 1", []),
        ("not flag", [0, 2]),
        ("flag == (a < 3 and s == 'x')", [2]),
        ('column["odd name"] > 1', [0]),
        ("day >= '2013-01-02'", [0]),
        ("'2013-01-02' > day", [1, 2]),
        ("big * big > 0", []),
    ],
)
def test_checks_are_computed(text, rows):
    table = pa.table(
        {
            "a": [1, 2, 3, None],
            "b": pa.array([2, 1, 4, 9], pa.int16()),
            "s": ["x", "y", "z", None],
            "flag": [True, False, True, None],
            "odd name": [1, 2, 3, None],
            "day": pa.array([dt.date(2013, 1, 1), dt.date(2013, 1, 2), dt.date(2013, 1, 3), None]),
            "big": [2**62, 2**62, 1, 1],
        }
    )
    contract = load_contract({"columns": {n: {} for n in table.column_names}, "checks": [text]})
    report = check(contract, table)
    assert [e["row"] for v in report.violations for e in v.examples] == rows


def test_checks_that_cannot_be_computed_say_so():
    contract = load_contract({"columns": {"a": {}, "s": {}}, "checks": ["a < s", "a + 1", "s in [1]"]})
    report = check(contract, pa.table({"a": [1], "s": ["x"]}))
    assert ["cannot be judged" in v.seen for v in report.violations] == [True] * 3
    assert "it gives int64, and not true or false" in report.violations[1].seen
    missing = check(contract, pa.table({"a": [1]}))
    assert lines(missing)["s", "required"] == (None, ())


@pytest.mark.parametrize(
    ("column", "rule", "rows"),
    [
        (pa.array([1, 2, 3], pa.uint64()), {"min": -5, "max": 2}, [2]),
        (pa.array([1, 2, 3], pa.uint64()), {"max": -1}, [0, 1, 2]),
        (pa.array([2**64 - 1, 1], pa.uint64()), {"max": 2**63}, [0]),
        (pa.array([1, 2, 3], pa.int8()), {"max": 2.5}, [2]),
        (pa.array([1, 2, 3], pa.int8()), {"max": 10**6, "min": -(10**6)}, []),
        (pa.array([1.5, None, float("nan")], from_pandas=False), {"nullable": False, "max": 9}, [1, 2]),
        (pa.array([1.0, 2.5], pa.float16()), {"max": 2}, [1]),
        (pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.20")]), {"max": 2, "type": "decimal"}, [1]),
        (pa.array([dt.date(2013, 1, 1), dt.date(2014, 1, 1)]), {"max": dt.date(2013, 6, 1), "type": "date"}, [1]),
        (pa.array([0, 10**9], pa.timestamp("s", "UTC")), {"max": "1970-01-02"}, [1]),
        (pa.array(["a", "b"]).dictionary_encode(), {"in": ["a"], "type": "text"}, [1]),
        (pa.array(["a", "bb"], pa.string_view()), {"length": {"max": 1}, "type": "string"}, [1]),
        (pa.array(["a\nb", "b"]), {"matches": "a.b"}, [0, 1]),
        (pa.array(["ab", "b"]), {"matches": "a|b"}, [0]),
        (pa.array([[1], [1, 2], None]), {"length": {"min": 2}, "type": "list"}, [0]),
        (pa.array([b"a", b"bb"]), {"length": {"max": 1}, "type": "binary"}, [1]),
        (pa.array([True, False]), {"in": [True], "type": "bool"}, [1]),
        (pa.array([None, None], pa.null()), {"nullable": False}, [0, 1]),
        (pa.array([1, 1, 2, None, None]), {"unique": True}, [1, 4]),
    ],
)
def test_rules_by_type(column, rule, rows):
    report = check(load_contract({"columns": {"x": rule}}), pa.table({"x": column}))
    assert not [v.line() for v in report.violations if "judged" in v.seen or v.rule == "type"]
    assert sorted({e["row"] for v in report.violations for e in v.examples}) == rows


@pytest.mark.parametrize(
    ("word", "kind", "fits"),
    [
        ("int64", pa.int64(), True),
        ("int64", pa.int32(), False),
        ("integer", pa.uint8(), True),
        ("float", pa.float32(), True),
        ("double", pa.float64(), True),
        ("text", pa.large_string(), True),
        ("text", pa.dictionary(pa.int8(), pa.string()), True),
        ("timestamp[us,tz=UTC]", pa.timestamp("us", "Etc/UTC"), True),
        ("timestamp[us]", pa.timestamp("ns"), False),
        ("decimal128(10, 2)", pa.decimal128(10, 2), True),
        ("list<int64>", pa.large_list(pa.int64()), True),
        ("date", pa.date64(), True),
        ("number", pa.string(), False),
    ],
)
def test_words_for_types(word, kind, fits):
    report = check(load_contract({"columns": {"x": word}}), pa.table({"x": pa.array([], kind)}))
    assert report.ok == fits


def test_required_order_and_size():
    contract = load_contract(
        {"columns": {"a": {}, "b": {"required": False}, "c": {}}, "ordered": True, "rows": {"max": 1}}
    )
    assert check(contract, pa.table({"x": [1], "a": [1], "y": [1], "c": [1]})).ok
    assert lines(check(contract, pa.table({"c": [1, 2], "b": [1, 2]}))) == {
        ("", "rows"): (None, ()),
        ("a", "required"): (None, ()),
        ("", "ordered"): (None, ()),
    }
    assert check(load_contract({"rows": {"min": 1}}), pa.table({"a": []})).violations[0].asked == "at least 1 rows"
    assert check(load_contract({"rows": {"min": 1}}), iter([])).violations[0].seen == "there are 0"


def test_index_levels_are_not_unexpected():
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 8], name="key"))
    strict = {"columns": {"a": {}}, "strict": True}
    assert check(load_contract(strict), frame).ok
    ruled = load_contract({**strict, "index": {"key": {"type": "integer", "min": 8}}})
    assert lines(check(ruled, frame)) == {("key", "min"): (1, (0,))}
    table = pa.table({"a": [1], "key": [9]})
    assert check(ruled, [table]).ok
    assert check(load_contract(strict), [table], index=["key"]).ok


# --- drafts -----------------------------------------------------------------------------------------------------------
def months(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(n)],
            "carrier": rng.choice(["AA", "UA", "NO"], n),
            "delay": np.where(np.arange(n) % 10 == 0, np.nan, rng.normal(size=n)),
            "seats": pd.array(rng.integers(1, 400, n), dtype="Int16"),
            "at": pd.date_range("2013", periods=n, freq="h", tz="UTC"),
            "free": [f"text {i % 50} of many" for i in range(n)],
            "kind": pd.Categorical(rng.choice(["x", "y"], n)),
            "odd: name": [[1, 2]] * n,
            "#": rng.random(n) < 0.5,
        }
    )


def test_a_draft_holds_for_what_it_was_drafted_from_and_survives_yaml(tmp_path):
    frame = months()
    draft = infer_contract(frame, "dataset:months@1")
    path = tmp_path / "months.yaml"
    path.write_text(draft.to_yaml())
    again = load_contract(path)
    assert again.columns == load_contract(draft.to_dict()).columns
    assert load_contract(again.to_dict()) == again
    assert check(again, frame).ok, [v.line() for v in check(again, frame).violations]
    rules = again.columns
    assert path.read_text().startswith("# drafted from dataset:months@1: 200 rows\n")
    assert rules["id"].unique
    assert rules["carrier"].isin == ("AA", "NO", "UA")
    assert rules["free"].isin is None
    assert (rules["delay"].nullable, rules["delay"].share_null) == (True, 0.11)
    assert rules["seats"].type == "int16"
    assert rules["at"].max is None
    assert rules["kind"].isin == ("x", "y")
    worse = frame.assign(carrier="ZZ", seats=pd.array([5000] * 200, dtype="Int16"))
    assert {(v.column, v.rule) for v in check(again, worse).violations} == {("carrier", "in"), ("seats", "max")}


def test_a_draft_from_chunks_is_the_same():
    table = pa.Table.from_pandas(months())
    chunks = [table.slice(i, 37) for i in range(0, 200, 37)]
    assert infer_contract(iter(chunks)) == infer_contract(table)


def test_a_draft_of_an_indexed_frame():
    frame = months().set_index("at")
    draft = infer_contract(frame)
    assert list(draft.index) == ["at"]
    assert check(load_contract(draft.to_dict()), frame).ok


# --- pandera ----------------------------------------------------------------------------------------------------------
SCHEMAS = """
import pandera.pandas as pandera
import pandera.polars as quick

class Flights(pandera.DataFrameModel):
    flight: int = pandera.Field(ge=1)
    carrier: str = pandera.Field(isin=["AA", "UA"])

flight = pandera.Column(int, pandera.Check.ge(1), unique=True)
schema = pandera.DataFrameSchema({"flight": flight, "gone": pandera.Column(int)})
fast = quick.DataFrameSchema({"flight": quick.Column(int, pandera.Check.ge(1))})
number = 3
"""


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    pytest.importorskip("pandera")
    path = tmp_path / "schemas.py"
    path.write_text(SCHEMAS)
    return path


def test_pandera_schemas_and_models(schemas):
    frame = pd.DataFrame({"flight": [1, 0, -1, 1], "carrier": ["AA", "XX", "UA", "UA"]})
    model = load_contract(f"{schemas}:Flights")
    report = check(model, frame)
    assert {(v.column, v.rows, tuple(e["row"] for e in v.examples)) for v in report.violations} == {
        ("flight", 2, (1, 2)),
        ("carrier", 1, (1,)),
    }
    assert check(model, pa.Table.from_pandas(frame)).violations == report.violations
    halves = [pa.Table.from_pandas(part) for part in (frame.iloc[:2], frame.iloc[2:])]
    assert check(model, iter(halves)).violations == report.violations
    schema = check(load_contract(f"{schemas}:schema", on_violation="warn"), frame)
    assert schema.status == "warn"
    assert any("gone" in v.line() for v in schema.violations)
    assert check(load_contract(model.schema), frame.iloc[:1]).ok
    fast = check(load_contract(f"{schemas}:fast"), pl.from_pandas(frame))
    assert [v.rows for v in fast.violations] == [2]


def test_python_files_that_hold_no_schema(schemas, tmp_path):
    with pytest.raises(NotFound, match=r"no schema in .* 'Flight'") as caught:
        load_contract(f"{schemas}:Flight")
    assert "Flights" in caught.value.hint
    with pytest.raises(InvalidValue, match=r"number in .* is no pandera schema"):
        load_contract(f"{schemas}:number")
    with pytest.raises(NotFound, match="no file"):
        load_contract(f"{tmp_path}/none.py:x")
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(InvalidValue, match="cannot be run: ZeroDivisionError"):
        load_contract(f"{tmp_path}/bad.py:x")


def test_a_contract_as_a_pandera_schema():
    pandera = pytest.importorskip("pandera.pandas")
    contract = load_contract(
        {
            "columns": {
                "flight": {"type": "int64", "nullable": False, "min": 1, "max": 9},
                "tail": {"type": "text", "matches": "N\\d+", "length": {"max": 4}, "in": ["N1", "N22"]},
            },
            "unique": ["flight"],
            "strict": True,
        }
    )
    schema = to_pandera(contract)
    frame = pd.DataFrame({"flight": [1, 9], "tail": ["N1", None]})
    schema.validate(frame)
    with pytest.raises(pandera.errors.SchemaErrors):
        schema.validate(frame.assign(flight=[1, 10], tail=["N1", "x"]), lazy=True)


def test_a_name_that_ends_as_yaml_is_never_run(tmp_path):
    (tmp_path / "schemas.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(NotFound, match="no contract"):
        load_contract(f"{tmp_path}/schemas.py:MINE.yaml")
