"""The pictures of activations.py: the functions, gradient norms by layer, and accuracies."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from experiments.fundamentals.panels import named_panels
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = (  # colour, marker and style of each way to build the network
    ("black", "", "-"),
    (COLOURS[0], "o", "-"),
    (COLOURS[1], "^", "-"),
    (COLOURS[4], "s", "-"),
    (COLOURS[2], "", "--"),
    (COLOURS[3], "", "-."),
    (COLOURS[5], "", ":"),
)
CELL = (2.7, 2.7)  # inches of a panel
LOWEST, HIGHEST = 1e-20, 1e6  # drawn; float32 ends at 1e-45


def draw_functions(x: Tensor, curves: dict[str, tuple[Tensor, Tensor, float]]) -> "Figure":
    """A panel for each activation: its values and its slopes at x, (N,), and the bound of its slopes anywhere."""
    figure, panels = named_panels(list(curves), 4, CELL, "x", "f(x), f'(x)")
    for axes, (value, slope, bound) in zip(panels, curves.values(), strict=True):
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        lines = axes.plot(x, value, "-", x, slope, "--", linewidth=2)
        axes.text(0.03, 0.97, f"f' ≤ {bound:.3g}", transform=axes.transAxes, va="top", color=COLOURS[1])
        axes.set(ylim=(-2.1, 4.1), xlim=(x.min(), x.max()))
    figure.legend(handles=lines, labels=["f", "f'"], loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("Activation functions and their derivatives")
    return figure


def draw_norms(results: dict[str, dict[str, Any]], state: str, healthy: tuple[float, float], when: str) -> "Figure":
    """A panel for each activation: the gradient norm by layer, a line for each way to build the network.

    Args:
        state: initial or trained.
        when: the same in words, for the title.
    """
    figure, panels = named_panels(list(results), 4, CELL, "layer, from the input", "gradient norm")
    for axes, variants in zip(panels, results.values(), strict=True):
        axes.axhspan(*healthy, color="0.9")
        lines = []
        for norms, (colour, marker, style) in zip(variants.values(), LINES, strict=True):
            heights = np.array(getattr(norms, state))
            heights[~((heights > 0) & (heights < np.inf))] = np.nan  # what has underflowed or overflowed
            layers = np.arange(1, len(heights) + 1)
            every = max(1, len(heights) // 6)
            lines += axes.plot(layers, heights, style, color=colour, marker=marker, markevery=every, markersize=4)
        axes.set(yscale="log", ylim=(LOWEST, HIGHEST), xlim=(1, len(heights)))
        axes.grid(alpha=0.3)
    figure.legend(handles=lines, labels=list(variants), loc="outside lower center", ncols=7, frameon=False)
    figure.suptitle(f"Gradient norms {when}; grey: healthy; where a line is missing: 0, or not finite")
    return figure


def draw_accuracies(results: dict[str, dict[str, Any]], steps: int) -> "Figure":
    """The accuracy of each activation with each way to build the network, as a shaded table."""
    shares = np.array([[norms.accuracy for norms in variants.values()] for variants in results.values()])
    columns = list(next(iter(results.values())))
    figure, axes = new_figure(size=(8, 1.6 + 0.42 * len(results)))
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color="white" if share < 0.5 else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(results)), list(results))
    axes.set_title(f"Validation accuracy after {steps} steps")
    figure.colorbar(image, format=lambda share, _: f"{share:.0%}")
    return figure
