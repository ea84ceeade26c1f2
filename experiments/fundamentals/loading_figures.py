"""The pictures of data_loading.py: which samples are in which batch, and images per second."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_orders(orders: Mapping[str, Sequence[Sequence[int]]], samples: int) -> "Figure":
    """A row of numbered cells for each loader: its samples in order, each batch in a colour; grey: left out."""
    figure, axes = new_figure(size=(9, 1.1 + 0.42 * len(orders)))
    for row, batches in enumerate(orders.values()):
        order = [(sample, COLOURS[number % len(COLOURS)]) for number, batch in enumerate(batches) for sample in batch]
        left_out = [(sample, "0.85") for sample in sorted(set(range(samples)) - {sample for sample, _ in order})]
        for place, (sample, colour) in enumerate(order + left_out):
            gap = 0.3 * sum(place >= end for end in np.cumsum([len(batch) for batch in batches]))
            axes.barh(row, 0.94, left=place + gap, height=0.8, color=colour, alpha=0.85)
            axes.text(place + gap + 0.47, row, str(sample), ha="center", va="center", fontsize=9)
    axes.set_yticks(range(len(orders)), list(orders), fontsize=9)
    axes.set_ylim(len(orders) - 0.45, -0.55)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(
        f"{samples} samples in batches: a colour each, in the order in which they come\n"
        "drop_last=True leaves out a last batch that is not full, here the samples in grey"
    )
    return figure


def draw_speeds(speeds: Mapping[str, Sequence[float]], explained: Mapping[str, str]) -> "Figure":
    """Images per second of each way to make batches: a bar to the median, a point for each turn.

    Args:
        explained: what each way does.
    """
    figure, axes = new_figure(size=(9, 1.3 + 0.6 * len(speeds)))
    medians = [float(np.median(turns)) for turns in speeds.values()]
    places, most = range(len(speeds)), max(map(max, speeds.values()))
    colours = [COLOURS[0]] * (len(speeds) - 1) + [COLOURS[1]]  # the last is this project's own
    axes.barh(places, medians, color=colours, alpha=0.7)
    for place, (turns, median) in enumerate(zip(speeds.values(), medians, strict=True)):
        axes.plot(turns, [place] * len(turns), "o", color="black", markersize=3)
        axes.text(max(turns) + 0.015 * most, place, f"{median:,.0f}", va="center", fontsize=9)
    axes.set_yticks(places, [f"{name}\n{explained[name]}" for name in speeds], fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="images per second", xlim=(0, 1.12 * most))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.suptitle("The same batches, made in different ways: a dot for each timing, a bar to their median")
    return figure
