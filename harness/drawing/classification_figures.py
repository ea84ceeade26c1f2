"""Pictures of a classification's predictions: the confusion matrix, precision and recall, calibration.

All are drawn from probabilities, (N, C), and the true labels, (N,).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_precision_recall_curve,
    multiclass_confusion_matrix,
)

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_CELLS = 16  # classes whose counts can be read in the cells of a matrix of 800 pixels
PAIRS = 20  # of classes, listed beside a larger matrix
CURVES = 8  # in colours; those of other classes are grey
STYLES = ("-", "--")
BINS = 15  # of confidence, as in Guo et al. 2017, "On calibration of modern neural networks"


def draw_confusion(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """Counts and rates of each pair of classes; for many classes, the matrix as a picture and the commonest errors."""
    return draw_counts(multiclass_confusion_matrix(probabilities, labels, len(classes)).numpy(), classes)


def draw_counts(counts: np.ndarray, classes: Sequence[str]) -> "Figure":
    """The same from the counts themselves, (C, C), with a row for each true class."""
    rates = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    title = f"{np.trace(counts):,} of {counts.sum():,} right, {np.trace(counts) / counts.sum():.2%}"
    if len(classes) > IN_CELLS:
        return _draw_large_confusion(counts, rates, classes, title)
    figure, axes = new_figure(size=(8, 7.2))
    axes.imshow(_shade(rates), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        text = f"{counts[row, column]:,}\n{_percent(rates[row, column])}"
        colour = "white" if _shade(rates[row, column]) > 0.55 else "black"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8 if len(classes) <= 10 else 6,
            color=colour,
            in_layout=False,
        )
    names = legible(classes)
    slanted = dict(rotation=45, ha="right", rotation_mode="anchor") if max(map(len, names)) > 5 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}; rates are shares of a row")
    return figure


def _shade(rates: np.ndarray) -> np.ndarray:
    return np.sqrt(rates)  # otherwise errors of a few per cent would be invisible


def _percent(rate: float) -> str:
    return f"{rate:.0%}" if rate in (0, 1) else f"{rate:.1%}"


def _draw_large_confusion(counts: np.ndarray, rates: np.ndarray, classes: Sequence[str], title: str) -> "Figure":
    figure, (matrix, pairs) = new_figure(1, 2, size=(10, 5.2), width_ratios=(5, 3))
    picture = matrix.imshow(_shade(rates), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    matrix.set(xlabel="predicted, number of the class", ylabel="true, number of the class", title=title)
    bar = figure.colorbar(picture, ax=matrix, shrink=0.8, label="share of the row")
    bar.set_ticks(_shade(np.array([0, 0.05, 0.2, 0.5, 1])), labels=["0", "5%", "20%", "50%", "100%"])
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    worst = [divmod(int(cell), len(counts)) for cell in np.argsort(wrong, axis=None)[::-1][:PAIRS]]
    worst = [pair for pair in worst if wrong[pair]]
    short = legible(classes)
    names = [f"{short[true]} → {short[guess]}" for true, guess in worst]
    bars = pairs.barh(range(len(worst)), [counts[pair] for pair in worst], color=COLOURS[1])
    pairs.bar_label(bars, [f"{counts[pair]}, {rates[pair]:.0%}" for pair in worst], padding=3, fontsize=8)
    pairs.set_yticks(range(len(worst)), names, fontsize=8)
    pairs.invert_yaxis()
    pairs.margins(x=0.3)
    pairs.set_title("most confused: true → predicted", loc="right", fontsize=11)  # it has room on the left
    pairs.set_xlabel("samples, and share of the true class", loc="right")
    return figure


class PRCurve(NamedTuple):
    """Precision at each recall, from the strictest threshold to the loosest, and the average precision."""

    recall: np.ndarray
    precision: np.ndarray
    average: float


def pr_curve(scores: Tensor, hits: Tensor) -> PRCurve:
    """The curve of a class, from each sample's score and whether it is of the class; equal scores share a threshold."""
    loosest_first = binary_precision_recall_curve(scores, hits.long())[:2]
    precision, recall = (values.flip(0).double().numpy() for values in loosest_first)
    return PRCurve(recall[1:], precision[1:], float(np.diff(recall) @ precision[1:]))  # without the end at recall 0


def draw_pr(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """A curve for each class that occurs, the worst in colours; the axes begin where the worst bends."""
    curves = {  # by names as they are shown
        name: pr_curve(probabilities[:, number], labels == number)
        for number, name in enumerate(legible(classes))
        if (labels == number).any()
    }
    worst_first = sorted(curves, key=lambda name: curves[name].average)
    figure, axes = new_figure(size=(8, 5.6))
    for name in worst_first[CURVES:]:
        axes.step(*curves[name][:2], where="pre", color="0.85", linewidth=0.6)
    for place, name in enumerate(worst_first[:CURVES]):
        style, curve = STYLES[place // len(COLOURS) % len(STYLES)], curves[name]
        label = f"{curve.average:.4f}  {name}"  # a legend leaves out names that begin with an underscore
        axes.step(*curve[:2], where="pre", linestyle=style, color=COLOURS[place % len(COLOURS)], label=label)
    start = _corner(list(curves.values()))
    axes.set(xlim=(start, 1 + 0.01 * (1 - start)), ylim=(start, 1 + 0.02 * (1 - start)))
    mean = np.mean([curve.average for curve in curves.values()])
    axes.set(xlabel="recall: share of the class that is found", ylabel="precision: share of the found that is right")
    axes.set_title(f"Precision and recall by class; mean average precision {mean:.4f}")
    worst = f"the {CURVES} lowest of {len(curves)}" if len(curves) > CURVES else "all"
    axes.legend(title=f"{worst} classes,\nby average precision", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    return figure


def _corner(curves: Sequence[PRCurve]) -> float:
    """Where the axes begin, so that the bend of the worst curve is a third of the axes away from the corner."""
    bends = [np.minimum(curve.recall, curve.precision).max() for curve in curves]
    return max(0.0, np.floor(20 * (1 - 3 * (1 - min(bends)) - 0.01)) / 20)


class Calibration(NamedTuple):
    """Confidence and accuracy by bins of confidence, and the expected calibration error."""

    confidence: np.ndarray  # mean in each bin, (BINS,)
    accuracy: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # a method's name in other tuples
    error: float


def calibration(probabilities: Tensor, labels: Tensor) -> Calibration:
    """Mean confidence and accuracy of the predictions in BINS equal parts of 0..1.

    torchmetrics' calibration error has no such means, and puts predictions of confidence 1 in a bin of their own.
    """
    confidence, predicted = probabilities.double().max(1)
    weights = (None, confidence, (predicted == labels).double())
    count, confidences, hits = (np.histogram(confidence, BINS, (0, 1), weights=each)[0] for each in weights)
    filled = np.maximum(count, 1)
    return Calibration(confidences / filled, hits / filled, count, float(abs(hits - confidences).sum() / count.sum()))


def draw_calibration(probabilities: Tensor, labels: Tensor) -> "Figure":
    """Accuracy by confidence beside the diagonal, and how many predictions have which confidence."""
    found = calibration(probabilities, labels)
    figure, (axes, below) = new_figure(2, 1, size=(6.4, 6.4), sharex=True, height_ratios=(3, 1))
    left, used = np.arange(BINS) / BINS, found.count > 0
    style = dict(width=1 / BINS, align="edge", edgecolor="white")
    axes.bar(left[used], found.accuracy[used], color=COLOURS[0], label="accuracy", **style)
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="as confident as right")
    axes.plot(found.confidence[used], found.accuracy[used], "o", color=COLOURS[4], markersize=5,
              markeredgecolor="black", label="at the bin's mean confidence")  # fmt: skip
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"Expected calibration error {found.error:.2%} in {BINS} bins of {len(labels):,} predictions")
    figure.legend(loc="outside lower center", ncols=3)
    below.bar(left, found.count, color="0.6", **style)
    below.set_yscale("log", subs=[])  # no minor ticks, which take longer than everything else
    below.set(xlabel="confidence: probability of the predicted class", ylabel="predictions")
    _grid(axes, below)
    return figure


def _grid(*panels: "Axes") -> None:
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
