"""A lineage for others: a page, JSON, W3C PROV and OpenLineage."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nbmlops.errors import NotFound
from nbmlops.records import Lineage, LineageNode

if TYPE_CHECKING:
    from nbmlops.lineage import Lineages

PREFIX = "urn:nbmlops:"
_ACTIVITIES = ("run", "flow", "stage")
_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1f2933}"
    "details{margin-left:1.2em;border-left:1px solid #cbd2d9;padding-left:.7em}summary{cursor:pointer;margin:.25em 0}"
    "main>details{margin-left:0}code{font-size:.92em}dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1em;"
    "margin:.2em 0 .5em 1.2em;color:#52606d}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}.k{color:#627d98;"
    "font-size:.85em;margin-right:.5em}@media(prefers-color-scheme:dark){body{background:#16191d;color:#e4e7eb}"
    "details{border-color:#3e4c59}dl{color:#9aa5b1}}"
)


def as_json(_desk: Lineages, lineage: Lineage) -> str:
    """The record as it is."""
    return json.dumps(lineage.to_dict(), ensure_ascii=False, indent=1, default=str)


def as_html(_desk: Lineages, lineage: Lineage) -> str:
    """A page by itself: branches fold without any script, and what things are called is text."""
    way = "what followed from" if lineage.direction == "after" else "what lies behind"
    title = html.escape(f"{way} {lineage.root.ref}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1><main>{_branch(lineage.root, 0, set())}</main></body></html>\n"
    )


def _branch(node: LineageNode, depth: int, told: set[str]) -> str:
    kind = f'<span class="k">{html.escape(node.kind)}</span>'
    title = html.escape(node.title)
    if node.ref in told:
        return f"<div>{kind}{title} (see above)</div>"
    told.add(node.ref)
    facts = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(_text(v))}</dd>" for k, v in node.facts.items())
    inside = f"<dl>{facts}</dl>" if facts else ""
    inside += "".join(_branch(child, depth + 1, told) for child in node.behind)
    return f"<details{' open' if depth < 3 else ''}><summary>{kind}{title}</summary>{inside}</details>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "; ".join(_text(v) for v in value)
    return json.dumps(value, ensure_ascii=False, default=str)


# -- W3C PROV ------------------------------------------------------------------------------------------------------
def as_prov(_desk: Lineages, lineage: Lineage) -> str:
    """PROV-JSON (W3C member submission of 2013): data sets, models and predictions are entities, runs activities."""
    made: dict[str, Any] = {"prefix": {"nbmlops": PREFIX}, "entity": {}, "activity": {}, "agent": {}}
    relations: dict[str, dict[str, Any]] = {}
    for node in lineage.nodes():
        part = "activity" if node.kind in _ACTIVITIES else "entity"
        made[part][_name(node.ref)] = {"prov:label": node.title, "nbmlops:kind": node.kind, **_attributes(node.facts)}
        if who := _agent(node.facts):
            made["agent"][_name(f"user:{who}")] = {"prov:label": who, "prov:type": "prov:Person"}
            _relate(
                relations, "wasAssociatedWith" if part == "activity" else "wasAttributedTo", node.ref, f"user:{who}"
            )
    for cause, effect in _links(lineage):
        kinds = cause.kind in _ACTIVITIES, effect.kind in _ACTIVITIES
        relation = {
            (False, False): "wasDerivedFrom", (True, False): "wasGeneratedBy",
            (False, True): "used", (True, True): "wasInformedBy",
        }[kinds]  # fmt: skip
        _relate(relations, relation, effect.ref, cause.ref)
    return json.dumps({**{k: v for k, v in made.items() if v}, **relations}, ensure_ascii=False, indent=1)


_ROLES = {
    "wasDerivedFrom": ("prov:generatedEntity", "prov:usedEntity"),
    "wasGeneratedBy": ("prov:entity", "prov:activity"),
    "used": ("prov:activity", "prov:entity"),
    "wasInformedBy": ("prov:informed", "prov:informant"),
    "wasAssociatedWith": ("prov:activity", "prov:agent"),
    "wasAttributedTo": ("prov:entity", "prov:agent"),
}


def _relate(relations: dict[str, dict[str, Any]], kind: str, first: str, second: str) -> None:
    held = relations.setdefault(kind, {})
    pair = dict(zip(_ROLES[kind], (_name(first), _name(second)), strict=True))
    if pair not in held.values():
        held[f"_:{kind}{len(held)}"] = pair


def _name(ref: str) -> str:
    """A reference as a qualified name: what its local part may not hold is escaped, as in a URN."""
    from urllib.parse import quote

    return f"nbmlops:{quote(ref.replace(':', '/', 1), safe='/@.-_')}"


def _attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in facts.items():
        name = "".join(c if c.isalnum() else "_" for c in str(key))
        found[f"nbmlops:{name}"] = value if isinstance(value, bool | int | float | str) else _text(value)
    return found


def _agent(facts: Mapping[str, Any]) -> str:
    """Who did it, from facts such as ``started: 2026-11-25T10:00:00Z by ada``."""
    for key in ("started", "registered", "written", "by"):
        if " by " in str(facts.get(key, "")):
            return str(facts[key]).partition(" by ")[2]
    return str(facts.get("user", ""))


def _links(lineage: Lineage) -> Iterator[tuple[LineageNode, LineageNode]]:
    """Every cause with its effect, once, whichever way the tree was walked."""
    forward, seen, todo = lineage.direction == "after", set(), [lineage.root]
    while todo:
        node = todo.pop(0)
        for child in node.behind:
            pair = (node, child) if forward else (child, node)
            if (pair[0].ref, pair[1].ref) not in seen:
                seen.add((pair[0].ref, pair[1].ref))
                yield pair
            todo.append(child)


# -- OpenLineage ---------------------------------------------------------------------------------------------------
def as_openlineage(desk: Lineages, lineage: Lineage) -> str:
    """The run events of every stage and run that was met, oldest first, one JSON a line."""
    from nbmlops.pipelines.openlineage import stage_event

    events = []
    for node in lineage.nodes():
        if node.kind == "run":
            try:
                run = desk.runs.get(node.ref)
            except NotFound:  # deleted since: the tree says so
                continue
            events.append((run.started_at, _run_event(desk, run, stage_event)))
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for _, event in sorted(events, key=lambda e: e[0]))


def _run_event(desk: Lineages, run: Any, stage_event: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    from nbmlops.records import StageRun

    stage = StageRun(
        run.run_id, run.name, str(run.source.get("path") or ""), run.status,
        started_at=run.started_at, ended_at=run.ended_at, error=run.error,
    )  # fmt: skip
    written = desk.runs.datasets(run.run_id, "write")
    return stage_event(
        desk.store.shown_url, stage, None, inputs=_known(desk, run.datasets), outputs=_known(desk, written)
    )


def _known(desk: Lineages, refs: Any) -> list[Any]:
    found = []
    for ref in refs:
        try:
            found.append(desk.models.get(ref, deleted=True) if ref.startswith("model:") else desk.datasets.get(ref))
        except NotFound:  # deleted since
            continue
    return found


FORMATS: Mapping[str, Callable[[Lineages, Lineage], str]] = {
    "html": as_html,
    "json": as_json,
    "prov": as_prov,
    "openlineage": as_openlineage,
}
