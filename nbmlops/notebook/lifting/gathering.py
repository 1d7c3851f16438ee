"""The imports of the kept cells, brought together at the top where that changes nothing."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence

from nbmlops.notebook.lifting.cell import Draft, at_once, bindings, needed_before, words
from nbmlops.notebook.literals import Scope

# Importing one of these does nothing that anybody could miss, so that an unused import may go.
_QUIET = {
    "IPython", "category_encoders", "imblearn", "joblib", "lightgbm", "matplotlib", "mlxtend", "nbmlops", "numpy",
    "optuna", "pandas", "plotly", "polars", "pyarrow", "scipy", "seaborn", "sklearn", "statsmodels", "tqdm", "xgboost",
}  # fmt: skip
_LOUD = re.compile(r"sklearn\.experimental|antigravity|this$|readline|tqdm\.pandas|plotly\.io")
# What may decide which module an import finds, or what the module does when it is imported.
_MACHINERY = ("sys.path", "sys.modules", "sys.meta_path", "os.chdir", "os.putenv", "site.", "importlib.", "runpy.")
_ENVIRONMENT = "os.environ"
_QUIET_MAGICS = {"load_ext", "matplotlib", "config", "time", "timeit", "mlops", "who", "whos", "pinfo", "precision",
                 "memit", "prun", "reload_ext"}  # fmt: skip


def gather(drafts: Sequence[Draft], names: Scope, more: Sequence[str] = ()) -> str:
    """The source of the imports cell; what it holds is taken out of the cells. ``more`` are further imports.

    An import stays where it is if its name was used or set before it, if it is part of another statement, or if
    something before it may decide what is imported: paths, environment variables, files that cells write.
    """
    chosen = list(_movable(drafts, names))
    rest = _words_beside(drafts, {(cell, place) for cell, place, _ in chosen})
    kept: dict[tuple[object, ...], str] = {}
    for cell, place, statement in chosen:
        draft = drafts[cell]
        draft.dropped.add(place)
        used = [alias for alias in statement.names if _is_used(statement, alias, rest, chosen)]
        fresh = [alias for alias in used if _key(statement, alias) not in kept]
        if not fresh:
            continue
        text = draft.written(statement) if len(fresh) == len(statement.names) else _without(statement, fresh)
        kept.update(dict.fromkeys((_key(statement, alias) for alias in fresh), ""))
        kept[_key(statement, fresh[0])] = text
    lines = [text for text in kept.values() if text]
    lines += [line for line in dict.fromkeys(more) if line not in lines]
    return "\n".join(sorted(lines, key=lambda line: not line.startswith("from __future__")))


Import = ast.Import | ast.ImportFrom


def _movable(drafts: Sequence[Draft], names: Scope) -> Iterator[tuple[int, int, Import]]:
    """Cell, place in it, and statement of each import that can stand first."""
    seen: set[str] = set()
    moved: dict[tuple[object, ...], set[str]] = {}
    pure = True  # nothing but imports so far
    for number, draft in enumerate(drafts):
        if draft.opaque:
            return
        for place, statement in enumerate(draft.statements):
            if isinstance(statement, Import) and draft.is_native(statement):
                bound = set(bindings(statement))
                keys = {_key(statement, alias) for alias in statement.names}
                again = all(key in moved for key in keys) and _bound_once(drafts, bound, keys)
                if "*" in bound and not pure:
                    return  # what it sets is not known: later imports keep their place behind it
                if again or seen.isdisjoint(bound):
                    moved.update(dict.fromkeys(keys, bound))
                    yield number, place, statement
                    continue
            pure = False
            if disturbs(statement, names):
                return
            seen |= needed_before(statement)


def _bound_once(drafts: Sequence[Draft], bound: set[str], keys: set[tuple[object, ...]]) -> bool:
    """Whether nothing but these very imports sets the names, so that a repeated import does nothing."""
    for statement in (statement for draft in drafts for statement in draft.statements):
        if isinstance(statement, Import):
            names = {(a.asname or a.name).partition(".")[0] for a in statement.names if _key(statement, a) not in keys}
        else:
            names = set(bindings(statement))
        if not bound.isdisjoint(names):
            return False
    return True


def disturbs(statement: ast.stmt, names: Scope) -> bool:
    """Whether a statement may decide what a later import finds or does."""
    for node in at_once(statement):
        if isinstance(node, ast.Attribute | ast.Name) and names.origin(node).startswith(_MACHINERY):
            return True
        if isinstance(node, ast.Subscript) and names.origin(node.value) == _ENVIRONMENT:
            if not isinstance(node.ctx, ast.Load):
                return True
        elif isinstance(node, ast.Call):
            if names.origin(node.func) in {f"{_ENVIRONMENT}.{verb}" for verb in ("update", "setdefault", "pop")}:
                return True
            if magic := magic_of(node):
                return magic not in _QUIET_MAGICS
            if isinstance(node.func, ast.Name) and node.func.id in {"exec", "eval", "__import__"}:
                return True
    return False


def magic_of(node: ast.AST) -> str:
    """The name of the magic that a call runs; ``!`` for a shell line, empty for any other call."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=verb), args=arguments):
            if verb in {"run_line_magic", "run_cell_magic"} and arguments and isinstance(arguments[0], ast.Constant):
                return str(arguments[0].value)
            return "!"
    return ""


def _key(statement: Import, alias: ast.alias) -> tuple[object, ...]:
    if isinstance(statement, ast.Import):
        return "import", alias.name, alias.asname
    return "from", statement.level, statement.module, alias.name, alias.asname


def _words_beside(drafts: Sequence[Draft], imports: set[tuple[int, int]]) -> set[str]:
    """Every word of the cells but those of the imports; comments too, for a name too many does no harm."""
    found: set[str] = set()
    for number, draft in enumerate(drafts):
        text = draft.text
        spans = [draft.span(s) for place, s in enumerate(draft.statements) if (number, place) in imports]
        for begin, end in sorted(spans, reverse=True):
            text = text[:begin] + text[end:]
        found |= words(text)
    return found


def _is_used(statement: Import, alias: ast.alias, rest: set[str], chosen: Sequence[tuple[int, int, Import]]) -> bool:
    """Whether the name occurs anywhere, or importing it may be its purpose."""
    module = alias.name if isinstance(statement, ast.Import) else statement.module or ""
    root = module.partition(".")[0]
    name = (alias.asname or alias.name).partition(".")[0]
    if (
        name in rest
        or alias.name == "*"
        or module == "__future__"
        or (isinstance(statement, ast.ImportFrom) and statement.level)
    ):
        return True
    if "." in module and root in rest and any(root in bindings(other) for _, _, other in chosen):
        return True  # `import matplotlib.pyplot as plt` makes `matplotlib.pyplot` known to all
    return bool(_LOUD.match(module)) or not (root in _QUIET or root in sys.stdlib_module_names)


def _without(statement: Import, aliases: list[ast.alias]) -> str:
    if isinstance(statement, ast.Import):
        return ast.unparse(ast.Import(names=aliases))
    return ast.unparse(ast.ImportFrom(module=statement.module, names=aliases, level=statement.level))
