"""The pictures of depth.py: training errors by epoch, and gradient norms by layer."""

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^v*"


def draw_errors(results: dict[str, dict[int, Any]]) -> "Figure":
    """The training error of each network by epoch, a panel for each kind, a line for each depth."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure, axes = new_figure(1, len(results), size=(9, 4), sharey=True)
    for place, (kind, its) in zip(axes, results.items(), strict=True):
        for number, (depth, outcome) in enumerate(its.items()):
            epochs = np.arange(1, len(outcome.train_errors) + 1)
            place.plot(epochs, outcome.train_errors, label=f"{depth} layers", **_line(number))
        place.set(title=kind, xlabel="epoch", ylim=(0, 1))
        place.xaxis.set_major_locator(MaxNLocator(integer=True))
        place.grid(alpha=0.3)
    axes[0].set_ylabel("training error")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[-1].legend()
    figure.suptitle("Do deeper networks learn their own training images better? Without shortcuts, and with them")
    return figure


def draw_norms(results: dict[str, dict[int, Any]], highest: float) -> "Figure":
    """The gradient norm of each layer at initialisation, by depth within the network; grey up to `highest`."""
    figure, axes = new_figure(1, len(results), size=(9, 4), sharey=True)
    lowest = 0.5 * min(min(outcome.initial) for its in results.values() for outcome in its.values())
    for place, (kind, its) in zip(axes, results.items(), strict=True):
        place.axhspan(lowest, highest, color="0.93", label=f"not too high: below {highest:g}")
        for number, (depth, outcome) in enumerate(its.items()):
            layers = np.arange(1, depth + 1)
            style = _line(number) | {"markevery": max(1, depth // 6)}
            place.plot(layers, outcome.initial, label=f"{depth} layers", **style)
        place.set(title=kind, xlabel="layer, from the input", yscale="log", ylim=(lowest, None))
        place.grid(alpha=0.3)
    axes[0].set_ylabel("gradient norm")
    axes[-1].legend()
    figure.suptitle("Gradient norms at initialisation, on the first batch")
    return figure


def _line(number: int) -> dict[str, Any]:
    style = "-" if number < len(COLOURS) else "--"
    return dict(
        color=COLOURS[number % len(COLOURS)], linestyle=style, marker=MARKERS[number % len(MARKERS)], markersize=5
    )
