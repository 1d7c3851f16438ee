"""Recorded cells as a notebook, and an executed notebook as recorded cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from nbmlops.notebook.parameters import cell_source
from nbmlops.records import CellExecution, CellTouch
from nbmlops.store.blobs import Blobs

_STATUS = {"completed": "ok", "failed": "error", "running": "lost"}


def notebook(cells: Iterable[CellExecution], blobs: Blobs, path: str, run_id: str) -> bytes:
    """An executed notebook: a code cell for each execution, in order, with what it printed and showed."""
    import nbformat
    from nbformat import v4

    document = v4.new_notebook()
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document.metadata["nbmlops"] = {"run": run_id, "notebook": path, "order": "as executed"}
    for number, execution in enumerate(cells, 1):
        cell = v4.new_code_cell(execution.source, execution_count=execution.count)
        cell.outputs = [nbformat.from_dict(output) for output in outputs(execution, blobs)]
        facts = {k: getattr(execution, k) for k in ("cell_id", "status", "started_at", "seconds", "number")}
        cell.metadata["nbmlops"] = {k: v for k, v in facts.items() if v is not None}
        cell.id = f"{number:04d}-{execution.execution_id[-8:].lower()}"
        if execution.status == "error":
            cell.metadata["tags"] = ["raises-exception"]
        document.cells.append(cell)
    nbformat.validate(document)
    return nbformat.writes(document).encode()


def outputs(execution: CellExecution, blobs: Blobs) -> list[dict[str, Any]]:
    """The outputs of an execution in the notebook format, the error last."""
    found = []
    for output in execution.outputs:
        shown = dict(output)
        if "data" in shown:
            shown["data"] = {kind: _fetched(value, blobs) for kind, value in shown["data"].items()}
            shown.setdefault("metadata", {})
        if shown["output_type"] == "execute_result":
            shown["execution_count"] = execution.count
        found.append(shown)
    if execution.error:
        lines = execution.error.get("traceback", "").splitlines()
        name, message = execution.error.get("name", ""), execution.error.get("message", "")
        found.append({"output_type": "error", "ename": name, "evalue": message, "traceback": lines})
    return found


def _fetched(value: Any, blobs: Blobs) -> Any:
    if isinstance(value, dict) and set(value) == {"digest", "bytes"}:
        return blobs.get(value["digest"]).decode("utf-8", "replace")
    return value


def executions(document: Mapping[str, Any], run_id: str) -> list[CellExecution]:
    """What an executed notebook tells of its cells; papermill notes when each began and how long it took."""
    found: list[CellExecution] = []
    for cell in document.get("cells", ()):
        noted = (cell.get("metadata") or {}).get("papermill") or {}
        if cell.get("cell_type") != "code" or noted.get("status") not in _STATUS:
            continue
        errors = [o for o in cell.get("outputs", ()) if o.get("output_type") == "error"]
        status = "error" if errors else _STATUS[noted["status"]]
        began = noted.get("start_time")
        found.append(
            CellExecution(
                execution_id=f"{run_id}-{len(found) + 1}",
                session_id="",
                number=len(found) + 1,
                source=cell_source(cell),
                cell_id=cell.get("id"),
                count=cell.get("execution_count"),
                status=status,
                error=_error(errors[0]) if errors else None,
                outputs=tuple(o for o in cell.get("outputs", ()) if o.get("output_type") != "error"),
                started_at=datetime.fromisoformat(began).timestamp() if began else 0.0,
                seconds=noted.get("duration"),
                touched=(CellTouch("run", run_id),),
            )
        )
    return found


def _error(output: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": output.get("ename", ""),
        "message": output.get("evalue", ""),
        "traceback": "\n".join(output.get("traceback", ())),
    }


def stripped(path: Path, largest: int) -> tuple[bytes, float] | None:
    """A notebook file without outputs, and when it was saved; None where it cannot be read as one."""
    try:
        facts = path.stat()
        if facts.st_size > largest:
            return None
        document = json.loads(path.read_bytes())
        for cell in document["cells"]:
            if cell.get("cell_type") == "code":
                cell["outputs"], cell["execution_count"] = [], cell.get("execution_count")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return json.dumps(document, ensure_ascii=False, sort_keys=True).encode(), facts.st_mtime
