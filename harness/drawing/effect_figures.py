"""What the columns of a table do to a model's predictions: how much each is needed, and which way it works."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.drawing.classification_figures import STYLES
from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = 20  # columns in the figure of importance
WIDE = 3  # small figures in a row
LINES = 6  # classes or labels in the figure of dependence
LETTERS = 100  # in a line of its legend, where a name needs room for six more


class Importance(NamedTuple):
    """How much a column is needed: the rise of the error when its values are permuted."""

    column: str
    mean: float
    std: float  # over the permutations


class Dependence(NamedTuple):
    """The mean prediction when all rows have the same value in a column."""

    column: str
    points: np.ndarray  # the values, numbers or moments, (P,), or the numbers of `labels`
    labels: list[str]  # names of categories or levels; none for numbers and moments
    means: np.ndarray  # (P, outputs)
    unit: str = ""  # of the points


def draw_importance(found: Sequence[Importance], error: str, whole: float, rows: str) -> "Figure":
    """Bars from the most needed column down.

    Args:
        error: its name; `whole` is its value when nothing is permuted, and `rows` says of what.
    """
    shown = sorted(found, key=lambda each: each.mean, reverse=True)[:BARS]
    figure, axes = new_figure(size=(8, 1.3 + 0.28 * len(shown)))
    names = legible([each.column for each in shown], 24)
    axes.barh(range(len(shown)), [each.mean for each in shown], xerr=[each.std for each in shown], color=COLOURS[0],
              error_kw={"ecolor": "black", "elinewidth": 1, "capsize": 2})  # fmt: skip
    axes.set_yticks(range(len(shown)), names, fontsize=9)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"rise of {error} when the column's values are permuted; whiskers: standard deviation")
    more = f"the first {len(shown)} of {len(found)} columns" if len(found) > len(shown) else "all columns"
    axes.set_title(f"Permutation importance: {more}\n{error} {whole:.4g} on {rows}", fontsize=10)
    return figure


def draw_dependence(found: Sequence[Dependence], output: str, names: Sequence[str]) -> "Figure":
    """A small figure for each column, with the same scale for all.

    Args:
        output: what is predicted.
        names: those of the outputs, if there are several.
    """
    rows = -(-len(found) // WIDE)
    figure, grid = new_figure(rows, WIDE, size=(8, 0.9 + 2.4 * rows), squeeze=False, sharey=True)
    lines, columns = _lines(found), legible([each.column for each in found], 24)
    for axes, each, column in zip(grid.flat, found, columns, strict=False):
        for place, line in enumerate(lines):
            _draw(axes, each, each.means[:, line], place)
        axes.set_xlabel(f"{column} ({each.unit})" if each.unit else column, fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in grid.flat[len(found) :]:
        axes.axis("off")
    if len(lines) > 1:
        short = legible(names)
        drawn = [short[line] for line in lines]
        handles = grid.flat[0].get_lines()
        across = min(len(drawn), LETTERS // (6 + max(map(len, drawn))))
        figure.legend(handles, drawn, loc="outside lower center", ncols=across, fontsize=8)
    figure.supylabel(f"mean {output}", fontsize=9)
    figure.suptitle("Partial dependence: the mean prediction if all rows had this value", fontsize=10)
    return figure


def _lines(found: Sequence[Dependence]) -> list[int]:
    """Which outputs are drawn: of many, those that depend most on the columns."""
    spans = np.max([np.ptp(each.means, axis=0) for each in found], axis=0)  # (outputs,)
    return sorted(np.argsort(-spans, kind="stable")[:LINES].tolist())


def _draw(axes: "Axes", each: Dependence, means: np.ndarray, place: int) -> None:
    colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
    if not each.labels:
        axes.plot(each.points, means, marker="o", markersize=3, color=colour, linestyle=style)
        if each.points.dtype.kind == "M":
            ends = each.points[[0, -1]]
            axes.set_xticks(ends, [str(day) for day in ends.astype("datetime64[D]")])
        else:
            axes.locator_params(axis="x", nbins=5)
        return
    axes.plot(range(len(means)), means, marker="o", markersize=5, color=colour, linestyle="none")
    names = legible(each.labels, 12)
    slanted: dict[str, Any] = dict(rotation=35, ha="right", rotation_mode="anchor") if sum(map(len, names)) > 24 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
