"""An Airflow DAG file: one task for each stage, and one for the promotion.

The file imports nothing but Airflow. Texts reach the shell as environment variables and are never part of the
command, so that no name and no value can be read as shell; Jinja, which Airflow lets loose on them, is escaped.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from nbmlops.notebook import types
from nbmlops.pipelines.exports import Order, project, slug, stage_seconds, unique
from nbmlops.pipelines.plan import Pipeline

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}

_HEAD = '''"""Made by nbmlops {version} with `nbmlops pipeline export`: make it again rather than edit it.

On the workers: NBMLOPS is the command (by default nbmlops, found on the PATH), NBMLOPS_PROJECT the project's folder
if it is another one there, and NBMLOPS_STORE and NBMLOPS_ARTIFACTS a store that all of them reach.
"""

import os
from datetime import datetime, timedelta, timezone

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models.param import Param
    from airflow.operators.bash import BashOperator

PROJECT = os.environ.get("NBMLOPS_PROJECT") or {root}
PIPELINE = {path}
SCHEDULE = {schedule}
RETRIES = 0  # by Airflow, of whole tasks; a stage's own retries are made by nbmlops


def text(value):
    """Text that Jinja leaves as it is."""
    return value.replace("{{", "{{{{ '{{' }}}}")


def task(task_id, command, variables, **options):
    """A task that runs nbmlops. What varies comes as environment variables: the shell never reads it as code."""
    return BashOperator(
        task_id=task_id,
        bash_command='exec "${{NBMLOPS:-nbmlops}}" ' + command + " ",
        env=dict(variables),
        append_env=True,
        cwd=text(PROJECT),
        **options,
    )


'''


def files(pipeline: Pipeline, order: Order) -> dict[str, str]:
    """One DAG file."""
    root, path = project(pipeline)
    version = metadata.version("nbmlops")
    head = _HEAD.format(version=version, root=ascii(root), path=ascii(path), schedule=ascii(order.schedule))
    dag_id = slug(pipeline.spec.name, 200, "_")
    lines = [*_dag(pipeline, dag_id), *_values(pipeline)]
    tasks = unique(pipeline.stages, 200, "_")
    for name in pipeline.stages:
        lines += _stage(pipeline, name, tasks[name])
    if pipeline.spec.promote is not None:
        lines += _promotion(pipeline, unique(["promote"], 200, "_", tasks.values())["promote"])
    lines += _order(pipeline, tasks)
    return {f"{dag_id}.py": head + "\n".join(lines) + "\n"}


def _dag(pipeline: Pipeline, dag_id: str) -> list[str]:
    params = [f"        {name!a}: {_param(value)}," for name, value in pipeline.params.items()]
    return [
        "with DAG(",
        f"    dag_id={dag_id!a},",
        f"    description={f'pipeline {pipeline.spec.name}'!a},",
        "    schedule=SCHEDULE,",
        "    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),",
        "    catchup=False,",
        "    max_active_runs=1,  # each stage reads the latest versions of what the others wrote",
        '    default_args={"retries": RETRIES},',
        *(["    params={", *params, "    },"] if params else []),
        ") as dag:",
    ]


def _param(value: Any) -> str:
    ready = types.to_json(value)
    kind = _TYPES.get(type(ready))
    return f"Param({_literal(ready)}{f', type={kind!r}' if kind else ''})"


def _literal(value: Any) -> str:
    """The value as Python, in ASCII; only what JSON has. JSON has no number for these, nor has Airflow's check."""
    return ascii(value)


def _values(pipeline: Pipeline) -> list[str]:
    """The variables that carry the pipeline's values, and the options that hand them on."""
    rows = []
    for number, name in enumerate(pipeline.params):
        at = f"params[{name!a}]"
        # A text as it is, also if it looks like Jinja: the template's output is not read again.
        rows.append(f"        {f'NBMLOPS_P{number}'!r}: {f'{{{{ {at} if {at} is string else {at} | tojson }}}}'!r},")
        rows.append(f"        {f'NBMLOPS_N{number}'!r}: text({name!a}),")
    options = " ".join(f'-p "$NBMLOPS_N{n}=$NBMLOPS_P{n}"' for n in range(len(pipeline.params)))
    return ["    VALUES = {", *rows, "    }", f"    OPTIONS = {options!r}"]


def _stage(pipeline: Pipeline, name: str, task_id: str) -> list[str]:
    stage = pipeline.stages[name]
    lines = [
        f"    {_variable(task_id)} = task(",
        f"        {task_id!r},",
        """        'stage run "$NBMLOPS_PIPELINE" --stage "$NBMLOPS_STAGE" ' + OPTIONS,""",
        f'        {{**VALUES, "NBMLOPS_PIPELINE": text(PIPELINE), "NBMLOPS_STAGE": text({name!a})}},',
    ]
    if stage.limits.timeout is not None:
        limit = stage_seconds(stage.limits.timeout, stage.limits.retries, len(pipeline.candidates[name]))
        lines.append(f"        execution_timeout=timedelta(seconds={limit:.0f}),  # nbmlops ends the stage before")
    return [*lines, "    )"]


def _promotion(pipeline: Pipeline, task_id: str) -> list[str]:
    asked = pipeline.spec.promote
    assert asked is not None  # noqa: S101  (only called for a pipeline that promotes)
    variables = {"NBMLOPS_MODEL": f"model:{asked.model}", "NBMLOPS_TO": asked.to}
    variables |= {f"NBMLOPS_R{number}": rule for number, rule in enumerate(asked.rules)}
    rules = "".join(f' --rule "$NBMLOPS_R{number}"' for number in range(len(asked.rules)))
    command = f'model promote "$NBMLOPS_MODEL" --to "$NBMLOPS_TO" --reason "$NBMLOPS_REASON"{rules}'
    reason = f"text({f'pipeline {pipeline.spec.name}, '!a}) + 'Airflow run {{{{ run_id }}}}'"
    return [
        "    promotion = task(",
        f"        {task_id!r},",
        f"        {command!r},",
        "        {",
        *(f"            {name!r}: text({value!a})," for name, value in variables.items()),
        f'            "NBMLOPS_REASON": {reason},',
        "        },",
        "    )",
    ]


def _order(pipeline: Pipeline, tasks: dict[str, str]) -> list[str]:
    lines = []
    for name, needs in pipeline.needs.items():
        lines += [f"    {_variable(tasks[other])} >> {_variable(tasks[name])}" for other in needs]
    if pipeline.spec.promote is not None:
        waited = {other for needs in pipeline.needs.values() for other in needs}
        lines += [f"    {_variable(tasks[name])} >> promotion" for name in tasks if name not in waited]
    return lines


def _variable(task_id: str) -> str:
    return f"stage_{task_id}"
