"""Plots of a few bars that fit into a table's cell: a line of block characters in text, a small SVG in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_BLOCKS = "▁▂▃▄▅▆▇█"
_HEIGHT, _STEP, _BAR = 18, 5, 4  # pixels


class Plot(str):
    """A row of bars. Its text is a line of block characters, so that it can go wherever a text can."""

    heights: tuple[float, ...]
    label: str

    def __new__(cls, amounts: Sequence[float], label: str) -> Plot:
        most = max(amounts, default=0)
        heights = tuple(max(0.0, a / most) for a in amounts) if most > 0 else (0.0,) * len(amounts)
        made = super().__new__(cls, "".join(_block(h) for h in heights))
        made.heights, made.label = heights, label
        return made

    def svg(self) -> str:
        """The bars as inline SVG in the accent colour of the page; nothing is loaded."""
        width = max(1, len(self.heights) * _STEP - (_STEP - _BAR))
        bars = "".join(
            f"M{i * _STEP} {_HEIGHT}v-{max(1.0, h * _HEIGHT):.1f}h{_BAR}V{_HEIGHT}z"
            for i, h in enumerate(self.heights)
            if h > 0
        )
        box = f'width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}"'
        return (
            f'<svg class="nbm-plot" {box} role="img" aria-label="{escape(self.label)}"><path d="{bars}"></path></svg>'
        )


def _block(height: float) -> str:
    return " " if height <= 0 else _BLOCKS[min(len(_BLOCKS) - 1, int(height * len(_BLOCKS)))]


def of_profile(profile: Mapping[str, Any]) -> str:
    """The histogram of a column's profile, or its most frequent values; an empty text if it has neither."""
    histogram = profile.get("histogram")
    if isinstance(histogram, Mapping) and histogram.get("counts"):
        return Plot([float(c) for c in histogram["counts"]], "histogram")
    top = profile.get("top")
    if isinstance(top, list | tuple) and len(top) > 1:
        return Plot([float(n) for _, n in top], "most frequent values")
    return ""
