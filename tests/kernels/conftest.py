"""Kernels as a stage has them: an environment without our test settings, sockets in a runtime folder of these tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from warm_kernel import Kernel

from nbmlops import kernels
from nbmlops.kernels import client


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """A Jupyter runtime folder of these tests' own, and nothing left in it afterwards."""
    with tempfile.TemporaryDirectory(prefix="rt") as folder:
        yield Path(folder)
        kernels.stop_all(folder)


@pytest.fixture(autouse=True)
def _here(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("IPYTHONDIR", str(runtime / "ipython"))
    monkeypatch.setattr(client, "_failed", {})


@pytest.fixture
def kernel() -> Iterator[Callable[..., Kernel]]:
    """``kernel(preload, env=…, cwd=…)`` starts one; all are ended after the test."""
    with ExitStack() as stack:

        def start(preload: list[str] | None = None, **options: Any) -> Kernel:
            started = Kernel(preload, **options)
            stack.callback(started.close, now=True)
            return started

        yield start
