"""The time machine: earlier versions of cells and of variables, from what has been executed.

Pure functions over executions in the order in which they ran, those of earlier sessions of the same notebook first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nbmlops.cells.brief import first_line
from nbmlops.errors import InvalidValue, NotFound, UsageFault
from nbmlops.notebook import recorder
from nbmlops.notebook.assignments import HIDDEN
from nbmlops.records import CellExecution, CellHistory, CellVersion

if TYPE_CHECKING:
    from nbmlops.cells import Cells

SESSIONS = 20  # earlier sessions of a notebook that are looked through
SHOWN = 10
_SHORT_ID = 6
_LONGEST = 120  # characters of a result
_LOOKING = (
    "history|restore|check|reproduce|extract|runs|datasets|models|pipelines|flows|experiments|dashboard|why|doctor|help|"
    r"(run|dataset|model|flow|pipeline)\s+(show|list|status|plan|graph|env|compare|diff|card)|compare|diff|store\s+info"
)
_ONLY_LOOKS = re.compile(rf"\s*%mlops(\s+({_LOOKING})\b[^\n]*)?\s*")
_MASK = re.compile(r"\[secret (env|file):[^\]]*\]|" + re.escape(HIDDEN))
_REF = re.compile(r"(?P<what>.+?)(?:@(?P<version>\d+))?")
_COUNT = re.compile(r"\[?(\d+)\]?")
_NUMBER = re.compile(r"#(\d+)")


# --- what there is ------------------------------------------------------------------------------------------------
def here(cells: Cells) -> list[CellExecution]:
    """What ran in this process, and before that in earlier sessions of its notebook.

    Raises:
        UsageFault: nothing is recorded here.
    """
    current = recorder.current()
    if current is None or not current.recording:
        why = "the journal of cells is off here" if current is not None else "no cell is recorded in this process"
        raise UsageFault(why, "%load_ext nbmlops begins; NBMLOPS_JOURNAL=0 and journal = false switch it off")
    return of_session(cells, current.session_id)


def of_session(cells: Cells, session_id: str) -> list[CellExecution]:
    """What ran in a session, after what ran in earlier sessions of the same notebook."""
    cells.fold()
    this = [s for s in cells.sessions() if s.session_id == session_id]
    if not this:
        return []
    same = cells.sessions(this[0].notebook, SESSIONS) if this[0].notebook else this
    older = [s for s in reversed(same) if s.started_at <= this[0].started_at and s.session_id != session_id]
    return [e for session in (*older, this[0]) for e in cells.executions(session.session_id)]


def told(executions: Iterable[CellExecution]) -> list[CellExecution]:
    """Without cells that only looked at what is there, such as the one that does so now."""
    return [e for e in executions if e.source.strip() and not _ONLY_LOOKS.fullmatch(e.source)]


# --- cells and variables ------------------------------------------------------------------------------------------
def cell_key(execution: CellExecution) -> str:
    """What makes two executions those of one cell: its id; a terminal has none, and each input is a cell of its own."""
    return execution.cell_id or f"{execution.session_id}#{execution.number}"


def cell_names(executions: Sequence[CellExecution]) -> dict[str, str]:
    """A short name for each cell: the number that stands beside it now, else the beginning of its id.

    Of an earlier session's cell the number says nothing now.
    """
    last: dict[str, CellExecution] = {cell_key(e): e for e in executions}
    now = executions[-1].session_id if executions else ""
    ids = [_plain_id(e.cell_id) for e in last.values() if e.cell_id]
    found = {}
    for key, execution in last.items():
        if execution.session_id == now and execution.count is not None:
            found[key] = str(execution.count)
        elif execution.session_id == now and not execution.cell_id:
            found[key] = f"#{execution.number}"
        elif execution.cell_id:
            found[key] = _shortened(_plain_id(execution.cell_id), ids)
        else:
            found[key] = execution.execution_id[-8:].lower()
    return found


def _plain_id(cell_id: str) -> str:
    """VS Code's ids are addresses, of which all but the end is the same for all cells."""
    return cell_id.rpartition("#")[2] or cell_id


def _shortened(text: str, others: Sequence[str]) -> str:
    """The first characters that no other id begins with."""
    for length in range(_SHORT_ID, len(text)):
        if sum(other.startswith(text[:length]) for other in others) == 1:
            return text[:length]
    return text


def versions_of_cell(executions: Sequence[CellExecution], cell: str) -> list[CellVersion]:
    """The versions of a cell, the oldest first.

    Args:
        cell: ``[3]`` or ``3`` as in ``In [3]``, also of an earlier execution of the cell; ``#7``, the number of an
            execution; or the beginning of the cell's id.

    Raises:
        NotFound: there is no such cell, or there are several.
    """
    known = told(executions)
    key = _find_cell(known, cell.strip())
    name = cell_names(known)[key]
    return _versions(name, [e for e in known if cell_key(e) == key])


def versions_of_name(executions: Sequence[CellExecution], name: str) -> list[CellVersion]:
    """The texts of the cells that assigned a variable, one after the other; the oldest first, and empty if none did."""
    return _versions(name, [e for e in told(executions) if name in e.stored])


def find(executions: Sequence[CellExecution], what: str) -> CellHistory:
    """The versions of what is named: a cell as :func:`versions_of_cell` takes it, else a variable.

    Raises:
        NotFound: there is neither.
    """
    what = what.strip()
    if not (_COUNT.fullmatch(what) or _NUMBER.fullmatch(what)):
        versions = versions_of_name(executions, what)
        if versions:
            return CellHistory("variable", what, tuple(versions))
    versions = versions_of_cell(executions, what)
    return CellHistory("cell", versions[-1].name, tuple(versions))


def pick(executions: Sequence[CellExecution], ref: str) -> CellVersion:
    """One version: ``[3]@2``, ``3@2``, ``abc123@2``, ``NAME@2``; without a number the latest.

    Raises:
        NotFound: no such cell, variable or version.
        InvalidValue: it names nothing.
    """
    match = _REF.fullmatch(ref.strip())
    if match is None:
        raise InvalidValue("nothing is named", "%mlops restore CELL@N, for example 3@2")
    versions = find(executions, match["what"]).versions
    number = int(match["version"] or len(versions))
    if not 1 <= number <= len(versions):
        many = f"versions 1 to {len(versions)}" if len(versions) > 1 else "one version"
        raise NotFound(f"no version {number} of {match['what']!r}", f"there is {many}: %mlops history {match['what']}")
    return versions[number - 1]


def _find_cell(known: Sequence[CellExecution], cell: str) -> str:
    """The key of the cell that is meant; a number means this session's, and its latest."""
    for execution in reversed(known):
        if execution.session_id != known[-1].session_id:
            break
        if (count := _COUNT.fullmatch(cell)) and execution.count == int(count[1]):
            return cell_key(execution)
        if (number := _NUMBER.fullmatch(cell)) and execution.number == int(number[1]):
            return cell_key(execution)
    names = cell_names(known)
    matching = [key for key, name in names.items() if name == cell] or [
        key for e in known if (key := cell_key(e)) and e.cell_id and cell and _begins(e.cell_id, cell)
    ]
    matching = list(dict.fromkeys(matching))
    if len(matching) > 1:
        raise NotFound(
            f"{cell!r} is the beginning of {len(matching)} cells' ids", f"write more: {', '.join(matching[:5])}"
        )
    if not matching:
        there = [*(f"[{name}]" if name.isdecimal() else name for name in names.values()), *_variables(known)]
        raise NotFound.of("cell or variable", cell, list(reversed(there)), "" if there else "nothing has run here yet")
    return matching[0]


def _begins(cell_id: str, text: str) -> bool:
    return cell_id.startswith(text) or _plain_id(cell_id).startswith(text)


def _variables(known: Iterable[CellExecution]) -> Iterator[str]:
    yield from dict.fromkeys(name for e in known for name in e.stored)


# --- versions -----------------------------------------------------------------------------------------------------
def _versions(name: str, executions: Sequence[CellExecution]) -> list[CellVersion]:
    """The same text in a row is one version; another one between makes two of it."""
    found: list[CellVersion] = []
    now = executions[-1].session_id if executions else ""
    for _, group in groupby(executions, key=lambda e: e.source.strip()):
        same = list(group)
        last = same[-1]
        found.append(
            CellVersion(
                name=name,
                version=len(found) + 1,
                source=last.source,
                label=last.label,
                times=len(same),
                status=last.status,
                result=result(last),
                started_at=last.started_at,
                seconds=last.seconds,
                runs=_each(same, lambda e: e.runs),
                metrics=_each(same, lambda e: (t.name for t in e.touched if t.kind == "metric")),
                line=first_line(last.source),
                change=changed(found[-1].source, last.source) if found else "",
                masked=_MASK.search(last.source) is not None,
                earlier=last.session_id != now,
                execution_id=last.execution_id,
            )
        )
    return found


def _each(executions: Iterable[CellExecution], of: Callable[[CellExecution], Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for e in executions for text in of(e)))


def changed(before: str, now: str) -> str:
    """The lines that differ, marked ``-`` and ``+``, without those around them."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in list(lines)[2:] if not line.startswith("@@"))


def result(execution: CellExecution) -> str:
    """What a cell showed, in one short line: its error, else its value, else the last line that it printed."""
    if execution.error:
        return _line(f"{execution.error.get('name', 'Error')}: {execution.error.get('message', '')}")
    for output in reversed(execution.outputs):
        data = output.get("data")
        if isinstance(data, dict):
            text = data.get("text/plain")
            if output.get("output_type") == "execute_result" and text:
                return _line(_text(text))
            if any(str(kind).startswith("image/") for kind in data):
                return "(figure)"
            if isinstance(text, str | list) and text:
                return _line(_text(text))
    printed = [_text(o["text"]) for o in execution.outputs if o.get("output_type") == "stream" and o.get("text")]
    lines = "".join(printed).strip().splitlines()
    return _line(lines[-1]) if lines else ""


def _text(value: Any) -> str:
    """The notebook format splits texts into lines; what is very large is kept elsewhere."""
    if isinstance(value, dict):
        return f"({value.get('bytes', 'many')} bytes)"
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    short = lines[0] + (" …" if len(lines) > 1 else "")
    return short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"


# --- what the doors show ------------------------------------------------------------------------------------------
def shown(executions: Sequence[CellExecution], what: str | None = None, most: int = SHOWN) -> CellHistory:
    """The last versions of a cell or variable; without a name, the last cells that ran, each with its latest version.

    Raises:
        NotFound: there is no such cell or variable.
    """
    if what is not None:
        found = find(executions, what)
        cut = max(0, len(found.versions) - most)
        return CellHistory(found.kind, found.name, found.versions[cut:], cut)
    known = told(executions)
    order = list(dict.fromkeys(reversed([cell_key(e) for e in known])))
    names = cell_names(known)
    last = [_versions(names[key], [e for e in known if cell_key(e) == key])[-1] for key in reversed(order[:most])]
    return CellHistory("session", "", tuple(last), max(0, len(order) - most))


def restored(version: CellVersion) -> str:
    """What is said when a version has been put back."""
    said = f"{version.ref} is in a new cell below, and has not run: look it through, then run it"
    if version.masked:
        said += "\nA secret stood in it, which was not kept: replace the mask."
    return said
