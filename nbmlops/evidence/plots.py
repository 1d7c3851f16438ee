"""The pictures of evidence, as small SVG files; names in them are text, whatever they hold."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, ACCENT, WARM = "#1f2933", "#9aa5b1", "#2f6f8f", "#b4532a"
_POINTS = 2_000
_BARS = 15


def confusion(report: dict[str, Any]) -> bytes:
    """Rows are what was right; the colour is the share of a row, the numbers are rows of data."""
    counts, names = np.array(report["counts"]), report["classes"]
    side = min(1.6 + 0.42 * len(names), 8.0)
    figure, axes = _figure(side + 0.6, side)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
    if len(names) <= 12:
        for (i, j), count in np.ndenumerate(counts):
            axes.text(
                j, i, f"{count:,}", ha="center", va="center", fontsize=8, color="white" if share[i, j] > 0.6 else INK
            )
    turned = 0 if max(map(len, names)) <= 6 else 45
    axes.set_xticks(range(len(names)), [_short(n) for n in names], rotation=turned, ha="right" if turned else "center")
    axes.set_yticks(range(len(names)), [_short(n) for n in names])
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return _svg(figure)


def calibration(report: dict[str, Any]) -> bytes:
    """What was said against what came; on the line the two are the same. Points grow with their rows."""
    figure, axes = _figure(4.2, 3.6)
    rows = np.array([b["rows"] for b in report["bins"]], dtype=float)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    said, came = [b["said"] for b in report["bins"]], [b["came"] for b in report["bins"]]
    axes.plot(said, came, color=ACCENT, linewidth=1.5)
    axes.scatter(said, came, s=20 + 60 * rows / rows.max(), color=ACCENT, zorder=3)
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel=f"said: probability of {_short(report['of'])}",
        ylabel="came true",
    )
    return _svg(figure)


def residuals(actual: np.ndarray, predicted: np.ndarray) -> bytes:
    """Actual minus predicted, over the prediction."""
    figure, axes = _figure(4.6, 3.2)
    if len(actual) > _POINTS:
        kept = np.random.default_rng(0).choice(len(actual), _POINTS, replace=False)
        actual, predicted = actual[kept], predicted[kept]
    axes.axhline(0, color=SOFT, linewidth=1)
    # A thousand points as vectors are slow to look at; the axes stay text.
    axes.scatter(predicted, actual - predicted, s=7, color=ACCENT, alpha=0.45, linewidths=0, rasterized=True)
    axes.set(xlabel="predicted", ylabel="actual − predicted")
    return _svg(figure)


def importance(report: dict[str, Any]) -> bytes:
    """The most important columns, with the range over the repeats."""
    rows = report["columns"][:_BARS][::-1]
    figure, axes = _figure(5.0, 0.9 + 0.26 * len(rows))
    means = np.array([row["mean"] for row in rows])
    spread = np.array([[row["mean"] - row["low"] for row in rows], [row["high"] - row["mean"] for row in rows]])
    axes.barh(range(len(rows)), means, color=ACCENT, height=0.62)
    axes.errorbar(means, range(len(rows)), xerr=np.maximum(spread, 0), fmt="none", ecolor=WARM, elinewidth=1)
    axes.set_yticks(range(len(rows)), [_short(row["column"], 28) for row in rows])
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(f"{report['score']} lost when the column is shuffled")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set(size=9, color=INK)
    axes.yaxis.label.set(size=9, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    # The same figures give the same bytes, and a viewer's own font is used.
    with matplotlib.rc_context({"svg.hashsalt": "nbmlops", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _short(name: Any, most: int = 18) -> str:
    """Cut, and with no dollar signs: matplotlib would read what stands between two of them as a formula."""
    text = str(name).replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"
