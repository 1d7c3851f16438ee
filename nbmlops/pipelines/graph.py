"""A plan drawn as text, as Mermaid's flowchart or as SVG."""

from __future__ import annotations

from nbmlops.display.graph import Graph, Node, graph_of, svg
from nbmlops.display.plain import one_line
from nbmlops.records import Plan, PlannedStage

FORMATS = ("text", "mermaid", "svg")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:/@+()")
_SHAPES = {"stage": ('["', '"]'), "dataset": ('[("', '")]'), "model": ('{{"', '"}}')}
_COLOURS = {
    "fresh": "fill:#2e9e4f22,stroke:#2e9e4f",
    "stale": "fill:#c9850022,stroke:#c98500",
    "waits": "fill:#2f81d622,stroke:#2f81d6",
}


def draw(plan: Plan, form: str = "text") -> str:
    """The stages of a plan and what flows between them; ``form`` is one of :data:`FORMATS`."""
    return {"text": text, "mermaid": mermaid, "svg": svg}[form](plan)


def text(plan: Plan) -> str:
    """Each stage in its order with what it reads, and from whom, and what it writes, and for whom."""
    writers = {thing: stage.stage for stage in plan.stages for thing in stage.writes}
    things = [len(one_line(thing)) for stage in plan.stages for thing in (*stage.reads, *stage.writes)]
    width = max(things, default=0)
    count = f"{len(plan.stages)} stage{'s' if len(plan.stages) != 1 else ''}"
    blocks = [f"{one_line(plan.name)}: {count}"]
    for place, stage in enumerate(plan.stages, 1):
        lines = [_head(place, stage), *_after(stage, writers)]
        for thing in stage.reads:
            writer = writers.get(thing)
            origin = f"from {writer}" if writer and writer != stage.stage else "from the store"
            lines.append(f"    ├── {one_line(thing).ljust(width)}  {origin}")
        for thing in stage.writes:
            readers = ", ".join(s.stage for s in plan.stages if thing in s.reads and s is not stage)
            lines.append(f"    └─> {one_line(thing).ljust(width)}  {f'to {readers}' if readers else ''}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _head(place: int, stage: PlannedStage) -> str:
    candidates = f"  {stage.runs} candidates" if stage.runs > 1 else ""
    state, why = getattr(stage, "state", ""), ", ".join(getattr(stage, "why", ()))
    told = f"  [{state}{f': {one_line(why)}' if why else ''}]" if state else ""
    return f"{place:>2}  {one_line(stage.stage)}  ({one_line(stage.notebook)}){candidates}{told}"


def _after(stage: PlannedStage, writers: dict[str, str]) -> list[str]:
    """The stages that it waits for and reads nothing of."""
    read = {writers.get(thing) for thing in stage.reads}
    return [f"    ├·· after {one_line(name)}" for name in stage.needs if name not in read]


def mermaid(plan: Plan) -> str:
    """A flowchart as Mermaid reads it, in GitHub, JupyterLab's Markdown cells and elsewhere."""
    graph = graph_of(plan)
    ids = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    lines = ["flowchart LR", *(f"    {ids[key]}{_shape(node)}" for key, node in graph.nodes.items())]
    for start, end in graph.edges:
        lines.append(f"    {ids[start]} {'-.->' if (start, end) in graph.waits else '-->'} {ids[end]}")
    return "\n".join([*lines, *_states(graph, ids)])


def _shape(node: Node) -> str:
    left, right = _SHAPES.get(node.kind, _SHAPES["stage"])
    if node.kind != "stage":
        return f"{left}{_escaped(f'{node.kind}:{node.name}')}{right}"
    times = f" ({node.runs} candidates)" if node.runs > 1 else ""
    return f"{left}{_escaped(node.name)}{times}<br/>{_escaped(node.note)}{right}"


def _states(graph: Graph, ids: dict[str, str]) -> list[str]:
    lines = []
    for state, colours in _COLOURS.items():
        if found := [ids[key] for key, node in graph.nodes.items() if node.state == state]:
            lines += [f"    classDef {state} {colours}", f"    class {','.join(found)} {state}"]
    return lines


def _escaped(label: str) -> str:
    """Everything that could mean something to Mermaid or to HTML, as a number: ``#34;`` for a quote."""
    return "".join(c if c in _PLAIN else f"#{ord(c)};" for c in one_line(label))
