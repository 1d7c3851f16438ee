"""What a notebook reads, writes and depends on, as far as its code says so."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from nbmlops.errors import InvalidValue
from nbmlops.notebook import known
from nbmlops.notebook.cells import code_digests
from nbmlops.notebook.literals import Scope, Unknown, bound_names, scope
from nbmlops.notebook.magic_lines import Line, read_line
from nbmlops.notebook.parameters import TAG, tagged
from nbmlops.refs import parse

Place = tuple[int, str]


@dataclass(frozen=True)
class Uses:
    """``reads`` and ``writes`` are references such as ``dataset:sales@3``; ``files`` are literal local paths.

    ``variables`` are environment variables. ``dynamic`` and ``impure`` tell the cell's number and, in words, what is
    no literal there, and what depends on something that no fingerprint holds.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    dynamic: tuple[Place, ...] = ()
    impure: tuple[Place, ...] = ()


def uses(document: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> Uses:
    """What the code cells read and write by a literal name, and what is not known or never the same.

    ``values`` are parameters as they will be given: names made of them are then known.
    """
    cells = code_digests(document)
    place = tagged(document, TAG)
    parameters: set[str] = set()
    others: set[str] = set()
    for cell in cells:
        if cell.tree is not None:
            (parameters if cell.number - 1 == place else others).update(bound_names(cell.tree))
    given = {name: value for name, value in (values or {}).items() if name in parameters and name not in others}
    names = scope(tuple(cell.tree for cell in cells if cell.tree is not None), parameters, given)
    unread = [(cell.number, "is not Python that can be read here") for cell in cells if cell.tree is None]
    found = found_in(((cell.number, cell.tree) for cell in cells if cell.tree is not None), names)
    return found if not unread else merged(found, Uses(impure=tuple(unread)))


def found_in(trees: Iterable[tuple[int, ast.AST]], names: Scope) -> Uses:
    """What these trees use; each goes with the number of the cell it belongs to."""
    notes = _Notes(names)
    for number, tree in trees:
        notes.cell = number
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                _note_call(node, notes)
            elif isinstance(node, ast.Subscript) and names.origin(node.value) == "os.environ":
                notes.variable(node.slice)
    return notes.uses()


def merged(*parts: Uses) -> Uses:
    """Several findings as one, each thing once; what is told of cells is in their order."""
    lists: dict[str, dict[Any, None]] = {name: {} for name in Uses.__dataclass_fields__}
    for part in parts:
        for name, things in lists.items():
            things.update(dict.fromkeys(getattr(part, name)))
    for name in ("dynamic", "impure"):
        lists[name] = dict.fromkeys(sorted(lists[name], key=lambda place: place[0]))
    return Uses(**{name: tuple(things) for name, things in lists.items()})


@dataclass
class _Notes:
    """What has been found so far, in order, and the cell that is being read."""

    names: Scope
    cell: int = 0
    found: dict[str, dict[Any, None]] = field(default_factory=dict)

    def uses(self) -> Uses:
        return Uses(**{name: tuple(things) for name, things in self.found.items()})

    def add(self, kind: str, thing: Any) -> None:
        self.found.setdefault(kind, {})[thing] = None

    def dynamic(self, what: str) -> None:
        self.add("dynamic", (self.cell, what))

    def impure(self, what: str) -> None:
        self.add("impure", (self.cell, what))

    def reference(self, kind: str, role: str, text: Any, verb: str) -> None:
        """Note ``reads`` or ``writes`` of a reference; text that is none is left for the run to complain about."""
        if not isinstance(text, str):
            return
        try:
            self.add(role, str(parse(text, kind)))
        except InvalidValue:
            self.dynamic(f"{verb}: {text!r} is no reference to a {kind}")

    def value(self, node: ast.expr | None) -> Any:
        """The value of an argument; None where it is not given or not known."""
        try:
            return None if node is None else self.names.value(node)
        except Unknown:
            return None

    def file(self, node: ast.expr, verb: str) -> None:
        """Note a file that is read, or an address that is fetched."""
        try:
            path = self.names.value(node)
        except Unknown:
            if not isinstance(node, ast.Call):  # the value of a call is more often a buffer than a path
                self.dynamic(f"{verb} reads a file whose path is not a literal: {_shown(node)}")
            return
        for one in path if isinstance(path, list) else [path]:
            self.path(one, verb)

    def path(self, path: Any, verb: str) -> None:
        """Note a known path; text that holds data, as ``read_json`` takes it, is none."""
        if not isinstance(path, str | PurePath) or "\n" in str(path) or not str(path):
            return
        text = str(path)
        if "://" in text and not text.startswith("file://"):
            self.impure(f"reads from the network: {verb} of {text.partition('://')[0]}://…")
        elif any(mark in text for mark in "*?["):
            self.dynamic(f"{verb} reads all files that match {text!r}")
        else:
            self.add("files", text.removeprefix("file://"))

    def variable(self, node: ast.expr) -> None:
        name = self.value(node)
        if isinstance(name, str):
            self.add("variables", name)
        else:
            self.dynamic(f"reads an environment variable whose name is not a literal: {_shown(node)}")


def _shown(node: ast.AST, most: int = 60) -> str:
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):
        return "an expression"
    return text if len(text) <= most else text[: most - 1] + "…"


def _note_call(node: ast.Call, notes: _Notes) -> None:
    origin = notes.names.origin(node.func)
    if not origin:
        _note_plain_call(node, notes)
        return
    if origin.startswith("nbmlops."):
        _note_verb(node, origin.removeprefix("nbmlops."), notes)
    elif why := known.impurity(origin, len(node.args) + len(node.keywords)):
        notes.impure(f"{why}: {origin}()")
    elif origin in {"os.getenv", "os.environ.get"} and node.args:
        notes.variable(node.args[0])
    elif origin in known.FOLDER_READERS:
        notes.dynamic(f"reads the names or files of a folder: {origin}()")
    elif known.reads_file(origin):
        path = _argument(node, 0, *known.PATH_KEYWORDS)
        if path is not None and not _writes(node, origin, notes):
            notes.file(path, origin)


def _note_plain_call(node: ast.Call, notes: _Notes) -> None:
    """``open``, methods of paths, magics and shell lines: calls that start at no imported name."""
    func = node.func
    if isinstance(func, ast.Name):
        if func.id == "open" and (path := _argument(node, 0, "file")) is not None and not _writes(node, "open", notes):
            notes.file(path, "open")
        return
    if not isinstance(func, ast.Attribute):
        return
    match func.value:
        case ast.Call(func=ast.Name(id="get_ipython"), args=[]):
            _note_ipython(func.attr, [notes.value(argument) for argument in node.args], notes)
            return
    base = notes.value(func.value)
    if not isinstance(base, PurePath):
        return
    if func.attr in {"read_text", "read_bytes"} or (func.attr == "open" and not _writes(node, "path", notes)):
        notes.path(base, "Path")
    elif func.attr in {"glob", "rglob", "iterdir", "walk"}:
        notes.dynamic(f"reads the names or files of a folder: {base}")


def _argument(node: ast.Call, place: int, *names: str) -> ast.expr | None:
    """An argument by place or name; None where it is not there, or hidden behind a star."""
    if place < len(node.args) and not any(isinstance(a, ast.Starred) for a in node.args[: place + 1]):
        return node.args[place]
    return next((k.value for k in node.keywords if k.arg in names), None)


def _writes(node: ast.Call, verb: str, notes: _Notes) -> bool:
    """Whether the mode of ``open`` is one that does not read."""
    if verb not in {"open", "path", "io.open", "gzip.open", "bz2.open", "lzma.open"}:
        return False
    mode = notes.value(_argument(node, 0 if verb == "path" else 1, "mode"))
    return isinstance(mode, str) and any(letter in mode for letter in "wax") and "+" not in mode


def _note_verb(node: ast.Call, verb: str, notes: _Notes) -> None:
    """A function of nbmlops."""
    if why := known.IMPURE_VERBS.get(verb):
        notes.impure(f"{why}: nbmlops.{verb}()")
    if verb not in known.VERBS:
        return
    kind, role, place, name = known.VERBS[verb]
    argument = _argument(node, place, name)
    try:
        text = None if argument is None else notes.names.value(argument)
    except Unknown:
        what = "reads" if role == "reads" else "writes"
        notes.dynamic(f"{verb} {what} a {kind} whose name is not a literal: {_shown(argument or node)}")
        text = None
    notes.reference(kind, role, text, verb)
    if verb == "split_dataset":
        _note_parts(node, text, notes)
    for place, name in known.PATHS_OF_VERBS.get(verb, ()):
        if isinstance(path := notes.value(_argument(node, place, name)), str | PurePath):
            _note_data(path, verb, notes)


def _note_data(path: str | PurePath, verb: str, notes: _Notes) -> None:
    """Data given by name: a reference, or a file."""
    text = str(path)
    if text.startswith("dataset:"):
        notes.reference("dataset", "reads", text, verb)
    elif not text.startswith(("run:", "model:", "runs:/", "models:/")) and text != "folders":
        notes.path(path, verb)


def _note_parts(node: ast.Call, ref: Any, notes: _Notes) -> None:
    """What ``split_dataset`` writes: ``NAME-PART`` for each key of its parts."""
    parts = _argument(node, 1, "parts")
    keys = parts.keys if isinstance(parts, ast.Dict) else None
    names = [notes.value(key) for key in keys] if keys is not None else list(notes.value(parts) or ())
    if not names or not all(isinstance(name, str) for name in names):
        notes.dynamic("split_dataset writes parts whose names are not literals")
    elif isinstance(ref, str):
        _note_split(ref, names, notes)


def _note_split(ref: str, parts: Iterable[str], notes: _Notes) -> None:
    try:
        name = parse(ref, "dataset").name
    except InvalidValue:
        return  # told already
    for part in parts:
        notes.add("writes", f"dataset:{name}-{part}")


def _note_ipython(verb: str, arguments: list[Any], notes: _Notes) -> None:
    """A magic or shell line, as the call that IPython makes of it."""
    texts = [argument if isinstance(argument, str) else "" for argument in arguments]
    if verb in {"system", "getoutput", "getoutputs"}:
        fetches = {"curl", "wget"} & set(" ".join(texts).split())
        notes.impure(f"{'uses the network' if fetches else 'runs a command'}: !{' '.join(texts)[:60]}")
    elif verb in {"run_line_magic", "run_cell_magic"} and texts:
        mark = "%" if verb == "run_line_magic" else "%%"
        line = texts[1] if len(texts) > 1 else ""
        if why := known.IMPURE_MAGICS.get(texts[0]):
            notes.impure(f"{why}: {mark}{texts[0]} {line}"[:80].rstrip())
        elif texts[0] == "mlops" and mark == "%":
            _note_line(read_line(line), notes)


def _note_line(line: Line, notes: _Notes) -> None:
    """What a line ``%mlops …`` does."""
    if line.impure:
        notes.impure(line.impure)
    for role, kind, text in line.references:
        if any(mark in text for mark in "{$"):
            verb = "reads" if role == "reads" else "writes"
            notes.dynamic(f"%mlops {verb} a {kind} whose name is not a literal: {text}")
        else:
            notes.reference(kind, role, text, "%mlops")
    for path in line.files:
        notes.path(path, "%mlops")
    if line.parts:
        ref, parts = line.parts
        _note_split(ref, parts, notes)
