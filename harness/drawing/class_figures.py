"""A picture of how well each class is told apart: its recall, precision and F1."""

from collections.abc import Sequence
from math import floor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import legible
from lit_modules.class_scores import by_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20  # classes whose names can be read
MARKS = {"recall": ("o", COLOURS[0]), "precision": ("s", COLOURS[1]), "f1": ("D", COLOURS[2])}
MEANINGS = {
    "recall": "recall: share of the class that is found",
    "precision": "precision: share of those called so that is right",
    "f1": "F1: the harmonic mean of both",
}


def draw_by_class(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """A row for each class with its three figures, the worst F1 at the top; of many classes the worst.

    Args:
        probabilities: (N, C).
        labels: (N,).
    """
    its = by_class(probabilities.argmax(1), labels, len(classes))
    occurs = (its.true + its.said > 0).nonzero().flatten()
    worst = occurs[its.f1[occurs].argsort(stable=True)][:SHOWN]
    figure, axes = new_figure(size=(8, 1.9 + 0.32 * len(worst)))
    places = range(len(worst))
    axes.hlines(places, its.recall[worst], its.precision[worst], color="0.8", linewidth=2, zorder=1)
    for name, (marker, colour) in MARKS.items():
        # Hollow, so that equal figures can be seen below one another.
        style = dict(color=colour, fillstyle="none", markeredgewidth=1.6)
        axes.plot(getattr(its, name)[worst], places, marker, label=MEANINGS[name], **style)
    short = legible(classes)
    names = [f"{short[number]} ({int(its.true[number]):,})" for number in worst.tolist()]
    axes.set_yticks(places, names)
    shares = torch.stack([getattr(its, name)[worst] for name in MARKS])
    start = max(-0.02, floor(10 * float(shares.min()) - 0.2) / 10)
    axes.set(xlim=(start, 1.02), ylim=(len(worst) - 0.5, -0.5))
    few = f"\nthe {SHOWN} classes of the lowest F1, of {len(occurs)}" if len(occurs) > SHOWN else ""
    axes.set_title(f"Balanced accuracy {its.balanced_acc:.1%}, macro F1 {its.macro_f1:.3f}{few}")
    axes.set_ylabel("class, and its number of samples")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=1, fontsize=9)
    return figure
