"""A pipeline for somebody else's scheduler: files that other programs read, made from the prepared pipeline.

Whatever a file or a person may have named a stage, a path or a value, the files made here take it as text: each
module quotes for every language that its target reads.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbmlops import settings
from nbmlops.errors import InvalidValue, StoreFault
from nbmlops.notebook import types
from nbmlops.pipelines.plan import Pipeline

TARGETS = ("airflow", "kubernetes", "github-actions", "docker")


@dataclass(frozen=True)
class Order:
    """What was asked for beside the pipeline: a container image, a cron line, and the values given for this export.

    ``environment`` is the JSON that a run keeps of its Python and distributions, for ``docker``.
    """

    image: str | None = None
    schedule: str | None = None
    given: frozenset[str] = frozenset()
    environment: bytes = b""


def export(pipeline: Pipeline, to: str, order: Order) -> dict[str, str]:
    """The files of one target, by their names.

    Raises:
        InvalidValue: an unknown target, or something it needs is missing or wrong.
    """
    if to not in TARGETS:
        raise InvalidValue(f"nothing is known of {to!r}", f"export to one of {', '.join(TARGETS)}")
    if order.schedule is not None:
        from nbmlops.pipelines.schedules import Cron

        Cron.parse(order.schedule)
    from nbmlops.pipelines.exports import airflow, dockerfile, github_actions, kubernetes

    makers = {
        "airflow": airflow.files,
        "kubernetes": kubernetes.files,
        "github-actions": github_actions.files,
        "docker": dockerfile.files,
    }
    return makers[to](pipeline, order)


def write(files: Mapping[str, str], out: str | Path) -> list[str]:
    """Write the files: into a folder, or one file under the name given. Returns the paths written.

    Raises:
        InvalidValue: there are several files, and ``out`` is a file.
        StoreFault: they cannot be written.
    """
    place = Path(out)
    single = len(files) == 1 and not place.is_dir() and place.suffix != ""
    if len(files) > 1 and place.is_file():
        raise InvalidValue(f"{place} is a file, and {len(files)} files are to be written", "give a folder")
    paths = {name: place if single else place / name for name in files}
    try:
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_text(files[name], encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise StoreFault(
            f"cannot write {str(error.filename).removesuffix('.part')}: {error.strerror}", "give another place with -o"
        ) from error
    return [str(path) for path in paths.values()]


def project(pipeline: Pipeline) -> tuple[str, str]:
    """The project's folder, and the pipeline file's path from there."""
    path = Path(pipeline.spec.path).resolve()
    root = settings.project_root(path.parent)
    inner = path.relative_to(root).as_posix()
    return str(root), f"./{inner}" if inner.startswith("-") else inner  # a path, not an option


def slug(text: str, longest: int, filler: str = "-") -> str:
    """Lower-case letters, digits and fillers; it starts with a letter and ends with no filler."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", filler, plain).strip(filler)
    if not found[:1].isalpha():
        found = f"p{filler}{found}" if found else "pipeline"
    return found[:longest].rstrip(filler)


def unique(names: Iterable[str], longest: int, filler: str = "-", taken: Iterable[str] = ()) -> dict[str, str]:
    """Each name's slug; where two are alike, and beside what is taken, a number is added."""
    used, found = set(taken), {}
    for name in names:
        base = candidate = slug(name, longest - 5, filler)
        number = 2
        while candidate in used:
            candidate, number = f"{base}{filler}{number}", number + 1
        used.add(candidate)
        found[name] = candidate
    return found


def as_text(value: Any) -> str:
    """A parameter's value as the command line takes it."""
    ready = types.to_json(value)
    return ready if isinstance(ready, str) else json.dumps(ready, ensure_ascii=False)


def seconds_at_most(pipeline: Pipeline) -> float | None:
    """The longest that a whole flow can take with one worker, or None if a stage has no time limit."""
    total = 0.0
    for name, stage in pipeline.stages.items():
        if stage.limits.timeout is None:
            return None
        total += stage_seconds(stage.limits.timeout, stage.limits.retries, len(pipeline.candidates[name]))
    return total


def stage_seconds(timeout: float, retries: int, candidates: int) -> float:
    """The longest that a stage can take with one worker: its attempts, the pauses between, and a start and an end."""
    return candidates * (retries + 1) * (timeout + 30) + 60
