"""Validation curves of groups of runs: means over seeds, with a band of one standard deviation."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basics.errors import InputError
from harness.comparing.comparison import Group, Table, short_labels
from harness.comparing.events import read_curve
from harness.comparing.run_files import Run, lower_is_better
from harness.comparing.tables import format_mean
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # for those who see no colours


class Curve(NamedTuple):
    """Mean and standard deviation over runs, after each epoch that all of them have, (E,) each."""

    epochs: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def read_curves(groups: Sequence[Group], tag: str) -> tuple[list[Curve], list[tuple[Run, str]]]:
    """The curve of each group, of finite values; and the runs that cannot be read.

    A curve is without epochs if the group's runs have logged none.
    """
    unreadable: list[tuple[Run, str]] = []

    def values(run: Run) -> dict[int, float]:
        try:
            points = zip(*read_curve(run.path, tag), strict=True)
            return {epoch: value for epoch, value in points if math.isfinite(value)}
        except (InputError, OSError) as error:
            unreadable.append((run, f"no curve: {error}"))
            return {}

    return [_mean([its for run in group.runs if (its := values(run))]) for group in groups], unreadable


def _mean(values: list[dict[int, float]]) -> Curve:
    """The curve of values by epoch, from one dict for each run."""
    epochs = sorted(set.intersection(*map(set, values))) if values else []
    table = np.array([[its[epoch] for epoch in epochs] for its in values]).reshape(len(values), len(epochs))
    empty = np.zeros(len(epochs))
    std = table.std(axis=0, ddof=1) if len(values) > 1 else empty
    return Curve(np.array(epochs), table.mean(axis=0) if values else empty, std)


def curve_of(table: Table) -> str | None:
    """The validation curve that goes with what a table is ordered by."""
    return f"val/{table.by.partition('/')[2]}" if table.by and table.by.startswith(("val/", "cv/")) else None


def draw_tables(drawn: Sequence[tuple[Table, Sequence[Curve]]]) -> "Figure":
    """The curves of each table, one below the other."""
    figure, axes = new_figure(size=(8, 5.5 * len(drawn)))
    axes.remove()
    parts = figure.subfigures(len(drawn), squeeze=False)[:, 0]
    for part, (table, curves) in zip(parts, drawn, strict=True):
        draw_curves(part, table, curves)
    return figure


def draw_curves(figure: "Figure | SubFigure", table: Table, curves: Sequence[Curve]) -> None:
    """The curves of the best groups in colours, of all others in grey."""
    groups, by, axes, tag = table.groups, table.by, figure.add_subplot(), curve_of(table)
    assert by is not None and tag is not None  # else there is no curve
    all_drawn = zip(groups, short_labels(groups), curves, strict=True)
    drawn = [(group, label, curve) for group, label, curve in all_drawn if len(curve.epochs)]
    for _, _, curve in drawn[len(COLOURS) :]:
        axes.plot(curve.epochs, curve.mean, color="0.8", linewidth=0.8, zorder=1)
    for (group, label, curve), colour, style in zip(drawn, COLOURS, STYLES, strict=False):
        result = format_mean(by, group.mean(by), group.std(by))
        label = f"{_shortened(label)}   {by} {result}, n = {len(group.runs)}"
        marker = "o" if len(curve.epochs) == 1 else ""
        axes.plot(curve.epochs, curve.mean, color=colour, linestyle=style, marker=marker, label=label, zorder=3)
        axes.fill_between(curve.epochs, curve.mean - curve.std, curve.mean + curve.std, color=colour, alpha=0.2, lw=0)
    if len(drawn) > len(COLOURS):
        axes.plot([], [], color="0.8", label=f"{len(drawn) - len(COLOURS)} others")
    _label(axes, [curve for *_, curve in drawn[: len(COLOURS)]], tag)
    axes.set_title(f"{table.kind.title}: mean over seeds, and one standard deviation")
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)


def _label(axes: "Axes", curves: Sequence[Curve], tag: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    values = np.concatenate([curve.mean for curve in curves])
    if lower_is_better(tag) and values.min() > 0 and values.max() > 10 * values.min():
        lows, highs = (np.concatenate([curve.mean + side * curve.std for curve in curves]) for side in (-1, 1))
        axes.set_yscale("log")
        axes.set_ylim(np.maximum(lows, values / 2).min() / 1.1, 1.1 * highs.max())  # a band may reach below 0
    else:
        low, high = limits(curves)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low)) if high > low else None
    if tag.endswith("acc"):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=tag)
    axes.grid(alpha=0.3)


def limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """The lowest and highest value of all curves and bands, except for first epochs that would flatten the rest.

    The first tenth of each curve's epochs is left out if it would take more than two thirds of the height.
    """
    low, high = _extent(curves, 0)
    later_low, later_high = _extent(curves, 0.1)
    flattened = 0 < 3 * (later_high - later_low) < high - low
    return (later_low, later_high) if flattened else (low, high)


def _extent(curves: Sequence[Curve], share: float) -> tuple[float, float]:
    """Lowest and highest value of the curves and bands after this share of each curve's epochs."""
    later = [(curve, curve.epochs > share * curve.epochs[-1]) for curve in curves]
    lows = np.concatenate([(curve.mean - curve.std)[chosen] for curve, chosen in later])
    highs = np.concatenate([(curve.mean + curve.std)[chosen] for curve, chosen in later])
    return float(lows.min()), float(highs.max())


def _shortened(label: str, length: int = 60) -> str:
    return label if len(label) <= length else label[: length - 3] + "..."
