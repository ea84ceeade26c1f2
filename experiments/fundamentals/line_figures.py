"""Pictures of linear_regression.py: points and lines, the loss over slope and height, and the loss by points seen."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.fundamentals.line_descent import Descent, Grid, Points, least_squares, losses_on_grid, smoothed
from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-", "--", ":")  # of lines that colours tell apart already
SMOOTHING = 0.9  # about 10 steps
DRAWN = 4000  # points or steps at most; more would be indistinguishable
NAME = 40  # characters of a column's name along an axis
FLOOR = 1e-12  # of losses on a logarithmic axis, which reach 0 without noise


def draw_fit(points: Points, lines: dict[str, np.ndarray], truth: tuple[float, float] | None) -> "Figure":
    """The points, the fitted lines and the least-squares line.

    Args:
        lines: slope and intercept of each.
        truth: slope and intercept of the line that the points were generated from.
    """
    figure, axes = new_figure(size=(7, 5))
    stride = -(-len(points.x) // DRAWN)
    axes.scatter(
        points.x[::stride], points.y[::stride], s=14, alpha=0.5, color="0.45", label=f"{len(points.x):,} points"
    )
    ends = np.array([points.x.min(), points.x.max()])
    best = points.lines(least_squares(points))
    label = f"least squares: {_equation(points, best)}"
    axes.plot(ends, best[0] * ends + best[1], color="0.8", linewidth=6, label=label)
    for (name, line), colour, style in zip(lines.items(), COLOURS, STYLES, strict=False):
        label = f"{_words(name)}: {_equation(points, line)}"
        axes.plot(ends, line[0] * ends + line[1], color=colour, linestyle=style, linewidth=2, label=label)
    if truth:
        label = f"truth: {_equation(points, truth)}"
        axes.plot(ends, truth[0] * ends + truth[1], color="black", linewidth=0.8, label=label)
    axes.set(xlabel=shortened(points.x_name, NAME), ylabel=shortened(points.y_name, NAME))
    axes.set_title("Points and fitted lines")
    figure.legend(fontsize=9, loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    return figure


def draw_paths(points: Points, descents: dict[str, Descent]) -> "Figure":
    """The path of each descent across the contours of the loss, as a whole and near the minimum."""
    figure, rows = new_figure(2, len(descents), size=(1.5 + 3 * len(descents), 6.4), squeeze=False)
    best = _at_mean(points, least_squares(points))
    ways = {name: _at_mean(points, descent.path) for name, descent in descents.items()}
    everything = np.concatenate([*ways.values(), best[None]])
    ends = np.concatenate([way[-max(len(way) // 5, 1) :] for way in ways.values()])
    whole = 1.15 * abs(everything - best).max(axis=0)
    whole = np.maximum(whole, 0.05 * whole.max() or 1.0)  # in case the start has the right slope or height by chance
    near = np.maximum(1.3 * abs(ends - best).max(axis=0), 0.05 * whole)
    for column, (name, way) in enumerate(ways.items()):
        for axes, reach in zip(rows[:, column], (whole, near), strict=True):
            _contours(axes, points, best, reach)
            _path(axes, way, best)
        rows[0, column].set_title(f"{_words(name)}\n{len(way) - 1:,} steps", fontsize=11)
        rows[1, column].set_xlabel(_slope(points))
    for axes, what in zip(rows[:, 0], ("whole path", "near the minimum"), strict=True):
        axes.set_ylabel(f"{what}\n{_intercept(points)}")
    rows[0, 0].legend(fontsize=8, loc="lower right")
    return figure


def _path(axes: "Axes", way: np.ndarray, best: np.ndarray) -> None:
    dense = len(way) > 1000  # then the points visited say more than the lines between them
    width, size = (0.25, 1.5) if dense else (1.2, 4.0)
    w, b = way[:: -(-len(way) // DRAWN)].T
    axes.plot(w, b, color=COLOURS[1], linewidth=width, marker=".", markersize=size)
    axes.plot(*way[0], marker="s", color="black", markersize=7, linestyle="none", label="start")
    axes.plot(*best, marker="*", color="black", markersize=12, linestyle="none", label="least squares")
    axes.plot(*way[-1], marker="o", color="white", markeredgecolor="black", markersize=6, linestyle="none", label="end")


def _contours(axes: "Axes", points: Points, best: np.ndarray, reach: np.ndarray) -> None:
    """Lines of equal loss within `reach` of the best slope and height."""
    slopes, heights = (np.linspace(middle - far, middle + far, 80) for middle, far in zip(best, reach, strict=True))
    losses = losses_on_grid(points, slopes * points.x.std(), heights)
    lowest, highest = losses.min(), losses.max()
    # Equal steps of distance from the minimum; the loss grows with the square of the distance.
    levels = lowest + (highest - lowest) * np.linspace(0, 1, 11) ** 2
    axes.contourf(slopes, heights, losses, levels, cmap="Blues", alpha=0.6)
    axes.contour(slopes, heights, losses, levels, colors="white", linewidths=0.7)
    axes.set(xlim=slopes[[0, -1]], ylim=heights[[0, -1]])


def draw_losses(points: Points, descents: dict[str, Descent]) -> "Figure":
    """The loss on each batch, raw and smoothed, by the number of points seen."""
    figure, panels = new_figure(1, 2, size=(9, 4.4), sharex=True, sharey=True)
    smooth = {name: smoothed(descent.losses, SMOOTHING).clip(FLOOR) for name, descent in descents.items()}
    for number, (name, descent) in enumerate(descents.items()):
        seen = descent.batch * np.arange(1, len(descent.losses) + 1)
        style = dict(color=COLOURS[number], zorder=4 - number)  # the quietest curve on top
        panels[0].plot(seen, descent.losses.clip(FLOOR), linewidth=1, alpha=1 - 0.3 * number, **style)
        panels[1].plot(seen, smooth[name], linewidth=2, linestyle=STYLES[number], label=_words(name), **style)
    lowest = losses_on_grid(points, *least_squares(points)[:, None]).item()
    bottom = 0.1 * min(values.min() for values in smooth.values())
    panels[0].set(xscale="log", yscale="log", ylabel="mean squared error of the batch", title="each step's loss")
    panels[0].set_ylim(bottom=bottom)  # some points lie on the line by chance, and would stretch the axis far down
    panels[1].set_title(f"smoothed over about {1 / (1 - SMOOTHING):.0f} steps, bias-corrected")
    for axes in panels:
        axes.axvline(len(points.x), color="0.5", linewidth=1, linestyle="-.", label="end of the first epoch")
        if lowest > bottom:
            axes.axhline(lowest, color="black", linewidth=0.8, label="least squares, all points")
        axes.set_xlabel("points seen")
        axes.grid(alpha=0.3)
    panels[1].legend(fontsize=8)
    return figure


def draw_gradients(by_hand: np.ndarray, by_differences: np.ndarray) -> "Figure":
    """Both gradients, (S, 2), step by step, and how far apart they are."""
    figure, (values, gaps) = new_figure(1, 2, size=(9, 3.8))
    for column, name in enumerate(("slope", "intercept")):
        values.plot(by_hand[:, column], color=COLOURS[column], linestyle=STYLES[column], label=f"{name}, by hand")
        values.plot(
            by_differences[:, column], marker="os"[column], color=COLOURS[column], linestyle="none", fillstyle="none",
            label=f"{name}, central differences",
        )  # fmt: skip
        gap = abs(by_hand - by_differences)[:, column].clip(1e-16)
        gaps.semilogy(gap, marker="os"[column], color=COLOURS[column], linestyle=STYLES[column], label=name)
    values.set(xlabel="step", ylabel="gradient of the mean squared error", title="gradients over all points")
    gaps.set(xlabel="step", ylabel="absolute difference", title="how far they are apart")
    for axes in (values, gaps):
        axes.legend(fontsize=9)
        axes.grid(alpha=0.3)
    return figure


def draw_search(points: Points, grids: list[Grid]) -> "Figure":
    """The loss of each line of the first grid, with the position of the next grid, and as a surface."""
    from matplotlib.ticker import MaxNLocator

    figure, (plan, surface) = new_figure(1, 2, size=(10, 4.6))
    first, best = grids[0], _at_mean(points, grids[-1].best())
    slopes, heights = first.slopes / points.x.std(), first.heights
    mesh = plan.pcolormesh(slopes, heights, first.losses, cmap="viridis_r", norm="log", rasterized=True)
    levels = first.losses.max() * np.linspace(0, 1, 11)[1:] ** 2  # evenly spaced contours, as the loss is quadratic
    plan.contour(slopes, heights, first.losses, levels, colors="white", linewidths=0.8)
    w, c = grids[1].slopes[[0, -1]] / points.x.std(), grids[1].heights[[0, -1]]
    plan.plot(w[[0, 1, 1, 0, 0]], c[[0, 0, 1, 1, 0]], color=COLOURS[1], linewidth=2, label="the next, finer grid")
    plan.plot(*best, marker="*", color="white", markeredgecolor="black", markersize=9, linestyle="none", label="best")
    tried = sum(grid.losses.size for grid in grids)
    plan.set(
        xlabel=_slope(points),
        ylabel=_intercept(points),
        title=f"{tried:,} lines tried on {len(grids)} grids; the first",
    )
    plan.legend(fontsize=9, loc="lower left")
    figure.colorbar(mesh, ax=plan, label="mean squared error")
    place = surface.get_subplotspec()
    surface.remove()
    surface = figure.add_subplot(place, projection="3d")
    surface.plot_surface(*np.meshgrid(slopes, heights), first.losses, cmap="viridis_r", linewidth=0, alpha=0.95)
    surface.set(xlabel="slope", ylabel="intercept", zlabel="mean squared error", title="the same as a surface")
    for axis in (plan.xaxis, surface.xaxis, surface.yaxis, surface.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    surface.zaxis.set_major_formatter(lambda loss, _: f"{loss:.3g}")
    surface.tick_params(labelsize=8)
    surface.zaxis.labelpad = 10  # beside numbers such as 1.2e+09
    surface.view_init(elev=28, azim=-60)
    surface.set_box_aspect(None, zoom=0.82)  # room for the labels
    return figure


def _at_mean(points: Points, weights: np.ndarray) -> np.ndarray:
    """Slopes on x and heights at its mean, (..., 2): axes on which the contours are not tilted, for any x."""
    return weights / np.array([points.x.std(), 1.0])


def _slope(points: Points) -> str:
    named = (points.x_name, points.y_name) != ("x", "y")
    return f"slope, {shortened(points.y_name)} per {shortened(points.x_name)}" if named else "slope w"


def _intercept(points: Points) -> str:
    """Descents know the line by its height at the mean of x, which is the intercept b where x is centred."""
    mean = points.x.mean()
    centred = abs(mean) < 1e-9 * points.x.std()
    return "intercept b" if centred else f"intercept at mean {shortened(points.x_name)}, {mean:.4g}"


def _equation(points: Points, line: np.ndarray | tuple[float, float]) -> str:
    x, y, sign = shortened(points.x_name), shortened(points.y_name), "+" if line[1] >= 0 else "−"  # noqa: RUF001
    return f"{y} = {line[0]:.4g} {x} {sign} {abs(line[1]):.4g}"


def _words(name: str) -> str:
    """The name of a result in the legend."""
    size = name.removeprefix("batch")
    return {"full": "full batch", "search": "search", "batch1": "single points"}.get(name, f"mini-batches of {size}")
