"""The functions of ``import nbmlops`` about pipelines: running one, and what a notebook says as a stage of one."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from nbmlops import session
from nbmlops.errors import InvalidValue, StageSkipped
from nbmlops.records import Finding, Flow, Plan
from nbmlops.session import live, workspace


def run_pipeline(
    path: str | os.PathLike[str],
    params: dict[str, Any] | None = None,
    force: bool = False,
    only: str | None = None,
    executor: str = "local",
    *,
    workers: int | None = None,
    start: str | None = None,
) -> Flow:
    """Execute a pipeline file; returns the flow, also when its promotion was blocked.

    Args:
        path: the pipeline file.
        params: values of the pipeline's parameters.
        force: run also the stages whose earlier results are still right.
        only: this stage alone.
        executor: ``local``, ``dask``, or the address of a Dask scheduler.
        workers: notebooks at a time.
        start: this stage and those that come after it (``--from`` on the command line).

    Raises:
        InvalidValue: the file or a parameter is wrong; all faults at once, before any kernel starts.
        StageFailed: a stage ended with an error; its executed notebook is kept.
    """
    from nbmlops.pipelines.flow import Options

    options = Options(force=force, executor=executor, workers=workers)
    return workspace().pipelines.run(path, params, options, only=only, start=start)


def plan_pipeline(path: str | os.PathLike[str], params: dict[str, Any] | None = None) -> Plan:
    """The stages of a pipeline file in their order, with what is fresh, what would run, and why; nothing is run."""
    return workspace().pipelines.plan(path, params)


def output(name: str, value: Any) -> Any:
    """Hand a small result (numbers, text, lists, dictionaries) to the stages after this one, and return it.

    A later stage takes it as ``params: {threshold: "${stages.train.threshold}"}``; it is kept with the active run,
    and shown with the stage and the flow.

    Raises:
        InvalidValue: the name is no identifier, or the value is not JSON or larger than 64 kB.
    """
    workspace().runs.hand_on(session.current_context().run_id or live().run_id, name, value)
    return value


def finding(check: str, level: str, asked: str, seen: str, hint: str = "") -> Finding:
    """Say, in a notebook that is a gate, what it saw of the model version that it was given.

    Such a notebook has the parameters ``model`` and ``environment``; ``nbmlops.toml`` names it as the ``gate`` of an
    environment. If it ends with an error, the version is blocked.

    Args:
        check: what was looked at, in a word or two.
        level: ``pass``, ``warn`` or ``block``.
        asked: what was asked for.
        seen: what was found.
        hint: how to mend it.

    Raises:
        InvalidValue: there is no such level.
    """
    if level not in {"pass", "warn", "block"}:
        raise InvalidValue(f"a finding is pass, warn or block, not {level!r}", "block keeps the version out")
    found = Finding(str(check), level, str(asked), str(seen), str(hint))
    run_id = session.current_context().run_id or live().run_id
    earlier = workspace().runs.handed_on([run_id])[run_id].get("findings", [])
    output("findings", [*earlier, found.to_dict()])
    return found


def skip(reason: str) -> NoReturn:
    """End this notebook here, on purpose: its stage is SKIPPED, and nothing after this line or cell is executed.

    In a live notebook it shows the reason in one line, and "Run all" stops here. Code that catches ``Exception``
    catches it too, and then nothing is skipped.

    Raises:
        StageSkipped: always.
    """
    raise StageSkipped(" ".join(str(reason).split()) or "no reason given")
