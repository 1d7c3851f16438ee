"""What a notebook imports: project modules with the digests of their code, and the names of everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Imports:
    """``project`` maps each module or script, as a path from the project root, to the digest of its normalised code.

    ``distributions`` are the top-level names of what is imported from elsewhere; the standard library is left out.
    ``dynamic`` are imports by a computed name: the cell, and what it does.
    """

    project: dict[str, str] = field(default_factory=dict)
    distributions: frozenset[str] = frozenset()
    dynamic: tuple[tuple[int, str], ...] = ()


def imported(document: Mapping[str, Any], folder: Path, root: Path) -> Imports:
    """What the cells import, transitively. ``folder`` is where the notebook runs, ``root`` the project's."""
    return Imports()
