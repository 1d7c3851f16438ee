"""The graph of a plan: stages, the data sets and models between them, and its drawing as a self-contained SVG."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nbmlops.display.layers import Layout, layout
from nbmlops.display.plain import one_line

_TONES = {"fresh": "good", "stale": "warn", "waits": "busy", "always": "calm"}
_DATA = "M-5 -3.5a5 2 0 0 1 10 0v7a5 2 0 0 1 -10 0zM-5 -3.5a5 2 0 0 0 10 0"  # a cylinder
_MODEL = "M0 -6l5.2 3v6l-5.2 3l-5.2 -3v-6zM0 0v6M0 0l5.2 -3M0 0l-5.2 -3"  # a cube
_LONGEST = 34  # columns of a label; the whole text is in the tooltip


@dataclass(frozen=True)
class Node:
    """A stage, or something that stages exchange. ``kind`` is ``stage``, ``dataset`` or ``model``."""

    kind: str
    name: str
    note: str = ""
    runs: int = 1
    state: str = ""
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes by key, in the plan's order; edges lead from writer to thing to reader.

    ``waits`` are edges between stages of which one only waits for the other.
    """

    title: str
    nodes: dict[str, Node]
    edges: tuple[tuple[str, str], ...]
    waits: frozenset[tuple[str, str]]


def graph_of(plan: Any) -> Graph:
    """The graph of a ``Plan``. What a stage reads and writes itself is there twice: as it was, and as it becomes."""
    writers = {thing: stage.stage for stage in plan.stages for thing in stage.writes}
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    linked: set[tuple[str, str]] = set()
    for stage in plan.stages:
        at = f"stage {stage.stage}"
        for thing in stage.reads:
            before = writers.get(thing) == stage.stage
            key = f"before {thing}" if before else thing
            note = "" if thing in writers and not before else "in the store"
            nodes.setdefault(key, Node(*_split(thing), note))
            edges.append((key, at))
            linked.add((writers.get(thing, ""), stage.stage))
        state, why = getattr(stage, "state", ""), tuple(getattr(stage, "why", ()))
        nodes[at] = Node("stage", stage.stage, stage.notebook, stage.runs, state, why)
        for thing in stage.writes:
            nodes.setdefault(thing, Node(*_split(thing)))
            edges.append((at, thing))
    waits = [(f"stage {n}", f"stage {s.stage}") for s in plan.stages for n in s.needs if (n, s.stage) not in linked]
    return Graph(plan.name, nodes, tuple(dict.fromkeys([*edges, *waits])), frozenset(waits))


def _split(thing: str) -> tuple[str, str]:
    kind, _, name = thing.partition(":")
    return kind, name


def svg(plan: Any) -> str:
    """A plan as one SVG, left to right: no script, nothing loaded, everything escaped, for light and dark pages."""
    from nbmlops.display.markup import style

    graph = graph_of(plan)
    placed = layout({key: _size(node) for key, node in graph.nodes.items()}, graph.edges)
    lines = "".join(_edge(points, edge in graph.waits) for edge, points in placed.paths.items())
    boxes = "".join(_node(node, placed, key) for key, node in graph.nodes.items())
    width, height = placed.size
    css = style("theme", "card", "graph")
    names = f"Stages of {graph.title}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="nbm nbm-graph" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{_clean(names)}" '
        f'fill="#f3f5f7" stroke="#8a929b" font-family="sans-serif" font-size="12">'
        f"<style>{css}</style>{lines}{boxes}</svg>\n"
    )


def _size(node: Node) -> tuple[float, float]:
    if node.kind != "stage":
        return _width(node.name, 6.9) + 46, 40 if node.note else 30
    second = _width(node.note, 6.2) + _width(node.state, 6.4) + 14
    return max(_width(node.name, 7.9) + _width(_times(node), 7) + 18, second) + 26, 50


def _width(text: str, one: float) -> float:
    """About how wide a text is drawn, cut as it will be: no fonts are at hand here."""
    return _columns(_cut(text)) * one


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str) -> str:
    text = one_line(text)
    if _columns(text) <= _LONGEST:
        return text
    while _columns(text) > _LONGEST - 1:
        text = text[:-1]
    return text + "…"


def _clean(text: str) -> str:
    """Escaped, and without the control characters that XML does not allow."""
    return escape(one_line(text))


def _times(node: Node) -> str:
    return f"×{node.runs}" if node.runs > 1 else ""


def _node(node: Node, placed: Layout, key: str) -> str:
    x, y, width, height = placed.boxes[key]
    tip = [f"{node.kind} {node.name}", node.note, f"{node.runs} candidates" if node.runs > 1 else "", node.state]
    told = _clean(" · ".join(part for part in (*tip, *node.why) if part))
    inner = _stage(node, width, height) if node.kind == "stage" else _thing(node, width, height)
    tone = f"nbm-{_TONES.get(node.state, 'calm')}" if node.kind == "stage" else _kind(node)
    return f'<g class="{tone}" transform="translate({x:.1f} {y:.1f})"><title>{told}</title>{inner}</g>'


def _kind(node: Node) -> str:
    return "nbm-model" if node.kind == "model" else "nbm-data"


def _stage(node: Node, width: float, height: float) -> str:
    box = f'width="{width:.1f}" height="{height:.1f}" rx="6"'
    # A sweep is drawn as a pile of boxes.
    pile = "".join(f'<rect class="box" x="{d}" y="{d}" {box}/>' for d in (6, 3)) if node.runs > 1 else ""
    right = width - 12
    times = f'<text class="soft" x="{right:.1f}" y="21" text-anchor="end">{_times(node)}</text>'
    state = f'<text class="state" x="{right:.1f}" y="38" text-anchor="end">{_clean(_cut(node.state))}</text>'
    return (
        f'{pile}<rect class="box" {box}/><rect class="wash" {box}/>'
        f'<rect class="bar" y="8" width="3.5" height="{height - 16:.1f}" rx="1.7"/>'
        f'<text class="name" x="14" y="21">{_clean(_cut(node.name))}</text>'
        f'<text class="soft" x="14" y="38">{_clean(_cut(node.note))}</text>'
        f"{times if node.runs > 1 else ''}{state if node.state else ''}"
    )


def _thing(node: Node, width: float, height: float) -> str:
    middle = height / 2
    box = f'width="{width:.1f}" height="{height:.1f}" rx="{middle:.1f}"'
    icon = (
        f'<path class="icon" transform="translate(19 {middle:.1f})" d="{_MODEL if node.kind == "model" else _DATA}"/>'
    )
    base = middle - 2 if node.note else middle + 4
    note = f'<text class="soft" x="32" y="{middle + 12:.1f}">{_clean(node.note)}</text>' if node.note else ""
    name = f'<text x="32" y="{base:.1f}">{_clean(_cut(node.name))}</text>'
    return f'<rect class="box" {box}/><rect class="wash" {box}/>{icon}{name}{note}'


def _edge(points: Sequence[tuple[float, float]], waits: bool) -> str:
    """A smooth line through the points, level where it starts, bends and ends; with a tip of its own, so no ids."""
    (x0, y0), *rest = points
    path = f"M{x0:.1f} {y0:.1f}"
    for x, y in _but_last(rest, 5):
        middle = (x0 + x) / 2
        path += f"C{middle:.1f} {y0:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}"
        x0, y0 = x, y
    x, y = points[-1]
    style = "edge wait" if waits else "edge"
    return f'<path class="{style}" fill="none" d="{path}"/><path class="tip" d="M{x:.1f} {y:.1f}l-7 -3.6v7.2z"/>'


def _but_last(points: Sequence[tuple[float, float]], shorter: float) -> Iterable[tuple[float, float]]:
    *others, (x, y) = points
    return [*others, (x - shorter, y)]
