"""A workflow file of GitHub Actions that runs the pipeline, and keeps the executed notebooks.

Values reach the shell as environment variables only: what GitHub puts in the place of ``${{ … }}`` becomes part of a
script's text, which is how workflows are broken into.
"""

from __future__ import annotations

import math
import platform
from typing import Any

import yaml

from nbmlops.errors import InvalidValue
from nbmlops.pipelines.exports import Order, as_text, project, seconds_at_most, slug, unique
from nbmlops.pipelines.plan import Pipeline

_MOST_INPUTS = 25  # that GitHub lets a workflow have
_KEEP = """\
import pathlib
from nbmlops.workspace import Workspace

ws, folder = Workspace(), pathlib.Path("executed")
folder.mkdir(exist_ok=True)
for flow in ws.pipelines.flows(limit=1):
    for stage in flow.stages:
        if stage.executed:
            (folder / f"{stage.run_id}.ipynb").write_bytes(ws.store.blobs.get(stage.executed))
"""


def files(pipeline: Pipeline, order: Order) -> dict[str, str]:
    """One workflow file, at its place in a repository.

    Raises:
        InvalidValue: the pipeline has more parameters than a workflow can have inputs.
    """
    if len(pipeline.params) > _MOST_INPUTS:
        message = f"the pipeline has {len(pipeline.params)} parameters, and a workflow at most {_MOST_INPUTS} inputs"
        raise InvalidValue(message, "leave those that never change out of the file's params")
    inputs = unique(pipeline.params, 60, "_")
    name = slug(pipeline.spec.name, 60)
    start: dict[str, Any] = {"workflow_dispatch": {"inputs": _inputs(pipeline, inputs)} if inputs else {}}
    if order.schedule is not None:
        start["schedule"] = [{"cron": order.schedule}]
    flow = {
        "name": _plain(pipeline.spec.name),
        "on": start,
        "permissions": {"contents": "read"},
        "concurrency": {"group": f"nbmlops-{name}", "cancel-in-progress": False},
        "jobs": {"pipeline": _job(pipeline, inputs)},
    }
    head = "# Made by `nbmlops pipeline export --to github-actions`: make it again rather than edit it.\n"
    text = yaml.dump(flow, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=1000)
    return {f".github/workflows/{name}.yml": head + text}


class _Readable(yaml.SafeDumper):
    """Scripts of several lines as blocks; ``on`` without quotes, as everybody writes it, is read as a text there."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def _inputs(pipeline: Pipeline, inputs: dict[str, str]) -> dict[str, Any]:
    return {
        inputs[name]: {"description": name, "type": "string", "required": False, "default": as_text(value)}
        for name, value in pipeline.params.items()
    }


def _job(pipeline: Pipeline, inputs: dict[str, str]) -> dict[str, Any]:
    limit = seconds_at_most(pipeline)
    store = {name: f"${{{{ secrets.{name} }}}}" for name in ("NBMLOPS_STORE", "NBMLOPS_ARTIFACTS")}
    python = ".".join(platform.python_version_tuple()[:2])
    setup = {"python-version": python, "cache": "pip"}
    kept = {"name": "executed-notebooks", "path": "executed/", "if-no-files-found": "ignore"}
    return {
        "runs-on": "ubuntu-latest",
        "timeout-minutes": 360 if limit is None else min(360, math.ceil(limit / 60) + 15),
        "env": store,
        "steps": [
            {"uses": "actions/checkout@v4"},
            {"uses": "actions/setup-python@v5", "with": setup},
            {"name": "Install", "run": "python -m pip install -r requirements.txt"},
            {"name": "Run the pipeline", "env": _environment(pipeline, inputs), "run": _script(inputs)},
            {"name": "Collect the executed notebooks", "if": "always()", "shell": "python", "run": _KEEP},
            {"name": "Keep them", "if": "always()", "uses": "actions/upload-artifact@v4", "with": kept},
        ],
    }


def _environment(pipeline: Pipeline, inputs: dict[str, str]) -> dict[str, str]:
    """Paths, names and values as variables. On a schedule there are no inputs, and the values of the export count."""
    found = {"PIPELINE": _plain(project(pipeline)[1])}
    for number, (name, value) in enumerate(pipeline.params.items()):
        default = as_text(value).replace("'", "''")
        found[f"NAME_{number}"] = _plain(name)
        found[f"VALUE_{number}"] = f"${{{{ inputs.{inputs[name]} || '{default}' }}}}"
    return found


def _script(inputs: dict[str, str]) -> str:
    values = "".join(f' -p "$NAME_{n}=$VALUE_{n}"' for n in range(len(inputs)))
    return f'nbmlops pipeline run "$PIPELINE"{values}'


def _plain(text: str) -> str:
    """Text in which GitHub finds no expression."""
    return text.replace("${{", "${{ '${{' }}")
