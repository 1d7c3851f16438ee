"""The card of an extraction: what was kept, what became of it, and whether it was proved."""

from __future__ import annotations

from typing import Any

from nbmlops.display.sections import grid, points, told
from nbmlops.display.shape import Card, Column

_SAID = {
    "proved": "a clean run gave the same, bit for bit",
    "differs": "a clean run gave something else: nothing is claimed",
    "failed": "a clean run did not come to its end",
    "not tried": "it was not run",
}


def extracted(x: Any) -> Card:
    """Kept and dropped cells, parameters, reads, differences, and what is not known."""
    compared = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in x.compared.items())
    facts = told(
        ("from", x.what, "code"),
        ("cells", f"{len(x.kept)} of {len(x.kept) + len(x.dropped)}", "text"),
        ("kept", " ".join(x.kept), "text"),
        ("left out", " ".join(x.dropped), "text"),
        ("proof", _SAID.get(x.proof, x.proof), "text"),
        ("compared", compared, "text"),
        ("error", x.error, "text"),
        ("stages", x.stages, "code"),
        ("took", x.seconds, "duration"),
    )
    differences = [(d.kind, d.name, d.before, d.after, d.size) for d in x.differences]
    columns = (
        Column("kind", ""),
        Column("name", "what differs"),
        Column("before", "before"),
        Column("after", "clean run"),
        Column("size", "by", "number"),
    )
    return Card(
        "stage",
        x.path,
        x.proof,
        facts,
        (
            *grid("", columns, differences),
            *grid("parameters", _PARAMETERS, [(p.name, p.type, p.default, p.cell) for p in x.parameters]),
            *grid("reads", _READS, [(r.was, r.ref) for r in x.reads]),
            *points("not known, so that the proof decides", ((one, "") for one in x.unknown)),
            *points("notes", ((one, "") for one in x.notes)),
        ),
    )


_PARAMETERS = (
    Column("name", "name", "code"),
    Column("type", "type", "code"),
    Column("default", "default", "code"),
    Column("cell", "from"),
)
_READS = (Column("was", "was", "code"), Column("ref", "is", "code"))


def parameter(x: Any) -> Card:
    """One literal that became a parameter."""
    facts = told(
        ("type", x.type, "code"), ("default", x.default, "code"), ("from", x.cell, "text"), ("help", x.help, "text")
    )
    return Card("parameter", x.name, "", facts)


def read(x: Any) -> Card:
    """One read that became that of a snapshot."""
    return Card("read", x.ref, "", told(("was", x.was, "code"), ("in", x.cell, "text")))
