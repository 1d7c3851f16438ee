"""The cards of environments, and of what differs between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.display.sections import grid, told
from nbmlops.display.shape import Card, Column


def environment(x: Any) -> Card:
    """Python, machine and libraries, and the distributions: those that were imported first."""
    system, cpu = (x.facts.get(part) or {} for part in ("os", "cpu"))
    facts = told(
        ("python", f"{x.implementation} {x.python}".strip(), "text"),
        ("system", system.get("name") or x.platform, "text"),
        ("machine", x.machine, "text"),
        ("cpu", cpu.get("model"), "text"),
        ("cpus", cpu.get("usable") or x.facts.get("cpus"), "count"),
        ("gpus", [gpu.get("name", "") for gpu in x.facts.get("gpus") or ()], "text"),
        ("libraries", [_library(one) for one in x.facts.get("libraries") or ()], "text"),
        ("variables", [f"{k}={v}" for k, v in (x.facts.get("variables") or {}).items()], "text"),
        ("hash seed", (x.facts.get("build") or {}).get("hash_seed"), "text"),
        ("digest", x.digest, "code"),
    )
    imported = set(x.imported or ())
    first = sorted(x.packages, key=lambda name: (name not in imported, name))
    rows = [(name, x.packages[name], "yes" if name in imported else "", _source(x.sources.get(name))) for name in first]
    columns = (
        Column("name", "package"),
        Column("version", "version", "code"),
        Column("imported", "imported"),
        Column("source", "from"),
    )
    return Card("environment", f"{len(x.packages)} packages", "", facts, grid("packages", columns, rows))


def check(x: Any) -> Card:
    """How this process differs from an environment."""
    worst = {f.level for f in x.findings}
    status = "block" if "block" in worst else "warn" if "warn" in worst else "pass"
    columns: Sequence[Column] = (
        Column("level", "", "status"),
        Column("check", "what"),
        Column("asked", "before"),
        Column("seen", "here"),
        Column("hint", "why it matters"),
    )
    rows = [(f.level, f.check, f.asked, f.seen, f.hint) for f in x.findings]
    facts = told(("packages compared", x.packages, "count"), ("checked", x.at or None, "time"))
    return Card("environment here against", x.before, status, facts, grid("differences", columns, rows))


def _library(one: Mapping[str, Any]) -> str:
    return f"{one.get('library')} {one.get('version') or ''}".strip() + f" ({one.get('threads')} threads)"


def _source(source: Mapping[str, Any] | None) -> str:
    if not source:
        return ""
    commit = str(source.get("commit") or "")[:10]
    kind = source.get("vcs") or ("a folder" if "editable" in source else "a file")
    return f"{kind} {commit}{' + uncommitted changes' if source.get('dirty') else ''}".strip()
