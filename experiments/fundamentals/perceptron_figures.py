"""The pictures of perceptron.py: boundaries by update, errors by pass, updates beside their bound, and the bias."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.fundamentals.threshold_unit import Course, Points, answers
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIMIT = 1.05  # of the axes; the points are in [-1, 1]^2
SHOWN = 20  # of the last boundaries at most
CLASSES = ((-1, COLOURS[0], "o"), (1, COLOURS[1], "^"))


def draw_rule(sets: dict[str, Points], courses: Sequence[Course], logistic: Sequence[np.ndarray]) -> "Figure":
    """A panel for each set: the last boundaries of the perceptron, ever darker, and that of logistic regression."""
    figure, panels = new_figure(1, 2, size=(9, 5.2), sharex=True, sharey=True)
    for axes, (name, points), course, its in zip(panels, sets.items(), courses, logistic, strict=True):
        _points(axes, points)
        boundaries = course.weights[1:][-SHOWN:]
        for shade, weights in zip(np.linspace(0.15, 0.6, len(boundaries)), boundaries, strict=True):
            _line(axes, weights, color="black", alpha=shade, linewidth=0.8)
        _line(axes, boundaries[-1], color="black", linewidth=2.5, label="perceptron, last boundary")
        _line(axes, its, color=COLOURS[2], linestyle="--", linewidth=2.5, label="logistic regression")
        end = "stops" if course.wrong[-1] == 0 else "stopped"
        axes.set_title(f"{name}: {end} after {course.updates:,} updates", fontsize=11)
        axes.set(xlabel="$x_1$")
    panels[0].set_ylabel("$x_2$")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Rosenblatt's rule: thin lines are its last boundaries, at most {SHOWN}")
    return figure


def draw_errors(sets: dict[str, Points], courses: Sequence[Course], logistic: Sequence[np.ndarray]) -> "Figure":
    """How many points the perceptron has wrong after each pass, and how many logistic regression has at its minimum."""
    figure, axes = new_figure(size=(8, 4.8))
    for (name, points), course, its, colour, marker in zip(
        sets.items(), courses, logistic, COLOURS, "o^", strict=False
    ):
        passes = np.arange(1, len(course.wrong) + 1)
        axes.plot(passes, course.wrong, color=colour, marker=marker, linewidth=1.5, label=f"perceptron, {name}")
        wrong = (answers(its, points) != points.y).sum()
        axes.axhline(wrong, color=colour, linestyle="--", linewidth=1.5, label=f"logistic regression, {name}")
    axes.set(xlabel="pass over the points", ylabel=f"points that are wrong, of {len(points.y)}", ylim=(-2, None))
    axes.set_title("Where no line separates the points, the rule does not come to rest")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    axes.grid(alpha=0.3)
    return figure


def draw_bound(counts: dict[float, list[tuple[float, int]]]) -> "Figure":
    """Updates against Novikoff's bound, both logarithmic: a dot for each set of points, below the line of the bound."""
    figure, axes = new_figure(size=(8, 5))
    for (gap, pairs), colour, marker in zip(counts.items(), COLOURS, "os^DvP", strict=True):
        bounds, updates = np.array(pairs).T
        axes.loglog(
            bounds, updates, marker, color=colour, alpha=0.8, markersize=7, markeredgecolor="white", label=f"{gap:g}"
        )
    limits = np.array(axes.get_xlim())
    axes.plot(limits, limits, color="black", linewidth=2)
    axes.text(*np.full(2, np.sqrt(limits.prod())), "the bound  ", ha="right", va="bottom")
    axes.set(
        xlabel="most updates by the bound, (R / margin)$^2$", ylabel="updates until no point is wrong", xlim=limits
    )
    axes.set_title("Novikoff's bound: the closer the points to the line, the more updates")
    axes.legend(title="distance from the line", loc="upper left", fontsize=9)
    axes.grid(alpha=0.3)
    return figure


def draw_bias(points: Points, weights: np.ndarray, unbiased: np.ndarray) -> "Figure":
    """What the bias moves: the boundary, parallel to itself, and with it the share of points that are right."""
    figure, (left, right) = new_figure(1, 2, size=(9, 5))
    length = np.linalg.norm(weights[:2])
    biases = np.linspace(-1.2, 1.2, 241)
    shares = [(answers(np.append(weights[:2] / length, bias), points) == points.y).mean() for bias in biases]
    _points(left, points)
    right.plot(biases, shares, color="0.4", linewidth=2)
    for bias, colour, style in zip(
        (-0.5, 0.0, weights[2] / length, 0.75), COLOURS[2:], ("--", ":", "-", "-."), strict=True
    ):
        moved = np.append(weights[:2] / length, bias)
        share = (answers(moved, points) == points.y).mean()
        look: dict[str, Any] = dict(color=colour, linewidth=2.5, label=f"b / |w| = {bias:.2f}")
        _line(left, moved, linestyle=style, **look)
        right.plot(bias, share, marker="o", markersize=10, linestyle="none", markeredgecolor="black", **look)
    wrong = (answers(unbiased, points) != points.y).sum()
    _line(left, unbiased, color="black", linewidth=1.2, label=f"learned without a bias: {wrong} wrong")
    left.set(xlabel="$x_1$", ylabel="$x_2$", title="the same w, four biases")
    right.set(xlabel="b / |w|", ylabel="share of points that are right", title="one w, all biases")
    right.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle("The bias moves the boundary along w: to -b / |w| from the origin")
    return figure


def _points(axes: "Axes", points: Points) -> None:
    for label, colour, marker in CLASSES:
        x1, x2 = points.x[points.y == label].T
        look: dict[str, Any] = dict(color=colour, marker=marker, edgecolors="white", linewidths=0.6)
        axes.scatter(x1, x2, s=22, label=f"class {label}", **look)
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")


def _line(axes: "Axes", weights: np.ndarray, **look: Any) -> None:
    """The boundary w . x + b = 0 across the panel: its point nearest to the origin, and from there both ways."""
    normal, bias = weights[:2], weights[2]
    if not normal.any():
        return
    foot = -bias * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    ends = foot + np.outer([-4, 4], along)  # (2, 2)
    axes.plot(*ends.T, scalex=False, scaley=False, **look)
