"""One cell as text that can be changed here and there, everything else staying as it was written."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from nbmlops.notebook.cells import cell_magics, parse_python, python_lines

# Cell magics that only measure or hide what their body does; the body alone does the same.
_AROUND = {"time", "memit", "mprun", "prun"}
_ELSEWHERE = {"timeit"}  # the body runs in a function of its own, and leaves no names
_WORD = re.compile(r"[^\W\d]\w*")
_COMMENT = re.compile(r"[ \t]*;?[ \t]*#[ \t]*(.*)")
_READ_AS_CODE = {"eval", "exec", "query", "run_line_magic", "run_cell_magic", "system", "getoutput"}

_BUILTINS = frozenset(dir(builtins))

Span = tuple[int, int]
Edit = tuple[int, int, str]


@dataclass(frozen=True)
class Cell:
    """A cell that is kept. ``label`` is how people find it, ``heading`` the markdown heading right above it.

    ``raises``: it ended with an error, and is kept for what it did before.
    """

    source: str
    label: str = ""
    heading: str = ""
    raises: bool = False


@dataclass
class Draft:
    """A cell and the changes it is to get. ``statements`` is empty where its text is no Python."""

    cell: Cell
    text: str
    statements: list[ast.stmt]
    foreign: frozenset[int] = frozenset()  # lines that stand otherwise in the text than in the tree
    opaque: bool = False
    dropped: set[int] = field(default_factory=set)
    edits: list[Edit] = field(default_factory=list)

    @classmethod
    def of(cls, cell: Cell) -> Draft:
        """The cell without the magics that only measure it."""
        text = cell.source.replace("\r\n", "\n").replace("\r", "\n")
        while (magics := cell_magics(text)) and magics[0][0] in _AROUND:
            text = text[magics[0][2] :]
        python = None if any(name in _ELSEWHERE for name, _, _ in magics) else python_lines(text)
        tree = None if python is None else parse_python(python)
        if python is None or tree is None:
            return cls(cell, text, [], opaque=True)
        pairs = zip(text.split("\n"), python.split("\n"), strict=False)
        foreign = frozenset(number for number, (own, read) in enumerate(pairs, 1) if own != read)
        return cls(cell, text, tree.body, foreign)

    @property
    def magics(self) -> list[tuple[str, str, int]]:
        return cell_magics(self.text)

    def place(self, line: int, column: int) -> int:
        """The character at a line and a column of the tree, which counts bytes."""
        begin = 0
        for _ in range(line - 1):
            begin = self.text.index("\n", begin) + 1
        head = self.text[begin:].partition("\n")[0].encode("utf-8", "surrogatepass")[:column]
        return begin + len(head.decode("utf-8", "surrogatepass"))

    def span(self, node: ast.stmt | ast.expr | ast.keyword) -> Span:
        """Where a node begins and ends."""
        return (
            self.place(node.lineno, node.col_offset),
            self.place(node.end_lineno or node.lineno, node.end_col_offset or 0),
        )

    def written(self, node: ast.stmt | ast.expr | ast.keyword) -> str:
        """A node as it is written."""
        begin, end = self.span(node)
        return self.text[begin:end]

    def is_native(self, node: ast.stmt | ast.expr) -> bool:
        """Whether the node stands in the text just as in the tree, so that it may be changed."""
        return self.foreign.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1))

    def comment(self, node: ast.stmt) -> str:
        """The comment behind a statement, on its last line."""
        match = _COMMENT.match(self.text, self.span(node)[1])
        return match[1].strip() if match else ""

    def result(self) -> str:
        """The text with all changes; empty where nothing but comments is left of what were statements."""
        edits = [*self.edits, *self._removals()]
        text = self.text
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new + text[end:]
        if self.dropped and len(self.dropped) == len(self.statements):
            rest = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "%%"))]
            text = text if rest else ""
        return re.sub(r"\n{3,}", "\n\n\n", text).strip("\n") if self.dropped else text

    def _removals(self) -> Iterator[Edit]:
        """Statements that share a line are parted by semicolons: what is left of them is written anew."""
        for group in self._groups():
            if self.dropped.isdisjoint(group):
                continue
            first, last = self.statements[group[0]], self.statements[group[-1]]
            begin, end = self.span(first)[0], self.span(last)[1]
            left = [self._changed(i) for i in group if i not in self.dropped]
            if left:
                yield begin, end, "; ".join(left)
                continue
            line_end = self.text.find("\n", end)
            yield begin, len(self.text) if line_end < 0 else line_end + 1, ""

    def _changed(self, index: int) -> str:
        """A statement with the edits inside it, which are then no edits of the cell any more."""
        begin, end = self.span(self.statements[index])
        inside = [edit for edit in self.edits if begin <= edit[0] and edit[1] <= end]
        text = self.text[begin:end]
        for start, stop, new in sorted(inside, reverse=True):
            text = text[: start - begin] + new + text[stop - begin :]
        return text

    def _groups(self) -> list[list[int]]:
        groups: list[list[int]] = []
        line = -1
        for index, statement in enumerate(self.statements):
            if statement.lineno == line and groups:
                groups[-1].append(index)
            else:
                groups.append([index])
            line = statement.end_lineno or statement.lineno
        return groups


def mentioned(node: ast.AST) -> set[str]:
    """All names that occur in a node at any depth, also in texts that are read as code."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            found.update(one.names)
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.alias):
            found.add((one.asname or one.name).partition(".")[0])
        elif isinstance(one, ast.Call) and _last(one.func) in _READ_AS_CODE:
            found.update(_words(one))
    return found


def needed_before(node: ast.AST) -> set[str]:
    """The names that a statement may look up when it runs: those in the functions it defines come later.

    Of the latter only names of builtins count: before something else bears the name, the builtin is found.
    """
    found = {name for one in at_once(node) for name in _own_names(one)}
    return found | (mentioned(node) & _BUILTINS)


def _own_names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Call):
        return _words(node) if _last(node.func) in _READ_AS_CODE else set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Name):
        return {node.id if isinstance(node, ast.Name) else node.name}
    return {(node.asname or node.name).partition(".")[0]} if isinstance(node, ast.alias) else set()


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(call: ast.Call) -> set[str]:
    texts = [
        n.value for a in call.args for n in ast.walk(a) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    return {word for text in texts for word in _WORD.findall(text)}


def words(text: str) -> set[str]:
    """Everything in a text that could be a name."""
    return set(_WORD.findall(text))


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are evaluated when the statement runs, not those inside the functions it defines."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children: Collection[ast.AST] = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    elif isinstance(node, ast.Lambda):
        children = [node.args]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from at_once(child)


def bindings(node: ast.AST) -> Iterator[str]:
    """The names of the notebook that a statement sets or deletes, each as often as it does."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            yield from (n for one in ast.walk(node) if isinstance(one, ast.Global) for n in one.names)
            return
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            walruses = (one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr))
            yield from walruses
            return
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in names)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from bindings(child)
