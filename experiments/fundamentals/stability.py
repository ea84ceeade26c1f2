"""Softmax and cross-entropy at logits whose exponential a float can and cannot hold: a table and a figure."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from experiments.fundamentals.softmax_regression import cross_entropy, naive_cross_entropy, naive_softmax, softmax
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Rows of logits whose label is class 0.
EXTREMES = ([1.0, 0.0], [1000.0, 1000.0], [-1000.0, -1000.0], [1000.0, -1000.0], [-1000.0, 1000.0])

REACH = 150.0  # of the figure's axis: float32 has no exp(z) beyond 88.7, and 0 for it below -103.97


def print_extremes() -> None:
    """Prints the loss and the probability of class 0 at logits whose exponential a float can and cannot hold."""
    print(f"{'logits':>16}{'softmax':>10}{'naive':>10}{'cross-entropy':>16}{'naive':>10}")
    label = torch.tensor([0])
    for pair in EXTREMES:
        logits = torch.tensor([pair])
        probabilities = f"{softmax(logits)[0, 0]:>10.4g}{naive_softmax(logits)[0, 0]:>10.4g}"
        losses = f"{abs(cross_entropy(logits, label)):>16.4g}{naive_cross_entropy(logits, label):>10.4g}"  # no -0
        print(f"{'({:g}, {:g})'.format(*pair):>16}{probabilities}{losses}")


def draw_stability() -> "Figure":
    """Softmax and cross-entropy of class 0 at the logits (z, 0), on both sides of where exp(z) fails."""
    z = torch.linspace(-REACH, REACH, 1501)
    logits, label = torch.stack([z, torch.zeros_like(z)], dim=1), torch.tensor([0])  # (1501, 2)
    figure, axes = new_figure(1, 2, size=(9, 4))
    _compare(axes[0], z, softmax(logits)[:, 0], naive_softmax(logits)[:, 0])
    losses = [torch.stack([loss(row[None], label) for row in logits]) for loss in (cross_entropy, naive_cross_entropy)]
    _compare(axes[1], z, *losses)
    axes[0].set(ylabel="softmax of class 0")
    axes[1].set(ylabel="cross-entropy of class 0")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("Logits (z, 0): exp(z) is infinite in float32 beyond 88.7, and 0 below -103.97")
    return figure


def _compare(axes: "Axes", z: Tensor, stable: Tensor, naive: Tensor) -> None:
    axes.plot(z, stable, linewidth=5, alpha=0.5, label="largest logit taken off first")
    axes.plot(z, naive, "--", linewidth=2, label="naive")
    for kind, fails in {"infinite": naive.isinf(), "not a number": naive.isnan()}.items():
        if fails.any():
            first, last = z[fails][[0, -1]].tolist()
            axes.axvspan(first, last, color=COLOURS[1], alpha=0.15, linewidth=0)
            place: dict[str, Any] = dict(rotation=90, ha="center", va="center", transform=axes.get_xaxis_transform())
            axes.text((first + last) / 2, 0.5, f"naive: {kind}", **place)
    axes.set(xlabel="z", xlim=(-REACH, REACH))
    axes.grid(alpha=0.3)
