"""What counts of a cell is what it does, not how it looks."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from documents import cell, notebook
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.notebook.cells import code_digests


def digests(*cells: Any) -> list[str]:
    return [one.digest for one in code_digests(notebook(*cells))]


def meaning(source: str) -> str:
    """The code that stands for a cell."""
    (found,) = code_digests(notebook(source))
    assert found.tree is not None
    return ast.unparse(found.tree)


# --- layout does not count ----------------------------------------------------------------------------------------
NAMES = st.sampled_from(["alpha", "beta", "frame", "model_1"])
LITERALS = st.one_of(
    st.integers(0, 99), st.sampled_from(["'a'", "'it''s'", "3.5", "None", "f'{x}!'", "b'z'", "[1, 2]"])
)
STATEMENTS = st.tuples(
    NAMES,
    LITERALS,
    st.sampled_from(
        [
            "{0} = {1}",
            "print({0}, {1})",
            "if {0}:\n    x = {1}\nelse:\n    y = 2",
            "def {0}(a, b={1}):\n    '''doc'''\n    return a",
            "%time {0} = {1}",
            "!echo {0} {1}",
            "%matplotlib inline",
        ]
    ),
).map(lambda parts: parts[2].format(parts[0], parts[1]))
CELLS = st.lists(st.lists(STATEMENTS, min_size=1, max_size=4), min_size=1, max_size=4)


def relaid(statements: list[str], draw: Any) -> str:
    """The same statements with other blanks, comments and empty lines."""
    lines: list[str] = []
    for statement in statements:
        lines += [draw(st.sampled_from(["", "   ", "# a comment", "# %time x = 1", "\t# !ls"])) for _ in range(2)]
        for line in statement.split("\n"):
            plain = not line.lstrip().startswith(("%", "!"))
            lines.append(line + (draw(st.sampled_from(["", "  ", "  # why"])) if plain else ""))
    return "\n".join([*lines, *draw(st.sampled_from([[], [""], ["# the end", ""]]))])


@settings(max_examples=60, deadline=None)
@given(st.data(), CELLS)
def test_comments_blank_lines_and_markdown_change_nothing(data: Any, cells: list[list[str]]) -> None:
    before = digests(*("\n".join(statements) for statements in cells))
    after: list[Any] = []
    for statements in cells:
        after += data.draw(st.sampled_from([[], [cell("# Title\n\ntext", kind="markdown")], [cell("  \n")]]))
        after.append({**cell(relaid(statements, data.draw)), "id": "x", "outputs": [{"a": 1}], "execution_count": 7})
    assert digests(*after) == before


@settings(max_examples=40, deadline=None)
@given(CELLS, st.data())
def test_another_literal_changes_exactly_its_cell(cells: list[list[str]], data: Any) -> None:
    place = data.draw(st.integers(0, len(cells) - 1))
    texts = ["\n".join(statements) for statements in cells]
    changed = list(texts)
    changed[place] += f"\nadded = {data.draw(st.integers())}"
    before, after = digests(*texts), digests(*changed)
    assert [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [place]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x=1;  "[:-3]),
        ("x = {'a': 1,\n     'b': 2}", 'x = {"a": 1, "b": 2}'),
        ("f(1,\n  2)", "f(1, 2,)"),
        ("%%time\nx = 1", "%%time\n\n# slow\nx=1"),
        ("%timeit -n 3 f( 1 )", "%timeit -n 3  f(1)"),
        ("%%mlops run base\nx = 1", "%%mlops run base\nx = (1)"),
        ("if a:\n  %cd x\n  b", "if a:\n    %cd x\n    b  # there"),
        ("await f()", "await  f( )"),
    ],
)
def test_the_same_code(one: str, other: str) -> None:
    assert digests(one) == digests(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "y = 1"),
        ("x = 1", "x = 1.0"),
        ("x = 'a'", "x = b'a'"),
        ("x", "x;"),
        ("plot(x);  # quiet", "plot(x)"),
        ("def f():\n    'a doc'", "def f():\n    'another'"),
        ("%%bash\nls", "%%bash\nls  # all"),
        ("!ls", "!ls -l"),
        ("%time f()", "%timeit f()"),
        ("f?", "f"),
        ("this is not Python", "this is no Python"),
        ("x = '\\ud800'", "x = '\\ud801'"),
    ],
)
def test_other_code(one: str, other: str) -> None:
    assert digests(one) != digests(other)


# --- which cells count --------------------------------------------------------------------------------------------
def test_numbers_are_places_in_the_notebook_and_cells_that_do_not_run_are_left_out() -> None:
    found = code_digests(
        notebook(
            cell("# Title", kind="markdown"),
            "x = 1",
            "",
            "# only a comment",
            cell("x = 2", "skip-execution"),
            cell("n = 3", "parameters"),
            cell("n = 4", "injected-parameters"),
            "y",
        )
    )
    assert [one.number for one in found] == [2, 6, 8]


def test_what_cannot_be_parsed_counts_as_text() -> None:
    (found,) = code_digests(notebook("pip install x   \n\n"))
    assert found.tree is None
    assert digests("pip install x") == [found.digest]


# --- IPython's syntax ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("%matplotlib inline", "get_ipython().run_line_magic('matplotlib', 'inline')"),
        ("!ls *.csv", "get_ipython().system('ls *.csv')"),
        ("files = !ls", "files = get_ipython().getoutput('ls')"),
        ("here = %pwd", "here = get_ipython().run_line_magic('pwd', '')"),
        ("%time x = f(1)", "get_ipython().run_line_magic('time', '')\nx = f(1)"),
        ("!pip install \\\n  x", "get_ipython().system('pip install   x')"),
        ("text = '''\n%time x\n!ls\n'''\n!ls", "text = '\\n%time x\\n!ls\\n'\nget_ipython().system('ls')"),
        ("x = (5\n%3)\n%cd ..", "x = 5 % 3\nget_ipython().run_line_magic('cd', '..')"),
        ("x = 5 \\\n%3\n!ls", "x = 5 % 3\nget_ipython().system('ls')"),
        ("x = \"it's (\"  # ' (\n!ls", "x = \"it's (\"\nget_ipython().system('ls')"),
        ("df.head?", "get_ipython().run_line_magic('pinfo', 'df.head')"),
        ("%%bash\nls\npwd", "get_ipython().run_cell_magic('bash', '', 'ls\\npwd')"),
        ("%%time\n%%capture out\nx = 1", None),
    ],
)
def test_magics_become_calls(source: str, code: str | None) -> None:
    if code is None:
        code = "get_ipython().run_cell_magic('time', '')\nget_ipython().run_cell_magic('capture', 'out')\nx = 1"
    assert meaning(source) == code


def test_magics_are_where_ipython_sees_them() -> None:
    """The lines that IPython's own transformer turns into calls, and no others."""
    from IPython.core.inputtransformer2 import TransformerManager

    source = "a = [\n  1\n  %2]\n%cd x\nif a:\n    !ls {a}\ns = '''\n!no\n'''\n"
    source += "b = %env HOME\nc = !date\n?a\nd = \\\n  7\n%pwd\n"
    theirs = ast.parse(TransformerManager().transform_cell(source))
    calls = sorted(ast.unparse(n) for n in ast.walk(theirs) if isinstance(n, ast.Call) and n.args)
    ours = ast.parse(meaning(source))
    assert sorted(ast.unparse(n) for n in ast.walk(ours) if isinstance(n, ast.Call) and n.args) == calls


@pytest.mark.parametrize(
    "source",
    ["x" + " " * 200_000 + "y\n%a", "x?" + " " * 200_000 + "y", "(" * 20_000, "x = " + "1 + " * 20_000 + "1"],
    ids=["blanks", "question", "brackets", "sum"],
)
def test_a_hostile_cell_is_read_in_one_pass(source: str) -> None:
    """Where the length was squared, this test would take an hour."""
    assert len(digests(source)) == 1
