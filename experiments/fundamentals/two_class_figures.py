"""Pictures of two classes: boundaries, curves over all thresholds, weights, and sigmoid beside softmax."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from experiments.fundamentals.two_class import Problem, Rows, TwoClass, predict, scores_by_threshold
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

STYLES = ("-", "--", ":")  # of lines that colours tell apart already
MOST = 20  # weights shown at most, the largest ones


def draw_boundaries(
    models: dict[str, TwoClass],
    problem: Problem,
    threshold: float | None = None,
    best: tuple[np.ndarray, float] | None = None,
) -> "Figure":
    """Test points on the probability of class 1.

    Args:
        threshold: drawn in addition to 0.5.
        best: weights, (2,), and bias of the best possible boundary.
    """
    size = (6.4, 5.4) if len(models) == 1 else (9, 4.8)
    figure, panels = new_figure(1, len(models), size=size, squeeze=False, sharex=True, sharey=True)
    for axes, (name, model) in zip(panels[0], models.items(), strict=True):
        shades = _probabilities(axes, model, problem, threshold)
        labels, probabilities = predict(model, problem.test)
        share = np.mean((probabilities >= 0.5) == labels)
        _points(axes, problem.test)
        if best:
            weights, bias = best
            x = np.array(axes.get_xlim())
            line = -(weights[0] * x + bias) / weights[1]
            axes.plot(x, line, color="black", linestyle=":", linewidth=2, label="best possible boundary", scaley=False)
        axes.set(xlabel="$x_1$")
        break_or_space = "\n" if len(models) > 2 else " "
        axes.set_title(f"{name}:{break_or_space}{share:.1%} of test points right", fontsize=11)
    panels[0, 0].set_ylabel("$x_2$")
    figure.legend(*panels[0, -1].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3)
    figure.colorbar(shades, ax=panels[0].tolist(), label="probability of class 1", ticks=np.linspace(0, 1, 6))
    return figure


def _probabilities(axes: "Axes", model: TwoClass, problem: Problem, threshold: float | None) -> "AxesImage":
    """The probability as shades, and as lines at the thresholds."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.lines import Line2D

    everything = torch.cat([problem.train.features, problem.test.features])
    low, high = everything.min(0).values - 0.3, everything.max(0).values + 0.3
    x1, x2 = torch.meshgrid(
        *(torch.linspace(a, b, 150).double() for a, b in zip(low, high, strict=True)), indexing="xy"
    )
    with torch.no_grad():
        z = model(torch.stack([x1.flatten(), x2.flatten()], dim=1)).view(x1.shape).numpy()
    colours = LinearSegmentedColormap.from_list("classes", [COLOURS[0], "white", COLOURS[1]])
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    shades = axes.imshow(z, colours, vmin=0, vmax=1, alpha=0.55, extent=extent, origin="lower", aspect="auto")
    lines: list[tuple[float | None, Literal["-", "--"]]] = [(0.5, "-"), (threshold, "--")]
    for limit, style in lines:
        if limit is not None and z.min() < limit < z.max():
            axes.contour(x1, x2, z, [limit], colors="black", linestyles=style, linewidths=1.6)
            axes.add_line(Line2D([], [], color="black", linestyle=style, label=f"probability {limit:.2f}"))
    return shades


def _points(axes: "Axes", rows: Rows) -> None:
    for label, (colour, marker) in enumerate(((COLOURS[0], "o"), (COLOURS[1], "^"))):
        x1, x2 = rows.features[rows.labels == label].T
        axes.scatter(
            x1, x2, s=22, color=colour, marker=marker, edgecolors="white", linewidths=0.6, label=f"class {label}"
        )


def draw_curves(model: TwoClass, problem: Problem, threshold: float) -> "Figure":
    """ROC and precision-recall curves of the test rows, and the scores of all thresholds on the validation rows."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure, (roc, pr, choice) = new_figure(1, 3, size=(10, 4))
    labels, probabilities = predict(model, problem.test)
    wrong, right, _ = roc_curve(labels, probabilities)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    roc.plot(wrong, right, label=f"area {roc_auc_score(labels, probabilities):.3f}")
    roc.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="chance")
    pr.step(recall, precision, where="post", label=f"average {average_precision_score(labels, probabilities):.3f}")
    pr.axhline(labels.mean(), color="0.6", linestyle=":", label="chance")
    for limit, colour, marker, name in ((0.5, "black", "o", "0.5"), (threshold, COLOURS[1], "D", f"{threshold:.2f}")):
        positive = probabilities >= limit
        hits = (positive & (labels == 1)).sum()
        style = dict(color=colour, marker=marker, markersize=8, linestyle="none", label=f"threshold {name}")
        roc.plot((positive & (labels == 0)).sum() / (labels == 0).sum(), hits / labels.sum(), **style)
        pr.plot(hits / labels.sum(), hits / max(positive.sum(), 1), **style)
    roc.set(xlabel="false positive rate", ylabel="true positive rate (recall)", title=f"ROC, {len(labels)} test rows")
    pr.set(xlabel="recall", ylabel="precision", ylim=(0, 1.04), title="precision and recall, test rows")
    _thresholds(choice, *predict(model, problem.val), threshold)
    for axes, place in ((roc, "lower right"), (pr, "lower left"), (choice, "lower center")):
        axes.legend(fontsize=8, loc=place)
        axes.grid(alpha=0.3)
    figure.suptitle(f"positive: {problem.positive}")
    return figure


def _thresholds(axes: "Axes", labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> None:
    curves, limits = scores_by_threshold(labels, probabilities)
    colours = (COLOURS[0], COLOURS[2], COLOURS[3])  # the colour between them is the threshold's
    for (name, values), colour, style in zip(curves.items(), colours, STYLES, strict=True):
        axes.plot(limits, values, label=name, color=colour, linestyle=style, linewidth=2)
    axes.axvline(0.5, color="black", linewidth=1, label="0.5")
    axes.axvline(threshold, color=COLOURS[1], linewidth=2, label=f"highest F1: {threshold:.2f}")
    axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.04), title=f"choice on {len(labels)} validation rows")


def draw_equality(losses: dict[str, np.ndarray], gaps: dict[str, np.ndarray]) -> "Figure":
    """Losses by step, and the largest distance of predictions from those of the first model."""
    figure, (left, right) = new_figure(1, 2, size=(9, 4))
    widths = (5, 2, 2)
    for (name, values), colour, style, width in zip(losses.items(), COLOURS, STYLES, widths, strict=False):
        left.semilogx(np.arange(1, len(values) + 1), values, color=colour, linestyle=style, linewidth=width, label=name)
        if gaps[name].any():
            steps = np.arange(1, len(gaps[name]) + 1)
            right.loglog(steps, gaps[name].clip(1e-17), color=colour, linestyle=style, linewidth=2, label=name)
    left.set(
        xlabel="step", ylabel="cross-entropy of the training points", title="sigmoid and softmax, from equal starts"
    )
    right.set(xlabel="step", ylabel="largest difference of a probability", title="how far softmax is from sigmoid")
    right.set_ylim(1e-17, 1)
    for axes in (left, right):
        axes.legend(fontsize=9)
        axes.grid(alpha=0.3)
    return figure


def draw_weights(features: list[str], weights: np.ndarray, positive: str) -> "Figure":
    """The largest weights of standardised features: how much one standard deviation adds to the log-odds."""
    order = np.argsort(abs(weights))[-MOST:]
    figure, axes = new_figure(size=(7, 1.4 + 0.28 * len(order)))
    colours = [COLOURS[1] if weight > 0 else COLOURS[0] for weight in weights[order]]
    bars = axes.barh([features[column] for column in order], weights[order], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.12)
    axes.set(xlabel=f"change of the log-odds of “{positive}” by one standard deviation", title="Weights")
    axes.grid(alpha=0.3, axis="x")
    return figure
