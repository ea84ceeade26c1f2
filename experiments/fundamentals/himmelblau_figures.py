"""The pictures of himmelblau.py: trajectories, basins of attraction, arrivals by step, and the surface."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from experiments.fundamentals.panels import named_panels
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Function = Callable[[Tensor], Tensor]  # from points (..., 2) to values (...)
PALE = 0.35  # opacity of a start that came close to a minimum but did not settle there
NEAR = 0.5  # the distance that counts as close: less than a quarter of that between the two closest minima
STYLES = ("-", "--", "-.", ":")


def draw_trajectories(f: Function, minima: Tensor, span: float, outcomes: dict[str, Any]) -> "Figure":
    """One panel for each optimizer: the path from each named start, on contours a factor of two apart."""
    figure, panels = _panels(list(outcomes), span)
    x, y, values = _grid(f, span, 200)
    levels = 2.0 ** np.arange(-2, 13)
    for axes, outcome in zip(panels, outcomes.values(), strict=True):
        axes.contour(x, y, values, levels, colors="0.75", linewidths=0.5)
        for path, colour in zip(outcome.path.unbind(1), COLOURS, strict=False):  # (steps + 1, 2) each
            axes.plot(*path.T, color=colour, linewidth=1, marker=".", markersize=3)
            axes.plot(*path[0], color=colour, marker="o", markersize=7, markeredgecolor="black")
        axes.plot(*minima.T, "k*", markersize=10, markeredgecolor="white", zorder=3)
    figure.suptitle("Himmelblau's function: a dot for each step, from ● to a minimum ★; contours double f")
    return figure


def draw_basins(minima: Tensor, span: float, outcomes: dict[str, Any], side: int, skip: int) -> "Figure":
    """One panel for each optimizer: the colour of a cell is that of the minimum its start reached.

    Args:
        side: cells along each side of the grid.
        skip: how many named starts come before those of the cells.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    figure, panels = _panels(list(outcomes), span)
    palette = np.array([to_rgb(colour) for colour in COLOURS[: len(minima)]])
    for axes, outcome in zip(panels, outcomes.values(), strict=True):
        minimum, distance, arrived = (
            part[skip:].numpy() for part in (outcome.minimum, outcome.distance, outcome.arrived)
        )
        opacity = np.where(arrived, 1, PALE)[:, None]  # (side^2, 1)
        image = opacity * palette[minimum] + (1 - opacity)  # on a white ground
        image[~arrived & ~(distance < NEAR)] = 0.6
        image[~np.isfinite(distance)] = 0
        axes.imshow(image.reshape(side, side, 3), origin="lower", extent=(-span, span, -span, span))
        for number, (x, y) in enumerate(minima.tolist(), start=1):
            axes.text(x, y, str(number), ha="center", va="center", bbox=dict(boxstyle="circle", fc="white"))
    names = [f"{number}: ({x:.2f}, {y:.2f})" for number, (x, y) in enumerate(minima.tolist(), start=1)]
    handles = [Patch(color=colour, label=name) for colour, name in zip(palette, names, strict=True)]
    handles += [Patch(color="0.6", label="elsewhere"), Patch(color="black", label="diverged")]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle("Which minimum a start comes to; pale: near it, but not settled there")
    return figure


def draw_arrivals(outcomes: dict[str, Any], steps: int, tolerance: float) -> "Figure":
    """The share of starts that have reached a minimum for good, by step, for each optimizer."""
    from matplotlib.ticker import PercentFormatter

    figure, axes = new_figure(size=(8, 4.5))
    for number, (name, outcome) in enumerate(outcomes.items()):
        arrivals = outcome.steps[outcome.arrived].bincount(minlength=steps + 1)  # (steps + 1,)
        shares = arrivals.cumsum(0) / len(outcome.arrived)
        style = dict(color=COLOURS[number % len(COLOURS)], linestyle=STYLES[number % len(STYLES)])
        axes.plot(shares, label=f"{name}, {arrivals.sum():,}", linewidth=2, **style)
    axes.set(xlabel="step", ylabel="share of starts", ylim=(-0.02, 1.02), xlim=(0, steps))
    axes.set_title(f"Starts that stay within {tolerance:g} of a minimum from this step on")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(title=f"of {len(outcome.arrived):,} in the end")
    axes.grid(alpha=0.3)
    return figure


def draw_surface(f: Function, minima: Tensor, span: float, name: str, path: Tensor) -> "Figure":
    """log10(1 + f) above the plane, with the paths of the named starts, (steps + 1, starts, 2)."""
    figure, axes = new_figure(size=(8, 6.5), subplot_kw={"projection": "3d", "computed_zorder": False})
    x, y, values = _grid(f, span, 120)
    shades = dict(cmap="Greys", vmin=-0.5, vmax=6)  # light ones, on which the paths stand out
    axes.plot_surface(x, y, _height(values), rcount=120, ccount=120, antialiased=False, **shades)
    for way, colour in zip(path.unbind(1), COLOURS, strict=False):  # (steps + 1, 2)
        way = way[way.abs().amax(1) <= span]
        axes.plot(*way.T, _height(f(way)) + 0.03, color=colour, linewidth=1.5, zorder=4)
        axes.plot(*way[:1].T, _height(f(way[:1])), "o", color=colour, markeredgecolor="black", zorder=5)
    axes.plot(*minima.T, _height(f(minima)), "k*", markersize=12, markeredgecolor="white", zorder=5)
    axes.set(
        xlabel="x", ylabel="y", zlabel="log$_{10}$(1 + f)", title=f"Himmelblau's function, with the paths of {name}"
    )
    axes.view_init(elev=50, azim=-65)
    return figure


def _panels(names: list[str], span: float) -> tuple["Figure", "list[Axes]"]:
    """A figure with a square panel for each name, at most three in a row."""
    figure, panels = named_panels(names, 3, (3.4, 3.3) if len(names) > 1 else (7.0, 6.0), "x", "y")
    panels[0].set(xlim=(-span, span), ylim=(-span, span))  # and the others, which share these
    for axes in panels:
        axes.set_aspect("equal")
    return figure, panels


def _grid(f: Function, span: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    line = torch.linspace(-span, span, count, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    return x, y, f(torch.stack([x, y], -1))


def _height(values: Tensor) -> Tensor:
    return (1 + values).log10()
