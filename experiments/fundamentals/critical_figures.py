"""The pictures of critical points: where they are, which of them Newton finds, and how descent passes a saddle."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from experiments.fundamentals.critical_points import KINDS, Critical, Escape, Function, newton
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: dict[str, dict[str, Any]] = {  # of the points of each kind
    "minimum": dict(marker="*", color=COLOURS[0], markersize=15),
    "saddle": dict(marker="X", color=COLOURS[1], markersize=11),
    "maximum": dict(marker="^", color=COLOURS[2], markersize=11),
}
WAYS = {"plain": (COLOURS[0], "-"), "momentum": (COLOURS[1], "--")}
CELLS = 121  # starts of Newton's method along each side of its map


class Passage(NamedTuple):
    """A descent past a saddle, and one from rest beside it."""

    path: Tensor  # (steps + 1, 2)
    escape: Escape


def draw_critical_points(f: Function, critical: Critical, span: float) -> "Figure":
    """All critical points on contours, with the ways down from saddles; and the kind that Newton finds, by start."""
    figure, (left, right) = new_figure(1, 2, size=(10, 6.0), sharex=True, sharey=True)
    _contours(left, f, (-span, span), (-span, span), 2.0 ** np.arange(-2, 13))
    for point, kind, directions, value in zip(
        critical.points, critical.kinds, critical.directions, critical.values.tolist(), strict=True
    ):
        if kind == "saddle":
            ends = torch.stack([point - 0.9 * directions[:, 0], point + 0.9 * directions[:, 0]]).T
            left.plot(*ends, color=COLOURS[1], linewidth=2.5)
        for axes in (left, right):
            axes.plot(*point, markeredgecolor="white", linestyle="none", zorder=3, **LOOKS[kind])
        if kind != "minimum":
            _write_beside(left, point, directions[:, 0], f"{value:.1f}")
    _map_of_newton(right, f, critical, span)
    left.set(title="f is given at saddles and at the maximum", xlabel="x", ylabel="y", aspect="equal")
    right.set(title="what Newton's method finds, by start", xlabel="x", aspect="equal")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Where the gradient of Himmelblau's function is zero")
    return figure


def _write_beside(axes: "Axes", point: Tensor, direction: Tensor, text: str) -> None:
    """Writes above the point, or to its right where the line along `direction` is steep."""
    steep = bool(direction[1].abs() > direction[0].abs())
    place: dict[str, Any] = dict(ha="left", va="center") if steep else dict(ha="center", va="bottom")
    axes.annotate(
        text, tuple(point.tolist()), (9, 0) if steep else (0, 7), textcoords="offset points", fontsize=9, **place
    )


def _map_of_newton(axes: "Axes", f: Function, critical: Critical, span: float) -> None:
    from matplotlib.colors import to_rgb

    line = torch.linspace(-span, span, CELLS, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    ends = newton(f, torch.stack([x, y], -1).view(-1, 2))
    number = (ends[:, None] - critical.points).norm(dim=2).argmin(1)  # (CELLS^2,)
    colours = np.array([to_rgb(LOOKS[kind]["color"]) for kind in critical.kinds])
    pale = np.linspace(0.35, 0.6, len(colours))[:, None]  # neighbours of one kind are told apart by their shades
    image = (pale + (1 - pale) * colours)[number.numpy()].reshape(CELLS, CELLS, 3)
    axes.imshow(image, origin="lower", extent=(-span, span, -span, span))


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    points = [Line2D([], [], linestyle="none", markeredgecolor="white", label=kind, **LOOKS[kind]) for kind in KINDS]
    return [*points, Line2D([], [], color=COLOURS[1], linewidth=2.5, label="downhill on both sides")]


def draw_saddle(f: Function, saddle: Tensor, passages: dict[str, Passage]) -> "Figure":
    """Two descents that come by a saddle: their paths, their gradients, and how fast they leave from beside it."""
    figure, (paths, gradients, distances) = new_figure(1, 3, size=(11, 4.6))
    _contours(paths, f, (1.8, 5.9), (-2.6, 2.9), 2.0 ** np.arange(-1, 10, 0.5))
    for name, (path, escape) in passages.items():
        colour, style = WAYS[name]
        look: dict[str, Any] = dict(color=colour, linestyle=style, linewidth=2, label=name)
        paths.plot(*path.T, marker=".", markersize=5, color=colour, linewidth=1, linestyle=style, label=name)
        gradients.semilogy(vmap(grad(f))(path).norm(dim=1), **look)
        distances.semilogy(escape.distances, **look)
        steps = np.arange(len(escape.distances))
        theory = escape.distances[0] * escape.factor**steps
        distances.semilogy(steps[theory < 3], theory[theory < 3], color="black", linewidth=1, linestyle=":")
    paths.plot(*saddle, **LOOKS["saddle"], markeredgecolor="white", zorder=3)
    paths.plot(*passages["plain"].path[0], "o", color="black")
    paths.set(xlabel="x", ylabel="y", title="two descents from ●, a dot for each step")
    gradients.set(xlabel="step", ylabel="norm of the gradient", title="plain descent slows near the saddle")
    distances.set(xlabel="step", ylabel="distance from the saddle", title="from rest beside it; dotted: theory")
    for axes in (gradients, distances):
        axes.grid(alpha=0.3)
    for axes in (paths, gradients, distances):
        axes.title.set_fontsize(11)
    figure.legend(*distances.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _contours(
    axes: "Axes", f: Function, x_range: tuple[float, float], y_range: tuple[float, float], levels: np.ndarray
) -> None:
    x, y = torch.meshgrid(*(torch.linspace(*ends, 200).double() for ends in (x_range, y_range)), indexing="xy")
    axes.contour(x, y, f(torch.stack([x, y], -1)), levels, colors="0.75", linewidths=0.5)
    axes.set(xlim=x_range, ylim=y_range)
