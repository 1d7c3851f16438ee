"""Places boxes in layers from left to right, and leads lines between them around other boxes.

The steps are those of Sugiyama, Tagawa and Toda (1981): layers by longest path, places for long lines in the layers
that they cross, order by barycentres, heights by least squares.
"""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_GAP_X, _GAP_Y, _LINE, _EDGE = 46.0, 18.0, 6.0, 10.0  # pixels; _LINE is the room of a line that passes a layer
_ROUNDS = 12

Edge = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Boxes as (x, y, width, height), the points that each line passes, and the size of the whole."""

    boxes: dict[str, tuple[float, float, float, float]]
    paths: dict[Edge, list[Point]]
    size: tuple[float, float]


@dataclass
class _Place:
    """A box, or where a long line passes a layer."""

    layer: int
    width: float
    height: float
    before: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    y: float = 0.0  # of its middle


def layout(sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge]) -> Layout:
    """Place boxes of the given (width, height); the edges must have no cycle. The same input gives the same places.

    Raises:
        graphlib.CycleError: the edges lead in a circle.
    """
    places, chains = _places(sizes, edges)
    layers: list[list[str]] = [[] for _ in range(1 + max((p.layer for p in places.values()), default=0))]
    for key, place in places.items():
        layers[place.layer].append(key)
    _order(layers, places)
    _heights(layers, places)
    widths = [max((places[key].width for key in layer), default=0.0) for layer in layers]
    lefts = [_EDGE + sum(widths[:i]) + _GAP_X * i for i in range(len(layers))]
    boxes = {}
    for key, (width, height) in sizes.items():
        place = places[key]
        boxes[key] = (lefts[place.layer] + (widths[place.layer] - width) / 2, place.y - height / 2, width, height)
    paths = {edge: list(_points(chain, places, boxes, lefts, widths)) for edge, chain in chains.items()}
    below = max((y + height for _, y, _, height in boxes.values()), default=0.0)
    below = max([below, *(y for path in paths.values() for _, y in path)])
    return Layout(boxes, paths, (lefts[-1] + widths[-1] + _EDGE + 6, below + _EDGE + 6))


def _places(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge]
) -> tuple[dict[str, _Place], dict[Edge, list[str]]]:
    """All places, and for each edge those that it passes from its first box to its last."""
    layer = _layers(sizes, edges)
    places = {key: _Place(layer[key], width, height) for key, (width, height) in sizes.items()}
    chains: dict[Edge, list[str]] = {}
    for number, (start, end) in enumerate(edges):
        between = [f"line {number} {at}" for at in range(layer[start] + 1, layer[end])]
        for at, key in enumerate(between, layer[start] + 1):
            places[key] = _Place(at, 0.0, _LINE)
        chain = chains[start, end] = [start, *between, end]
        for left, right in itertools.pairwise(chain):
            places[left].behind.append(right)
            places[right].before.append(left)
    return places, chains


def _layers(sizes: Mapping[str, object], edges: Sequence[Edge]) -> dict[str, int]:
    before: dict[str, list[str]] = {key: [] for key in sizes}
    behind: dict[str, list[str]] = {key: [] for key in sizes}
    for start, end in edges:
        before[end].append(start)
        behind[start].append(end)
    layer: dict[str, int] = {}
    for key in graphlib.TopologicalSorter(before).static_order():
        layer[key] = max((layer[other] + 1 for other in before[key]), default=0)
    for key in sizes:
        if not before[key] and behind[key]:  # what comes from outside stands beside its first reader
            layer[key] = min(layer[other] for other in behind[key]) - 1
    return layer


def _order(layers: list[list[str]], places: dict[str, _Place]) -> None:
    """Sort each layer by where its neighbours stand, forth and back, and keep the order with the fewest crossings."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, places)
    for turn in range(_ROUNDS):
        forth = turn % 2 == 0
        for layer in layers[1:] if forth else reversed(layers[:-1]):
            at = {key: index for other in layers for index, key in enumerate(other)}
            middles = {}
            for index, key in enumerate(layer):
                beside = places[key].before if forth else places[key].behind
                middles[key] = sum(at[other] for other in beside) / len(beside) if beside else float(index)
            layer.sort(key=middles.__getitem__)
        if (found := _crossings(layers, places)) < fewest:
            best, fewest = [list(layer) for layer in layers], found
    layers[:] = best


def _crossings(layers: list[list[str]], places: dict[str, _Place]) -> int:
    count = 0
    for layer, after in itertools.pairwise(layers):
        at = {key: index for index, key in enumerate(after)}
        ends = [at[other] for key in layer for other in sorted(places[key].behind, key=at.__getitem__)]
        count += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def _heights(layers: list[list[str]], places: dict[str, _Place]) -> None:
    for layer in layers:
        _settle([0.0] * len(layer), layer, places)
    for turn in range(_ROUNDS):
        for layer in layers if turn % 2 == 0 else reversed(layers):
            wanted = []
            for key in layer:
                beside = (*places[key].before, *places[key].behind)
                wanted.append(sum(places[other].y for other in beside) / len(beside) if beside else places[key].y)
            _settle(wanted, layer, places)
    top = min((place.y - place.height / 2 for place in places.values()), default=0.0)
    for place in places.values():
        place.y += _EDGE - top


def _settle(wanted: Sequence[float], layer: Sequence[str], places: dict[str, _Place]) -> None:
    """Heights nearest to those wanted, in the layer's order and without overlap: pooled adjacent violators."""
    offsets, at = [], 0.0
    for index, key in enumerate(layer):
        if index:
            at += (places[layer[index - 1]].height + places[key].height) / 2 + _GAP_Y
        offsets.append(at)
    pools: list[tuple[float, int]] = []  # mean and number
    for want, offset in zip(wanted, offsets, strict=True):
        pools.append((want - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2], pools[-1]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    levels = [mean for mean, count in pools for _ in range(count)]
    for key, level, offset in zip(layer, levels, offsets, strict=True):
        places[key].y = level + offset


def _points(
    chain: Sequence[str],
    places: Mapping[str, _Place],
    boxes: Mapping[str, tuple[float, float, float, float]],
    lefts: Sequence[float],
    widths: Sequence[float],
) -> Iterable[Point]:
    """From the right side of the first box, level through each layer in between, to the left side of the last."""
    x, _, width, _ = boxes[chain[0]]
    yield x + width, places[chain[0]].y
    for key in chain[1:-1]:
        place = places[key]
        yield lefts[place.layer], place.y
        yield lefts[place.layer] + widths[place.layer], place.y
    yield boxes[chain[-1]][0], places[chain[-1]].y
