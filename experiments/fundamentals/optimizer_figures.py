"""The pictures of optimizers.py: curves of each optimizer and of each schedule, and the sweep of learning rates."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.fundamentals.training_curves import Curves
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "o^sDv*XP<"  # one for each, as there are more lines than colours


def draw_optimizers(runs: dict[str, Curves], options: dict[str, dict[str, float]]) -> "Figure":
    """Training loss and validation accuracy of each optimizer, by epoch."""
    figure, (losses, accuracies) = new_figure(1, 2, size=(10, 4.5))
    _draw_epochs(losses, accuracies, runs)
    names = [f"{name}, {options[name]['lr']:g}" for name in runs]
    figure.legend(losses.get_lines(), names, loc="outside right center", title="optimizer, rate")
    figure.suptitle("Optimizers on the same network, initial weights and batches")
    return figure


def draw_schedules(runs: dict[str, Curves], optimizer: str) -> "Figure":
    """The learning rate, the training loss and the validation accuracy with each schedule, by epoch."""
    figure, ((rates, losses), (nothing, accuracies)) = new_figure(2, 2, size=(9, 7))
    for number, curves in enumerate(runs.values()):
        epochs = np.arange(len(curves.rates)) * len(curves.losses) / len(curves.rates)
        rates.plot(epochs, curves.rates, marker=MARKERS[number], **_line(number, every=len(epochs) // 8))
    rates.set(xlabel="epoch", ylabel="learning rate")
    rates.grid(alpha=0.3)
    _draw_epochs(losses, accuracies, runs)
    nothing.set_axis_off()
    nothing.legend(losses.get_lines(), list(runs), loc="center", title=f"schedule of {optimizer}'s rate")
    figure.suptitle("Schedules of the learning rate on the same network, initial weights and batches")
    return figure


def draw_sweep(losses: dict[str, dict[float, float]]) -> "Figure":
    """The validation loss of each optimizer by its learning rate."""
    figure, axes = new_figure(size=(8, 5))
    for number, (name, of_rate) in enumerate(losses.items()):
        axes.plot(*zip(*of_rate.items(), strict=True), marker=MARKERS[number], label=name, **_line(number))
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="validation loss")
    axes.set_ylim(None, 10)  # a diverging curve would flatten the rest
    axes.set_title("Validation loss of the last epoch, by learning rate")
    axes.legend(ncols=2)
    axes.grid(alpha=0.3)
    return figure


def _draw_epochs(losses: "Axes", accuracies: "Axes", runs: dict[str, Curves]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for number, curves in enumerate(runs.values()):
        epochs = np.arange(1, len(curves.losses) + 1)
        style = dict(marker=MARKERS[number], **_line(number, every=max(1, len(epochs) // 6)))
        losses.plot(epochs, curves.losses, **style)
        accuracies.plot(epochs, curves.accuracies, **style)
    losses.set(yscale="log", xlabel="epoch", ylabel="training loss (cross-entropy)")
    accuracies.set(xlabel="epoch", ylabel="validation accuracy")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)


def _line(number: int, every: int = 1) -> dict[str, Any]:
    style = "-" if number < len(COLOURS) else "--"
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=style, markersize=5, markevery=max(1, every))
