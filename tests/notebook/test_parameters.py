"""Parameters are read without running anything, and every fault is told at once."""

from __future__ import annotations

import ast
import math
from datetime import date, datetime
from pathlib import Path

import nbformat
import pytest

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.notebook import parameters, types
from nbmlops.notebook.types import Mismatch, Text, convert, from_annotation, to_code


def declared(source: str) -> parameters.Parameters:
    cell = {"cell_type": "code", "source": source.splitlines(keepends=True), "metadata": {"tags": ["parameters"]}}
    return parameters.read({"cells": [{"cell_type": "markdown", "source": "# x", "metadata": {}}, cell]}, "a.ipynb")


def kind(annotation: str) -> types.Type:
    return from_annotation(ast.parse(annotation, mode="eval").body)


def test_a_cell_gives_names_types_defaults_and_help() -> None:
    found = declared(
        "%load_ext nbmlops\nimport os\nraise_ = 1/0  # computed\ndepth: int = 6  # levels of the tree\n"
        "rate = 0.1\nflag = True\nname = 'a'  \nnothing = None\na, b = 1, 'x'\nday = date(2026, 1, 2)\n"
        "where = pathlib.Path('x')\nmust: str\nc = d = 3\n"
        "long = [\n  1,\n]  # the list\n"
    ).items
    assert {n: str(p.type) for n, p in found.items()} == {
        "raise_": "any",
        "depth": "int",
        "rate": "float",
        "flag": "bool",
        "name": "str",
        "nothing": "any",
        "a": "int",
        "b": "str",
        "day": "date",
        "where": "Path",
        "must": "str",
        "c": "int",
        "d": "int",
        "long": "list",
    }
    assert (found["depth"].help, found["long"].help, found["raise_"].source) == (
        "levels of the tree",
        "the list",
        "1 / 0",
    )
    assert found["must"].required
    assert not found["nothing"].required
    assert not found["raise_"].literal
    assert found["day"].default == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        ("int", "int"),
        ("list[int]", "list[int]"),
        ("typing.Dict[str, float]", "dict[str, float]"),
        ("Optional[int]", "int | None"),
        ("int | None", "int | None"),
        ("'int | str'", "int | str"),
        ("Union[int, str, None]", "int | str | None"),
        ("Literal['a', 3]", "Literal['a', 3]"),
        ("dt.datetime", "datetime"),
        ("Path", "Path"),
        ("pd.DataFrame", "any"),
        ("int | Model", "any"),
        ("Annotated[int, 'x']", "int"),
        ("tuple[int, ...]", "tuple[int]"),
        ("Literal[x]", "any"),
    ],
)
def test_annotations(annotation: str, shown: str) -> None:
    assert str(kind(annotation)) == shown


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        ("int", Text("3"), 3),
        ("int", "3", 3),
        ("int", 3.0, 3),
        ("int", Text("3.0"), 3),
        ("float", 3, 3.0),
        ("float", "1e-3", 0.001),
        ("bool", Text("yes"), True),
        ("bool", "false", False),
        ("str", Text("3"), "3"),
        ("list[int]", [1, 2.0], [1, 2]),
        ("list[str]", Text("a, b"), ["a", "b"]),
        ("list[int]", Text("[1, 2]"), [1, 2]),
        ("dict[str, int]", Text("{a: 1}"), {"a": 1}),
        ("Literal['x', 3]", Text("3"), 3),
        ("int | None", None, None),
        ("int | None", Text("none"), None),
        ("float | int", 3, 3),
        ("int | str", Text("3"), 3),
        ("int | str", Text("x"), "x"),
        ("date", "2026-01-02", date(2026, 1, 2)),
        ("datetime", date(2026, 1, 2), datetime(2026, 1, 2)),
        ("Path", "a/b", Path("a/b")),
        ("Any", Text("[1]"), [1]),
        ("Any", "[1]", "[1]"),
        ("tuple[int, ...]", [1, 2], (1, 2)),
        ("set[int]", [1, 1], {1}),
    ],
)
def test_values_that_fit(annotation: str, given: object, expected: object) -> None:
    found = convert(kind(annotation), given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "given", "message"),
    [
        ("int", "abc", "'abc' is not an int"),
        ("int", 3.5, "3.5 is not an int"),
        ("int", True, "True is not an int"),
        ("float", True, "True is not a float"),
        ("float", Text("x"), "'x' is not a float"),
        ("bool", 1, "1 is not a bool"),
        ("str", 3, "3 is not a str (write it in quotes)"),
        ("list[int]", [1, "x"], "'x' is not an int in a list[int]"),
        ("dict", [1], "[1] is not a dict"),
        ("Literal['a', 'b']", "c", "'c' is not one of 'a', 'b'"),
        ("int | None", "x", "'x' is not an int | None"),
        ("date", "yesterday", "'yesterday' is not a date (write it as 2026-11-20)"),
        ("date", datetime(2026, 1, 2), "is not a date"),
        ("Any", object, "a type cannot be written into a notebook"),
        ("int", None, "None is not an int"),
        ("list", 3, "3 is not a list"),
    ],
)
def test_values_that_do_not(annotation: str, given: object, message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        convert(kind(annotation), given)
    assert message in str(caught.value)


def test_numpy_scalars_are_plain_numbers() -> None:
    np = pytest.importorskip("numpy")
    assert convert(kind("int"), np.int64(3)) == 3
    assert convert(kind("float"), np.float32(0.5)) == 0.5


def test_all_faults_come_in_one_error() -> None:
    takes = declared("depth: int = 3\nrate: float = 0.1\nmust: str\n")
    with pytest.raises(InvalidValue) as caught:
        takes.coerce({"depht": 3, "rate": "fast"})
    assert caught.value.faults == (
        "unknown parameter 'depht' (did you mean 'depth'?)",
        "rate: 'fast' is not a float",
        "must: a str is required",
    )
    assert caught.value.hint == "it takes depth: int, rate: float, must: str"


def test_a_notebook_without_the_cell_takes_none() -> None:
    takes = parameters.read({"cells": []}, "a.ipynb")
    assert takes.coerce({}) == {}
    with pytest.raises(InvalidValue, match="has no cell tagged 'parameters'"):
        takes.coerce({"x": 1})


def test_values_in_force_are_those_given_and_the_literal_defaults() -> None:
    assert declared("a = 1\nb = 2\nc = f()\n").complete({"a": 5}) == {"a": 5, "b": 2}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        "q\"uo\nte'",
        [1, {"a": (1,)}],
        (),
        {1, 2},
        set(),
        date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, 5, 6),
        Path("a b/c"),
        {"a": [date(2026, 1, 2)]},
        math.inf,
    ],
)
def test_code_gives_the_value_back(value: object) -> None:
    assert eval(to_code(value), {}) == value


def test_code_of_nan() -> None:
    assert math.isnan(eval(to_code(math.nan)))


def test_the_injected_cell_leaves_no_other_name() -> None:
    names: dict[str, object] = {"__builtins__": __builtins__}
    exec(parameters.injected_source({"day": date(2026, 1, 2), "where": Path("x")}), names)
    assert set(names) == {"__builtins__", "day", "where"}


def test_command_line_values() -> None:
    assert parameters.from_command_line(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidValue) as caught:
        parameters.from_command_line(["a", "b=1", "b=2", "3x=1"])
    assert len(caught.value.faults) == 3


def test_files_that_are_no_notebooks(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no notebook"):
        parameters.read_file(tmp_path / "none.ipynb")
    for text in ("{", "[]", '{"nbformat": 3, "worksheets": []}'):
        with pytest.raises(InvalidValue, match="is not a notebook"):
            parameters.parse_document(text.encode(), "x.ipynb")
    with pytest.raises(InvalidValue, match=r"not Python: .*line 2"):
        declared("a = 1\nb = = 2")


def test_a_written_notebook_is_read(tmp_path: Path) -> None:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("n = 3", metadata={"tags": ["parameters"]})])
    nbformat.write(nb, tmp_path / "a.ipynb")
    found = parameters.read(parameters.parse_document(parameters.read_file(tmp_path / "a.ipynb"), "a.ipynb"), "a.ipynb")
    assert found.items["n"].default == 3
