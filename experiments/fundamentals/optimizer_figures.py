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
    figure, (losses, accuracies) = new_figure(1, 2, size=(10, 5), width_ratios=(1, 1.4))
    _draw_losses(losses, runs)
    _draw_accuracies(accuracies, runs, {name: f"{name}, {options[name]['lr']:g}" for name in runs})
    figure.suptitle("Optimizers, and their rates, on the same network, initial weights and batches")
    return figure


def draw_schedules(runs: dict[str, Curves], optimizer: str) -> "Figure":
    """The learning rate, the training loss and the validation accuracy with each schedule, by epoch."""
    figure, ((rates, accuracies), (losses, below)) = new_figure(2, 2, size=(10, 6.5), width_ratios=(1, 1.4))
    for number, curves in enumerate(runs.values()):
        epochs = np.arange(len(curves.rates)) * len(curves.losses) / len(curves.rates)
        rates.plot(epochs, curves.rates, **_line(number, every=len(epochs) // 8))
    rates.set(xlabel="epoch", ylabel="learning rate")
    rates.grid(alpha=0.3)
    _draw_losses(losses, runs)
    right = accuracies.get_gridspec()[:, 1]
    below.remove()
    accuracies.set_subplotspec(right)
    _draw_accuracies(accuracies, runs, {name: name for name in runs})
    figure.suptitle(f"Schedules of {optimizer}'s learning rate on the same network, initial weights and batches")
    return figure


def draw_sweep(losses: dict[str, dict[float, float]]) -> "Figure":
    """The validation loss of each optimizer by its learning rate."""
    figure, axes = new_figure(size=(8, 5))
    for number, (name, of_rate) in enumerate(losses.items()):
        axes.plot(*zip(*of_rate.items(), strict=True), label=name, **_line(number))
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="validation loss")
    axes.set_ylim(None, 10)  # a diverging curve would flatten the rest
    axes.set_title("Validation loss of the last epoch, by learning rate")
    axes.legend(ncols=2)
    axes.grid(alpha=0.3)
    return figure


def _draw_losses(axes: "Axes", runs: dict[str, Curves]) -> None:
    for number, curves in enumerate(runs.values()):
        axes.plot(_epochs(curves), curves.losses, **_line(number, every=len(curves.losses) // 6))
    axes.set(yscale="log", xlabel="epoch", ylabel="training loss (cross-entropy)")
    axes.grid(alpha=0.3)
    axes.locator_params(axis="x", integer=True)


def _draw_accuracies(axes: "Axes", runs: dict[str, Curves], titles: dict[str, str]) -> None:
    """In place of the axes, a panel for each run: its curve, with all the others in grey behind it."""
    from matplotlib.ticker import PercentFormatter

    columns = 3 if len(runs) > 6 else 2 if len(runs) > 1 else 1
    spec = axes.get_subplotspec()
    assert spec is not None  # of a grid, as new_figure makes them
    axes.remove()
    grid = spec.subgridspec(-(-len(runs) // columns), columns).subplots(sharex=True, sharey=True, squeeze=False)
    for number, (panel, (name, curves)) in enumerate(zip(grid.flat, runs.items(), strict=False)):
        for other in runs.values():
            panel.plot(_epochs(other), other.accuracies, color="0.85", linewidth=1)
        style = _line(number, every=len(curves.accuracies) // 4)
        panel.plot(_epochs(curves), curves.accuracies, **style)
        panel.set_title(titles[name], fontsize=9, color=style["color"])
        at_end = f"{curves.accuracies[-1]:.1%} at the end"
        panel.text(0.97, 0.06, at_end, fontsize=8, ha="right", transform=panel.transAxes)
        panel.grid(alpha=0.3)
        panel.locator_params(axis="x", integer=True, nbins=4)
    for panel in grid.flat[len(runs) :]:
        panel.set_axis_off()
    grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[len(grid) // 2, 0].set_ylabel("validation accuracy")
    for panel in grid[-1]:
        panel.set_xlabel("epoch")


def _epochs(curves: Curves) -> range:
    return range(1, len(curves.losses) + 1)


def _line(number: int, every: int = 1) -> dict[str, Any]:
    style, marker = "-" if number < len(COLOURS) else "--", MARKERS[number]
    return dict(
        color=COLOURS[number % len(COLOURS)], linestyle=style, marker=marker, markersize=5, markevery=max(1, every)
    )
