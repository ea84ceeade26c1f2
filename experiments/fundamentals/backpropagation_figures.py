"""The pictures of backpropagation.py: agreement, deltas of the output, Jacobians, curves, and ranks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.fundamentals.delta_recursion import Kind, Loss, output_delta, softmax_jacobian
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES: tuple[tuple[Loss, str, str], ...] = (
    ("cross-entropy", COLOURS[0], "-"),
    ("squared error", COLOURS[1], "--"),
)
STYLES = {"sigmoid": (":", "o"), "softmax": ("-", "s")}  # by output
LOWEST = 1e-17  # drawn where there is no difference at all
SMOOTHED = 10  # steps that a point of the agreement stands for, by their maximum


class Curve(NamedTuple):
    """The validation accuracy of one network by step."""

    kind: Kind
    lr: float
    steps: Sequence[int]
    accuracies: Sequence[float]


def draw_agreement(gaps: dict[str, Any]) -> "Figure":
    """How far autograd and central differences are from the delta recursion, by step; a panel for each `Comparison`."""
    figure, panels = new_figure(2, 2, size=(9, 6), sharex=True, sharey=True)
    for axes, (name, both) in zip(panels.flat, gaps.items(), strict=True):
        ways = (("autograd", COLOURS[0], "-"), ("central differences", COLOURS[1], "--"))
        for (way, colour, style), values in zip(ways, both, strict=True):
            heights = [max(values[start : start + SMOOTHED]) for start in range(0, len(values), SMOOTHED)]
            steps = np.arange(len(heights)) * SMOOTHED + 1
            axes.semilogy(steps, np.clip(heights, LOWEST, None), style, color=colour, linewidth=2, label=way)
        axes.set_title(name, fontsize=11)
        axes.grid(alpha=0.3)
    axes.set_ylim(LOWEST, 1e-6)
    panels[0, 0].legend(fontsize=9)
    for axes in panels[1]:
        axes.set_xlabel("step")
    for axes in panels[:, 0]:
        axes.set_ylabel("largest difference")
    figure.suptitle("How far other ways are from the gradients by hand, in float64")
    return figure


def draw_output_deltas(p: Tensor, targets: Tensor) -> "Figure":
    """The gradient at the output against its error, for each loss: of sigmoids as lines, of softmaxes, (N, C), as dots.

    Args:
        p: outputs of a softmax at several moments of a training.
        targets: their labels as one-hot vectors.
    """
    figure, (left, right) = new_figure(1, 2, size=(9, 4.4))
    error = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]  # p - y, where y is 0 above 0 and 1 below it
    y = (error < 0).double()
    for loss, colour, style in LOSSES:
        delta = output_delta(error + y, y, Kind(output="sigmoid", loss=loss))
        left.plot(error, delta, style, color=colour, linewidth=2.5, label=loss)
        size = output_delta(p, targets, Kind(output="softmax", loss=loss)).norm(dim=1)
        right.scatter((p - targets).norm(dim=1), size, s=6, color=colour, alpha=0.5, linewidths=0, label=loss)
    left.annotate(
        "sure, and wrong:\nnothing to learn from", (0.97, 0.02), (0.15, -0.6), arrowprops={"arrowstyle": "->"}
    )
    left.set(
        xlabel="error p - y of one output", ylabel="its gradient dL/dz", title="sigmoid", xticks=np.linspace(-1, 1, 5)
    )
    right.set(
        xlabel="norm of the errors p - y", ylabel="norm of the gradients dL/dz", title="softmax: a dot for each digit"
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    figure.suptitle("The gradient of the output layer against its error")
    return figure


def draw_jacobians(examples: dict[str, Tensor]) -> "Figure":
    """dp_i / dz_j of a softmax, and the probabilities above it; a column for each p, (C,), under its title."""
    figure, panels = new_figure(
        2, len(examples), size=(10, 5), squeeze=False, sharex=True, height_ratios=[1, 2.6], sharey="row"
    )
    for (bars, axes), (title, p) in zip(panels.T, examples.items(), strict=True):
        bars.bar(range(len(p)), p, color=COLOURS[0])
        bars.set_title(title, fontsize=11)
        shown = axes.imshow(softmax_jacobian(p), cmap="RdBu_r", vmin=-0.25, vmax=0.25)
        axes.set(xlabel="logit j", xticks=range(len(p)), yticks=range(len(p)))
    panels[0, 0].set(ylim=(0, 1), ylabel="$p_j$")
    panels[1, 0].set_ylabel("output i")
    figure.colorbar(shown, ax=panels[1].tolist(), label="$dp_i / dz_j$")
    figure.suptitle(r"The Jacobian of a softmax, $p_i\,(\delta_{ij} - p_j)$, vanishes where the net is sure")
    return figure


def draw_curves(same: list[Curve], early: dict[Kind, dict[float, float]], wrong: list[Curve]) -> "Figure":
    """Accuracy by step at one rate, accuracy after a quarter of the steps by rate, and by step from a wrong start."""
    figure, (left, middle, right) = new_figure(1, 3, size=(10, 4.6), sharey=True)
    for axes, curves in ((left, same), (right, wrong)):
        for kind, _, steps, accuracies in curves:
            axes.plot(steps, accuracies, **_look(kind), markevery=0.2)
        axes.set_xlabel("step")
    for kind, by_rate in early.items():
        middle.plot(list(by_rate), list(by_rate.values()), **_look(kind))
    quarter = same[0].steps[(len(same[0].steps) - 1) // 4]
    middle.set(xlabel="learning rate", xscale="log", title=f"after {quarter} steps, by rate")
    middle.set_xticks(list(by_rate), [f"{rate:g}" for rate in by_rate])
    left.set(ylabel="validation accuracy", ylim=(0, 1), title=f"at one rate, {same[0].lr:g}")
    right.set_title("from a start that is sure of 0, each\nat the rate best from the usual start")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    return figure


def _look(kind: Kind) -> dict[str, Any]:
    """Colours tell the losses apart, lines and marks the outputs."""
    colour = {loss: its for loss, its, _ in LOSSES}[kind.loss]
    style, marker = STYLES[kind.output]
    return dict(color=colour, linestyle=style, marker=marker, markersize=5, linewidth=2, label=kind.name)


def draw_ranks(values: dict[str, np.ndarray]) -> "Figure":
    """The singular values of hidden layers, relative to the largest one; those at the bottom are rounding."""
    figure, axes = new_figure(size=(7, 4))
    for (name, its), colour, marker in zip(values.items(), COLOURS, "os", strict=False):
        axes.semilogy(range(1, len(its) + 1), its / its[0], marker=marker, color=colour, linewidth=2, label=name)
    axes.axhspan(1e-18, 1e-10, color="0.9", zorder=0)
    axes.text(3.2, 1e-11, "rounding: no direction of its own", va="top", color="0.3")
    axes.set(xlabel="singular value of the last hidden layer, from the largest", ylabel="relative to the largest")
    axes.set_title("Linear layers keep the two directions of the plane, whatever their width")
    axes.set_ylim(1e-18, 10)
    axes.legend()
    axes.grid(alpha=0.3)
    return figure
