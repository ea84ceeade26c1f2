"""A picture of a classifier's accuracy on images that were made worse."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_robustness(accuracies: Mapping[str, float], title: str) -> "Figure":
    """A bar for each change, in the order given; the first is of the images as they are."""
    names, shares = [*accuracies], [*accuracies.values()]
    figure, axes = new_figure(size=(8, 1.4 + 0.36 * len(names)))
    bars = axes.barh(range(len(names)), shares, color=["0.6", *[COLOURS[0]] * (len(names) - 1)])
    axes.bar_label(bars, [f"{share:.2%}" for share in shares], padding=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="share of test images whose label is right", xlim=(0, 1.12), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_title(title)
    return figure
