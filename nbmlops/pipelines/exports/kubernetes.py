"""Kubernetes manifests: a Job, or a CronJob if there is a schedule, that runs the whole pipeline in one pod."""

from __future__ import annotations

import math
from typing import Any

import yaml

from nbmlops.errors import InvalidValue
from nbmlops.pipelines.exports import Order, as_text, project, seconds_at_most, slug
from nbmlops.pipelines.plan import Pipeline

_OWN_MIB, _STAGE_MIB = 512, 1024  # of the flow itself, and asked for a stage that has no limit
_WORKERS = 2

_HEAD = """\
# Made by `nbmlops pipeline export --to kubernetes`: make it again rather than edit it.
# The store, which must be one that the pod reaches, comes from a Secret:
#   kubectl create secret generic {name}-store \\
#     --from-literal=NBMLOPS_STORE=postgresql://… --from-literal=NBMLOPS_ARTIFACTS=s3://…
"""


def files(pipeline: Pipeline, order: Order) -> dict[str, str]:
    """One file with one manifest.

    Raises:
        InvalidValue: no image is given.
    """
    if not order.image or any(c.isspace() for c in order.image):
        hint = "build one with --to docker, and name it with --image"
        given = f", not {order.image!r}" if order.image else ""
        raise InvalidValue(f"an image that holds the project is needed{given}", hint)
    name = slug(pipeline.spec.name, 40)  # a CronJob adds 11 characters, and a pod's name and the label have 63
    job = _job(pipeline, order, name)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "nbmlops"}
    about = {"name": name, "labels": labels, "annotations": {"nbmlops/pipeline": pipeline.spec.name}}
    kind: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": job}
    if order.schedule is not None:
        spec = {
            "schedule": order.schedule,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
        }
        kind = {**kind, "kind": "CronJob", "spec": spec}
    text = yaml.dump(kind, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)
    return {f"{name}.yaml": _HEAD.format(name=name) + text}


class _Plain(yaml.SafeDumper):
    """Writes what stands there twice twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _job(pipeline: Pipeline, order: Order, name: str) -> dict[str, Any]:
    limit = seconds_at_most(pipeline)
    return {
        "backoffLimit": 0,  # retries are the stages' own
        "ttlSecondsAfterFinished": 7 * 86400,
        **({"activeDeadlineSeconds": math.ceil(limit)} if limit is not None else {}),
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": name}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 60,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [_container(pipeline, order, name)],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        },
    }


def _container(pipeline: Pipeline, order: Order, name: str) -> dict[str, Any]:
    _, path = project(pipeline)
    values = [w for n in sorted(order.given) for w in ("-p", f"{n}={as_text(pipeline.params[n])}")]
    return {
        "name": "pipeline",
        "image": order.image,
        "command": ["nbmlops"],
        # Kubernetes replaces $(NAME) in here, and takes $$ for a dollar.
        "args": [w.replace("$", "$$") for w in ("pipeline", "run", path, "--workers", str(_WORKERS), *values)],
        "envFrom": [{"secretRef": {"name": f"{name}-store"}}],
        "resources": _resources(pipeline),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108  (a volume of the pod's own)
    }


def _resources(pipeline: Pipeline) -> dict[str, Any]:
    """What the largest stages need beside each other; a limit only if every stage has one of its own."""
    limits = [stage.limits.memory for stage in pipeline.stages.values()]
    mib = sorted((_STAGE_MIB if n is None else math.ceil(n / 2**20) for n in limits), reverse=True)
    widest = max(len(found) for found in pipeline.candidates.values())
    beside = sum(mib[:1] * _WORKERS if widest > 1 else mib[:_WORKERS]) + _OWN_MIB
    memory = {"memory": f"{beside}Mi"}
    return {"requests": {"cpu": "1", **memory}, **({"limits": memory} if None not in limits else {})}
