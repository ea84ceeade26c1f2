"""A sheet of images with a network's predictions."""

from collections.abc import Iterable, Mapping, Sequence
from os.path import commonpath
from pathlib import PurePath
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import tell_apart
from lit_modules.class_scores import decided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 48  # images on a sheet of 960 pixels
COLUMNS = 8
UNSURE = 0.6  # probabilities below this are marked
NAME, LABEL = 16, 13  # characters that fit below an image, and above it
LETTERS = 13  # of the title above each column


def draw_sheet(
    predicted: Mapping[str, tuple[Image.Image, np.ndarray]],
    names: Sequence[str],
    total: int,
    threshold: float | None = None,
) -> "Figure":
    """Each image with its label, and below it the file's name.

    Args:
        predicted: the image and the class probabilities, (C,), by file name.
        total: how many images were predicted in all.
        threshold: see `class_scores.decided`.
    """
    labels = tell_apart(names, LABEL)
    shown = {}
    for file, (image, shares) in predicted.items():
        best = int(decided(shares[None], threshold)[0])
        shown[file] = Shown(image, f"{labels[best]}\n{shares[best]:.0%}", bool(shares[best] < UNSURE))
    return draw_captions(shown, total, f"; ? below {UNSURE:.0%}")


class Shown(NamedTuple):
    """An image, and the text above it."""

    image: Image.Image
    text: str
    unsure: bool = False


def draw_captions(shown: Mapping[str, Shown], total: int, explained: str = "") -> "Figure":
    """Each image with its text, and below it the file's name.

    Args:
        shown: by file name.
        total: how many images were predicted in all.
        explained: the end of the title.
    """
    columns = min(COLUMNS, max(3, len(shown)))  # a title needs its width
    rows = -(-len(shown) // columns)
    figure, grid = new_figure(rows, columns, size=(columns, 1.5 * rows + 0.45), squeeze=False)
    cells, files = list(grid.flat), tell_apart(below_common_folder(shown), NAME)
    for axes, file, each in zip(cells, files, shown.values(), strict=False):
        _show(axes, *each)
        axes.set_xlabel(file, fontsize=5.5, labelpad=2, parse_math=False)
    for axes in cells[len(shown) :]:
        axes.set_axis_off()
    of = f"{len(shown)} of {total:,} images" if total > len(shown) else "images"
    figure.suptitle(fill(f"{of} as the network sees them{explained}", LETTERS * columns), fontsize=9)
    return figure


def _show(axes: "Axes", image: Image.Image, title: str, unsure: bool) -> None:
    axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    colour = COLOURS[1] if unsure else "black"
    axes.set_title(f"{title} ?" if unsure else title, fontsize=8, color=colour, pad=3, parse_math=False)
    axes.spines[:].set(color=colour, linewidth=2 if unsure else 0.8, linestyle="--" if unsure else "-")


def below_common_folder(files: Iterable[str]) -> list[str]:
    """The files' names, with as much of their folders as tells files of one name apart."""
    paths = [PurePath(file) for file in files]
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    shared = commonpath([path.parent for path in paths if path.is_absolute() == paths[0].is_absolute()])
    return [str(path.relative_to(shared)) if path.is_relative_to(shared) else str(path) for path in paths]
