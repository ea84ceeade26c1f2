"""The pictures of normalisation.py that show BatchNorm's running statistics, and batches of several sizes."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.fundamentals.running_statistics import BATCH, MEAN
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD"


def draw_running(followed: dict[float, np.ndarray], batch_means: np.ndarray) -> "Figure":
    """The running mean by batch for each momentum, over the means of the batches themselves."""
    figure, axes = new_figure(size=(8, 4.2))
    batches = np.arange(1, len(batch_means) + 1)
    axes.plot(batches, batch_means, ".", color="0.7", label=f"means of the batches of {BATCH}")
    axes.axhline(MEAN, color="black", linewidth=1, linestyle=":", label="the true mean")
    for number, (momentum, means) in enumerate(followed.items()):
        colour, style = COLOURS[number % len(COLOURS)], ("-", "--", "-.")[number % 3]
        axes.plot(batches, means, color=colour, linestyle=style, linewidth=2)
        axes.lines[-1].set_label(f"momentum {momentum:g}")
    axes.set(xlabel="batch", ylabel="running mean", title="A high momentum is quick and noisy, a low one slow and calm")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def draw_batches(scores: dict[str, dict[int, dict[str, float]]], size: int) -> "Figure":
    """Test error by the size of training batches, and test accuracy in both modes after training in batches of `size`.

    Args:
        scores: by norm, size of batches, and way of testing.
    """
    from matplotlib.ticker import PercentFormatter

    figure, (errors, modes) = new_figure(1, 2, size=(10, 4))
    ways = list(next(iter(scores.values()))[size])
    for number, (norm, of_size) in enumerate(scores.items()):
        wrong = [1 - ways_of[ways[0]] for ways_of in of_size.values()]
        style = dict(color=COLOURS[number], label=norm)
        errors.plot(list(of_size), wrong, marker=MARKERS[number % 3], **style)
        heights = np.arange(len(ways)) + 0.26 * (number - (len(scores) - 1) / 2)
        modes.barh(heights, [of_size[size][way] for way in ways], height=0.24, **style)
    sizes = list(next(iter(scores.values())))
    errors.set(xscale="log", ylim=(0, None), xlabel="images in a training batch", ylabel="test error, in eval mode")
    errors.set_xticks(sizes, [str(each) for each in sizes])
    errors.minorticks_off()
    errors.grid(alpha=0.3)
    modes.set(xlabel=f"test accuracy, trained in batches of {size}", xlim=(0, 1))
    modes.set_yticks(range(len(ways)), ways)
    modes.invert_yaxis()
    modes.grid(alpha=0.3, axis="x")
    errors.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    modes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*errors.get_legend_handles_labels(), title="norm", loc="outside right center")
    figure.suptitle("BatchNorm needs batches of some size, and model.eval()")
    return figure
