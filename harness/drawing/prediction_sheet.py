"""A sheet of images with a network's predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 48  # images on a sheet of 960 pixels
COLUMNS = 8
UNSURE = 0.6  # probabilities below this are marked
NAME = 16  # characters that fit below an image


def draw_sheet(predicted: Mapping[str, tuple[Image.Image, np.ndarray]], names: Sequence[str], total: int) -> "Figure":
    """Each image with its label, and below it the file's name.

    Args:
        predicted: the image and the class probabilities, (C,), by file name.
        total: how many images were predicted in all.
    """
    columns = min(COLUMNS, max(3, len(predicted)))  # a title needs its width
    rows = -(-len(predicted) // columns)
    figure, grid = new_figure(rows, columns, size=(columns, 1.35 * rows + 0.45), squeeze=False)
    cells = list(grid.flat)
    for axes, (file, (image, shares)) in zip(cells, predicted.items(), strict=False):
        best = int(np.argmax(shares))
        _show(axes, image, f"{_short(names[best], 10)} {shares[best]:.0%}", shares[best] < UNSURE)
        axes.set_xlabel(_short(Path(file).name, NAME), fontsize=5.5, labelpad=2, parse_math=False)
    for axes in cells[len(predicted) :]:
        axes.set_axis_off()
    of = f"{len(predicted)} of {total:,} images" if total > len(predicted) else "images"
    figure.suptitle(f"{of} as the network sees them; ? below {UNSURE:.0%}", fontsize=9)
    return figure


def _show(axes: "Axes", image: Image.Image, title: str, unsure: bool) -> None:
    axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    colour = COLOURS[1] if unsure else "black"
    axes.set_title(f"{title} ?" if unsure else title, fontsize=8, color=colour, pad=3, parse_math=False)
    axes.spines[:].set(color=colour, linewidth=2 if unsure else 0.8, linestyle="--" if unsure else "-")


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
