"""A Dockerfile, and the lock of every distribution, that rebuild the environment of a run or of this process."""

from __future__ import annotations

import json
import re
from typing import Any

from nbmlops.errors import InvalidValue
from nbmlops.pipelines.exports import Order, project, slug
from nbmlops.pipelines.plan import Pipeline

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_PYTHON = re.compile(r"3\.\d+\.\d+")
_LEFT_OUT = frozenset({"pip"})  # the image brings its own

_FILE = """\
# Made by `nbmlops pipeline export --to docker`: make it again rather than edit it.
#   docker build -t {name} .
#   docker run -e NBMLOPS_STORE=… -e NBMLOPS_ARTIFACTS=… {name}
# Wheels of distributions that are on no index, such as your own, are found in the folder wheels/.
FROM python:{python}-slim

WORKDIR /project
COPY requirements.lock wheel[s] /tmp/lock/
RUN pip install --no-cache-dir --no-deps --find-links /tmp/lock -r /tmp/lock/requirements.lock
RUN useradd --uid 10001 --create-home worker && mkdir -p .nbmlops && chown worker .nbmlops
COPY . .
USER 10001
CMD {command}
"""


def files(pipeline: Pipeline, order: Order) -> dict[str, str]:
    """``Dockerfile`` and ``requirements.lock``.

    Raises:
        InvalidValue: the environment that was noted is not one that can be written down.
    """
    facts = json.loads(order.environment)
    _check(facts)
    packages = sorted(facts["packages"].items(), key=lambda item: item[0].lower())
    lock = [f"{name}=={version}" for name, version in packages if name.lower() not in _LEFT_OUT]
    head = f"# Python {facts['python']} ({facts.get('machine', '')}): every distribution, exactly. For pip --no-deps.\n"
    command = json.dumps(["nbmlops", "pipeline", "run", project(pipeline)[1]])
    name = slug(pipeline.spec.name, 60)
    text = _FILE.format(name=name, python=facts["python"], command=command)
    return {"Dockerfile": text, "requirements.lock": head + "\n".join(lock) + "\n"}


def _check(facts: Any) -> None:
    """What comes from a store is not trusted to be a version: it becomes part of files that pip and Docker read."""
    faults = [] if _PYTHON.fullmatch(str(facts["python"])) else [f"{facts['python']!r} is no release of Python 3"]
    for name, version in facts["packages"].items():
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(str(version)):
            faults.append(f"{name!r} {version!r} is no distribution with a version")
    if "machine" in facts and not re.fullmatch(r"[\w.-]*", str(facts["machine"])):
        faults.append(f"{facts['machine']!r} is no machine")
    if faults:
        raise InvalidValue.of("the environment", faults, "use that of another run, or of this process")
