"""A picture of how well each class is told apart: its recall, precision and F1."""

from collections.abc import Mapping, Sequence
from math import floor
from typing import TYPE_CHECKING

from torch import Tensor

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import legible
from lit_modules.class_scores import by_class
from lit_modules.label_scores import by_label, label_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20  # classes whose names can be read
MARKS = {
    **{"recall": ("o", COLOURS[0]), "precision": ("s", COLOURS[1]), "f1": ("D", COLOURS[2])},
    "ap": ("^", "black"),
}
MEANINGS = {
    "recall": "recall: share of the class that is found",
    "precision": "precision: share of those called so that is right",
    "f1": "F1: the harmonic mean of both",
}
LABEL_MEANINGS = {
    "ap": "average precision: mean of the precision down to each sample with the label, the likeliest first",
    "recall": "recall: share of the samples with the label that are found, from a probability of 0.5 on",
    "precision": MEANINGS["precision"],
    "f1": MEANINGS["f1"],
}


def draw_by_class(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """A row for each class with its three figures, the worst F1 at the top; of many classes the worst.

    Args:
        probabilities: (N, C).
        labels: (N,).
    """
    its = by_class(probabilities.argmax(1), labels, len(classes))
    occurs = (its.true + its.said > 0).nonzero().flatten()
    worst = occurs[its.f1[occurs].argsort(stable=True)][:SHOWN].tolist()
    short = legible(classes)
    rows = [(short[k], int(its.true[k]), {name: float(getattr(its, name)[k]) for name in MEANINGS}) for k in worst]
    few = f"\nthe {SHOWN} classes of the lowest F1, of {len(occurs)}" if len(occurs) > SHOWN else ""
    title = f"Balanced accuracy {its.balanced_acc:.1%}, macro F1 {its.macro_f1:.3f}{few}"
    return _draw_rows(rows, MEANINGS, title, "class, and its number of samples")


def draw_by_label(probabilities: Tensor, hits: Tensor, labels: Sequence[str]) -> "Figure":
    """The same of several labels at once, with their average precision, the worst at the top.

    Args:
        probabilities: (N, L).
        hits: whether a sample has the label, (N, L).
    """
    found, scores = by_label(probabilities, hits, labels), label_scores(probabilities, hits)
    occurs = sorted((name for name, its in found.items() if its["count"]), key=lambda name: found[name]["ap"])
    short = dict(zip(labels, legible(labels), strict=True))
    rows = [(short[name], int(found[name]["count"]), found[name]) for name in occurs[:SHOWN]]
    few = f"\nthe {SHOWN} lowest of {len(occurs)} labels" if len(occurs) > SHOWN else ""
    title = f"Mean average precision {scores['map']:.3f}, macro F1 {scores['macro_f1']:.3f}{few}"
    return _draw_rows(rows, LABEL_MEANINGS, title, "label, and its number of samples")


Row = tuple[str, int, Mapping[str, float]]  # a short name, a number of samples, and figures


def _draw_rows(rows: Sequence[Row], meanings: Mapping[str, str], title: str, ylabel: str) -> "Figure":
    """A line for each row from its recall to its precision, with a mark for each figure."""
    figure, axes = new_figure(size=(8, 1.9 + 0.32 * max(len(rows), 5) + 0.2 * (len(meanings) - 3)))
    places = range(len(rows))
    shares = {name: [its[name] for *_, its in rows] for name in meanings}
    axes.hlines(places, shares["recall"], shares["precision"], color="0.8", linewidth=2, zorder=1)
    for name, meaning in meanings.items():
        marker, colour = MARKS[name]
        # Hollow, so that equal figures can be seen below one another.
        style = dict(color=colour, fillstyle="none", markeredgewidth=1.6)
        axes.plot(shares[name], places, marker, label=meaning, **style)
    axes.set_yticks(places, [f"{name} ({count:,})" for name, count, _ in rows])
    start = max(-0.02, floor(10 * min(map(min, shares.values()), default=0) - 0.2) / 10)
    axes.set(xlim=(start, 1.02), ylim=(len(rows) - 0.5, -0.5), title=title, ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=1, fontsize=9)
    return figure
