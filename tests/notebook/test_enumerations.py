"""Enumerations of a notebook as types of its parameters."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from documents import cell, notebook

from nbmlops.errors import InvalidValue
from nbmlops.notebook import parameters, types
from nbmlops.notebook.types import Mismatch, Text, Type, convert, to_code, to_json

ABOVE = (
    "%matplotlib inline\nimport enum\nfrom enum import Enum, IntEnum, StrEnum, auto\n"
    "class Mode(Enum):\n    '''How.'''\n    FAST = 'fast'\n    SLOW = 'slow'\n    _hidden = 1\n"
    "class Size(IntEnum):\n    S = 1\n    M = auto()\n"
    "class Kind(enum.StrEnum):\n    TREE = auto()\n"
    "class Odd(Enum):\n    A = object()\n"
    "class Plain:\n    A = 1\n"
)
CELL = (
    "mode: Mode = Mode.FAST\nsize: Size = Size.M\nkind: Kind | None = None\nmodes: list[Mode] = []\n"
    "found = Mode['SLOW']\nodd: Odd = Odd.A\nplain: Plain = Plain.A\nmust: 'Mode'\n"
)


def declared() -> parameters.Parameters:
    return parameters.read(notebook(cell("# x", kind="markdown"), ABOVE, cell(CELL, "parameters")), "a.ipynb")


def test_types_and_defaults() -> None:
    items = declared().items
    assert {n: str(p.type) for n, p in items.items()} == {
        "mode": "Mode", "size": "Size", "kind": "Kind | None", "modes": "list[Mode]", "found": "Mode", "odd": "any",
        "plain": "any", "must": "Mode",
    }  # fmt: skip
    shown = to_json(declared().complete({}))
    assert shown == {"mode": "fast", "size": 2, "kind": None, "modes": [], "found": "slow"}
    assert items["mode"].source == "Mode.FAST"


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [
        ("mode", "FAST", "Mode.FAST"),
        ("mode", "slow", "Mode.SLOW"),
        ("mode", Text("Mode.SLOW"), "Mode.SLOW"),
        ("size", 1, "Size.S"),
        ("size", Text("2"), "Size.M"),
        ("kind", "tree", "Kind.TREE"),
        ("kind", Text("none"), "None"),
        ("modes", ["FAST", "slow"], "[Mode.FAST, Mode.SLOW]"),
        ("modes", Text("fast,SLOW"), "[Mode.FAST, Mode.SLOW]"),
    ],
)
def test_members_are_given_by_name_or_value_and_written_as_code(name: str, given: Any, code: str) -> None:
    typed = declared().coerce({"must": "FAST", name: given})
    assert to_code(typed[name]) == code
    space: dict[str, Any] = {}
    exec(ABOVE.partition("\n")[2] + parameters.injected_source(typed), space)
    assert json.loads(json.dumps(to_json(typed))) == types.to_json({n: space[n] for n in typed})


def test_an_object_of_the_enumeration_is_taken_by_its_name() -> None:
    mode = enum.Enum("Mode", {"SLOW": "slow"})
    assert to_code(declared().coerce({"must": mode.SLOW})["must"]) == "Mode.SLOW"


def test_what_is_no_member_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidValue) as refused:
        declared().coerce({"must": "quick", "size": True, "modes": ["FAST", 3]})
    text = str(refused.value)
    assert "must: 'quick' is not one of FAST ('fast'), SLOW ('slow') of Mode" in text
    assert "size: True is not one of S (1), M (2) of Size" in text
    assert "in a list[Mode]" in text


# --- nested values of other types ---------------------------------------------------------------------------------
def test_numbers_of_numpy_and_enumerations_inside_any_are_written_as_plain_code() -> None:
    import numpy as np

    mode = enum.StrEnum("mode", {"A": "a"})
    level = enum.IntEnum("level", {"HIGH": 3})
    value = {"a": [np.float64(0.5), mode.A, level.HIGH, float("nan"), np.str_("x")], "b": (True, None)}
    code = to_code(value)
    assert code == "{'a': [0.5, 'a', 3, float(\"nan\"), 'x'], 'b': (True, None)}"
    assert to_json(value)["a"][1:3] == ["a", 3]


def test_none_of_an_optional_list_is_none() -> None:
    optional = types.from_annotation(__import__("ast").parse("list[str] | None", mode="eval").body)
    assert convert(optional, Text("none")) is None
    assert convert(optional, Text("none,a")) == ["none", "a"]
    assert convert(optional, ["none"]) == ["none"]
    with pytest.raises(Mismatch):
        convert(Type("union", (Type("int"), types.NONE)), Text("x"))
