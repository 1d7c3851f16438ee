"""The code cells of a notebook, read as syntax: what each does, whatever its layout, comments and outputs.

Nothing is executed and IPython is not imported (it costs a quarter of a second): magics and shell lines become the
calls that IPython would make of them, such as ``get_ipython().run_line_magic('time', '')``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import re
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbmlops.notebook.parameters import INJECTED, cell_source
from nbmlops.records import Record

SKIPPED = "skip-execution"
# Cell magics that run their body as Python in the same namespace; the body of any other is text.
_PYTHON_BODIES = {"capture", "memit", "mlops", "mprun", "prun", "time", "timeit"}
_PYTHON_LINES = {"memit", "prun", "time", "timeit"}
_CELL_MAGIC = re.compile(r"\s*%%(\S+)[ \t]*([^\n]*)(?:\n|\Z)")
# Written so that a hostile line costs no more than its length.
_LINE = re.compile(r"(?P<indent>\s*)(?:(?P<target>[A-Za-z_][\w.,\s\[\]'\"]*?)=\s*+)?(?P<mark>%|!!?)(?P<rest>.*)", re.S)
_HELP = re.compile(r"(?P<indent>\s*)(?:\?\??\s*(?P<before>[\w.%*]+)|(?P<after>%{0,2}[\w.*]+)\s*\?\??)\s*+;?\s*+")
_OPTIONS = re.compile(r"^(?:-\w+[ \t]+(?:\d+[ \t]+)?)*")
_MARKS = re.compile(r"\"\"\"|'''|[\"'#()\[\]{}]|\\.|\\\Z", re.S)


@dataclass(frozen=True)
class CodeCell(Record):
    """A cell that runs. ``number`` is its place in the notebook, counted from 1 over all cells, as errors tell it.

    ``digest`` changes when what the cell does may change. ``tree`` is None where it is not Python: the digest is then
    of its text.
    """

    number: int
    digest: str
    tree: ast.Module | None = field(repr=False, compare=False)


def code_digests(document: Mapping[str, Any]) -> list[CodeCell]:
    """The cells that run, in order: not those that are empty, skipped by tag, or injected by an earlier execution."""
    found = []
    for index, cell in enumerate(document["cells"]):
        tags = (cell.get("metadata") or {}).get("tags") or ()
        source = cell_source(cell)
        if cell.get("cell_type") != "code" or not source.strip() or SKIPPED in tags or INJECTED in tags:
            continue
        text, tree = syntax_of(source)
        if text:  # a cell of comments alone does nothing
            found.append(CodeCell(index + 1, digest_of(text), tree))
    return found


def python_lines(source: str) -> str | None:
    """The cell as Python, line for line: a magic or shell line is the call that IPython makes of it.

    The line of a cell magic whose body is Python is empty. None where there is nothing that can be read as Python.
    """
    if parse_python(source) is not None:
        return source
    if magic := _CELL_MAGIC.match(source):
        body = python_lines(source[magic.end() :]) if magic[1] in _PYTHON_BODIES else None
        return None if body is None else "\n" * magic[0].count("\n") + body
    text = "".join(_rewritten(source))
    return None if parse_python(text) is None else text


def cell_magics(source: str) -> list[tuple[str, str, int]]:
    """The cell magics around a body, the outermost first: name, rest of the line, and where the body begins."""
    found: list[tuple[str, str, int]] = []
    begin = 0
    while (magic := _CELL_MAGIC.match(source, begin)) is not None:
        begin = magic.end()
        found.append((magic[1], magic[2].strip(), begin))
        if magic[1] not in _PYTHON_BODIES:
            break
    return found


def digest_of(text: str) -> str:
    """The digest of a text, which may hold what UTF-8 cannot (lone surrogates in a literal)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def parse_python(source: str | bytes) -> ast.Module | None:
    """The syntax tree, or None for what is not Python or is too deep for the parser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence" is for the author, not for the reader
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def normalised(tree: ast.Module) -> str | None:
    """The code without layout and comments; docstrings stay. None where the tree is too deep to be written."""
    try:
        return ast.unparse(tree)
    except ValueError:  # CPython 3.11 cannot write some nested f-strings
        return ast.dump(tree)
    except RecursionError:
        return None


def tree_of(source: str) -> ast.Module | None:
    """The cell as Python, its magics and shell lines as the calls that IPython makes of them; None where it is none."""
    return syntax_of(source)[1]


@functools.lru_cache(512)
def names_loaded(source: str) -> frozenset[str] | None:
    """The names that the code uses, in its functions too; None for what is not Python."""
    tree = tree_of(source)
    if tree is None:
        return None
    used = set()
    for node in ast.walk(tree):
        name = node.target if isinstance(node, ast.AugAssign) else node
        if isinstance(name, ast.Name) and (name is not node or isinstance(name.ctx, ast.Load)):
            used.add(name.id)
    return frozenset(used)


@functools.lru_cache(512)
def syntax_of(source: str) -> tuple[str, ast.Module | None]:
    """The text that stands for a cell, equal for equal code, and its tree; None where it is not Python."""
    tree = _tree(source)
    text = None if tree is None else normalised(tree)
    if text is None:
        return "\n".join(line.rstrip() for line in source.strip().splitlines()), tree
    return text + (";" if _ends_silently(source) else ""), tree


def _ends_silently(source: str) -> bool:
    """Whether the last token is ``;``, which keeps IPython from showing the value."""
    if ";" not in source:
        return False
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.string.strip() and token.type not in {tokenize.COMMENT, tokenize.ENDMARKER}:
                last = token.string
    except (tokenize.TokenError, SyntaxError):  # a magic that is no Python; what came last so far decides
        return False
    return last == ";"


def _tree(source: str) -> ast.Module | None:
    if (tree := parse_python(source)) is not None:
        return tree
    if magic := _CELL_MAGIC.match(source):
        name, line, body = magic[1], magic[2].strip(), source[magic.end() :]
        inner = _tree(body) if name in _PYTHON_BODIES else None
        arguments = (name, line) if inner is not None else (name, line, body)
        tree = parse_python(f"get_ipython().run_cell_magic{_call(*arguments)}")
        if tree is not None and inner is not None:
            tree.body += inner.body
        return tree
    return parse_python("".join(_rewritten(source)))


def _call(*arguments: str) -> str:
    return f"({', '.join(map(repr, arguments))})"


def _rewritten(source: str) -> Iterator[str]:
    """The lines, with magics, shell lines and questions as calls; only where a statement can begin."""
    lines = list(io.StringIO(source))  # not splitlines, which also breaks at form feeds and the like
    quote, depth, continued = "", 0, False
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if not quote and depth <= 0 and not continued:
            if match := _LINE.match(line):
                first = place
                while line.rstrip("\r\n").endswith("\\") and place < len(lines):
                    line = line.rstrip("\r\n")[:-1] + lines[place]
                    place += 1
                match = _LINE.match(line) or match
                yield _line_call(match) + "\n" * (1 + place - first)  # so that the lines below keep their numbers
                continue
            if match := _HELP.fullmatch(line):
                asked = match["before"] or match["after"]
                yield f"{match['indent']}get_ipython().run_line_magic{_call('pinfo', asked)}\n"
                continue
        quote, depth, continued = _state_after(line, quote, depth)
        yield line


def _line_call(match: re.Match[str]) -> str:
    head = match["indent"] + (f"{match['target'].rstrip()} = " if match["target"] else "")
    rest = match["rest"].strip()
    if match["mark"] != "%":
        verb = "system" if match["mark"] == "!" and not match["target"] else "getoutput"
        return f"{head}get_ipython().{verb}{_call(rest)}"
    name, _, line = rest.partition(" ")
    if name in _PYTHON_LINES and not match["target"]:
        code = _OPTIONS.sub("", line, count=1)
        if parse_python(code) is not None:
            options = line.removesuffix(code).strip()
            return f"{head}get_ipython().run_line_magic{_call(name, options)}; {code}"
    return f"{head}get_ipython().run_line_magic{_call(name, line.strip())}"


def _state_after(line: str, quote: str, depth: int) -> tuple[str, int, bool]:
    """The string that is open at the end of the line, the depth of brackets, and whether the line goes on."""
    continued = False
    for match in _MARKS.finditer(line.rstrip("\r\n")):
        mark = match[0]
        if quote:
            if mark == quote or (len(quote) == 1 and mark == quote * 3):
                quote = ""
            continued = mark == "\\"
        elif mark == "#":
            break
        elif mark[0] in "\"'":
            quote = mark
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        else:
            continued = mark == "\\"
    if len(quote) == 1 and not continued:
        quote = ""
    return quote, depth, continued
