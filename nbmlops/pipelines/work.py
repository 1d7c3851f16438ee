"""One execution of a notebook, described so that it can be done here, in another process or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from nbmlops.notebook.parameters import Parameters
from nbmlops.pipelines.contracted import Held
from nbmlops.pipelines.facts import Facts
from nbmlops.pipelines.limits import Limits
from nbmlops.records import StageRun
from nbmlops.refs import Ref


@dataclass(frozen=True)
class Work:
    """What to execute, with which values and versions, within which limits, and on whose behalf.

    ``reads`` are the references that the stage declares and those found in its cells. ``pins`` are the versions meant
    by references without one. ``facts`` are what the result depends on, None where nobody asked; ``fingerprint`` is
    theirs, None where the result must not be reused. ``why`` says in words why it is executed.
    """

    stage: str
    label: str
    notebook: str
    path: str
    document: bytes
    declared: Parameters
    params: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    reads: tuple[Ref, ...] = ()
    writes: tuple[str, ...] = ()
    contracts: tuple[Held, ...] = ()
    candidate: bool = False
    limits: Limits = field(default_factory=Limits)
    kernel: str | None = None
    skip: tuple[str, ...] = ()
    cache: bool | None = None
    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    threads: int | None = None  # for numeric libraries, where several candidates share the processors
    flow_id: str | None = None
    parent_id: str | None = None
    experiment: str | None = None
    facts: Facts | None = None
    fingerprint: str | None = None
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execution:
    """A work that was handed to an executor: its attempts when it is done, and how to end it before."""

    future: Future[list[StageRun]]
    stop: Callable[[], object]
