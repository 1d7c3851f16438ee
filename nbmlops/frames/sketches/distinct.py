"""How many distinct values there are, from a fixed amount of memory: HyperLogLog over our own hashes.

2,048 registers of one byte: the standard error is 1.04 / sqrt(2048) = 2.3 %. Registers of parts merge into those of the
whole exactly, whatever the cut and the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_BITS = 11
SIZE = 1 << _BITS
_REST = 64 - _BITS  # bits of a hash that count leading zeros
MOST = _REST + 1  # the largest value of a register
ERROR = 1.04 / math.sqrt(SIZE)


def registers(hashes: np.ndarray) -> np.ndarray:
    """The registers of these hashes, each value once or often; ``uint8`` of :data:`SIZE`."""
    least = np.full(SIZE, 1 << _REST, np.uint64)
    # The most leading zeros of a register belong to its smallest rest, so one minimum replaces counting bits.
    np.minimum.at(least, (hashes >> np.uint64(_REST)).astype(np.int64), hashes & np.uint64((1 << _REST) - 1))
    length = np.frexp(least.astype(np.float64))[1]
    return np.where(length > _REST, 0, MOST - length).astype(np.uint8)


def union(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The registers of all parts together."""
    return np.max(np.stack(list(parts)), axis=0)


def estimate(found: np.ndarray) -> float:
    """About how many distinct values made these registers (Ertl 2017, "New cardinality estimation algorithms for
    HyperLogLog sketches", algorithm 6: no bias tables, one formula for all sizes).
    """
    counts = np.bincount(found, minlength=MOST + 1)
    total = SIZE * _tau(1 - counts[MOST] / SIZE)
    for value in range(_REST, 0, -1):
        total = 0.5 * (total + float(counts[value]))
    total += SIZE * _sigma(counts[0] / SIZE)
    return 0.0 if math.isinf(total) else SIZE * SIZE / (2 * math.log(2)) / total


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    step, total = 1.0, x
    while True:
        x *= x
        before, total = total, total + x * step
        step += step
        if total == before:
            return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    step, total = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        step *= 0.5
        before, total = total, total - (1 - x) ** 2 * step
        if total == before:
            return total / 3
