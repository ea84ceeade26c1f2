"""Figures with a panel for each of some names."""

import math
from typing import TYPE_CHECKING

from harness.drawing.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROWEST = 7.0  # inches that a figure's title and legend need


def named_panels(
    names: list[str], most: int, cell: tuple[float, float], x_label: str, y_label: str
) -> tuple["Figure", "list[Axes]"]:
    """A figure with a panel for each name, at most so many in a row, which share their axes.

    Args:
        cell: width and height of a panel with its labels, in inches.
    """
    columns = min(most, len(names))
    rows = math.ceil(len(names) / columns)
    size = (max(NARROWEST, cell[0] * columns), cell[1] * rows + 1)
    figure, grid = new_figure(rows, columns, size=size, squeeze=False, sharex=True, sharey=True)
    panels = list(grid.flat)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name)
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    return figure, panels[: len(names)]
