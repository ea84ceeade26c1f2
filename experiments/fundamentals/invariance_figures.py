"""The pictures of invariance.py: accuracy by distance, and the images themselves."""

from typing import TYPE_CHECKING

import numpy as np

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"natural": "Pixels in their places", "permuted": "Pixels shuffled, in the same way in every image"}
MARKERS = "osD"


def draw_accuracies(results: dict[str, dict[str, np.ndarray]]) -> "Figure":
    """The accuracy of each network by distance: means over the seeds, and the range of these as a band.

    Args:
        results: by network and order of the pixels, the accuracies, (seeds, distances).
    """
    from matplotlib.ticker import PercentFormatter

    figure, axes = new_figure(1, 2, size=(9, 4), sharey=True)
    for place, (order, title) in zip(axes, TITLES.items(), strict=True):
        for number, (name, its) in enumerate(results.items()):
            scores, colour = its[order], COLOURS[number]
            distances = np.arange(scores.shape[1])
            place.plot(distances, scores.mean(0), marker=MARKERS[number], color=colour, label=name)
            place.fill_between(distances, scores.min(0), scores.max(0), color=colour, alpha=0.2, linewidth=0)
        place.axhline(0.1, color="0.5", linestyle=":", label="chance")
        place.set(title=title, xlabel="distance by which test digits are moved (pixels)", ylim=(0, 1.03))
        place.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Trained on digits in the middle of the image only")
    return figure


def draw_images(rows: dict[str, np.ndarray]) -> "Figure":
    """Each row of images, uint8 (N, 28, 28), with its name."""
    columns = len(next(iter(rows.values())))
    figure, axes = new_figure(len(rows), columns, size=(1.3 * columns + 1.6, 1.4 * len(rows)))
    for its, (name, images) in zip(axes, rows.items(), strict=True):
        for place, image in zip(its, images, strict=True):
            place.imshow(image, cmap="gray_r", vmin=0, vmax=255)
            place.set(xticks=[], yticks=[])
        its[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure
