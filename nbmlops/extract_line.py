"""``%mlops extract``: from the live notebook to a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbmlops import session, words
from nbmlops.errors import NbmlopsError, NotFound, UsageFault
from nbmlops.notebook import place, recorder

if TYPE_CHECKING:
    from nbmlops.records import Extracted

_OPTIONS = {
    "--run": True, "--out": True, "-o": True, "--snapshot": True, "--snapshots": False, "--pipeline": False,
    "--no-prove": False, "--force": False,
}  # fmt: skip


def extract(given: list[str], namespace: Mapping[str, Any]) -> Extracted | None:
    """What the words after ``%mlops extract`` ask for; without a name, the run that ended last here.

    Inside a clean run nothing is done: who extracts would extract again.

    Raises:
        UsageFault: the words make no sense.
        NotFound: there is no such thing, or nothing is recorded of it.
    """
    from nbmlops.extraction import Live, Wish

    if session.current_context().reproducing:
        print("left out: this is a clean run")
        return None
    options, names = words.options(given, _OPTIONS)
    names += options.get("--run", [])
    out = words.first(options, "--out", "-o")
    if len(names) > 1 or not out:
        raise UsageFault("%mlops extract takes one name or reference, and -o", "%mlops extract auc -o stage.ipynb")
    wish = Wish(
        snapshots="--snapshots" in options,
        variables=tuple(options.get("--snapshot", [])),
        pipeline="--pipeline" in options,
        prove="--no-prove" not in options,
        force="--force" in options,
    )
    what = f"run:{_last_run()}" if not names else names[0] if "--run" not in options else _as_run(names[0])
    here = recorder.current()
    executions = session.workspace().cells.executions(here.session_id) if here is not None else []
    live = Live(namespace, executions, _document())
    return session.workspace().extraction.extract(what, out=out, wish=wish, live=live)


def _as_run(text: str) -> str:
    return text if text.startswith(("run:", "runs:/")) else f"run:{text}"


def _last_run() -> str:
    last = session.last_active_run()
    if last is None:
        raise NotFound("no run was made in this notebook yet", "name a run or a variable: %mlops extract NAME -o FILE")
    return last.run_id


def _document() -> dict[str, Any] | None:
    """The notebook as it is on disk now, for its headings and parameters."""
    from nbmlops.notebook import parameters

    path = place.notebook_now(session.current_context().notebook)
    if path:
        with contextlib.suppress(NbmlopsError):  # not saved yet, or just being written
            return parameters.parse_document(parameters.read_file(path), path)
    return None
