"""The pictures of tensors.py: memory and strides, broadcasting, and an image that a view scrambled."""

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.decode import decode_files
from experiments.fundamentals.photographs import sample_image
from experiments.fundamentals.worked_examples import value_of
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ELEMENTS = 12  # of the tensor whose memory is drawn
READINGS = (
    ("x", "the elements follow one another"),
    ("x.T", "the same memory, read in steps of 4"),
    ("x[:, ::2]", "every second element of it"),
    ("x[1:, 1:3]", "a part, which starts at element 5"),
    ("x[0].expand(3, 4)", "a row, read three times"),
    ("x.T.contiguous()", "a copy: new memory, in the new order"),
)


class Sum(NamedTuple):
    """Two tensors to add, by code."""

    left: str
    right: str
    says: str


SUMS = (
    Sum("torch.arange(6).view(2, 3)", "torch.tensor([10, 20, 30])", "a row for every row"),
    Sum("torch.arange(6).view(2, 3)", "torch.tensor([[10], [20]])", "a column for every column"),
    Sum("torch.tensor([[1], [2], [3]])", "torch.tensor([1, 2, 3])", "both are stretched: a table"),
    Sum("torch.arange(6).view(2, 3)", "torch.tensor([10, 20])", "3 and 2 do not fit: refused"),
)
IMAGE_SIZE = 192  # pixels; three of them side by side are legible at 800


def addresses(tensor: Tensor) -> Tensor:
    """Where in its memory each element of the tensor is, counted in elements; of the tensor's shape."""
    places = torch.full(tensor.shape, tensor.storage_offset())
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        steps = stride * torch.arange(size)
        places += steps.view(-1, *[1] * (tensor.ndim - axis - 1))
    return places


def draw_strides() -> "Figure":
    """A panel for each of `READINGS`: the tensor, its memory, and the way through memory as one reads the tensor."""
    x = torch.arange(ELEMENTS).view(3, 4)
    figure, axes = new_figure(2, 3, size=(10, 8.2))
    for place, (code, says) in zip(axes.flat, READINGS, strict=True):
        _draw_reading(place, code, says, value_of(code, {"x": x}))
    figure.suptitle(
        "One memory, many tensors: x = torch.arange(12).view(3, 4)\n"
        "below each strip of memory, from top to bottom, the way through it as one reads the tensor row by row"
    )
    return figure


def _draw_reading(axes: "Axes", code: str, says: str, tensor: Tensor) -> None:
    memory = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    rows, columns = tensor.shape
    left, cell = (ELEMENTS - 1.5 * columns) / 2, 1.5
    for row, column in product(range(rows), range(columns)):
        _cell(axes, left + cell * column, -cell * row, cell, int(tensor[row, column]))
    order = addresses(tensor).flatten()
    for place, value in enumerate(memory.tolist()):
        _cell(axes, place, -7.5, 1, value, used=bool((order == place).any()))
    depth = np.linspace(-8.6, -13, len(order))
    axes.plot(order + 0.5, depth, color="0.3", marker=".", markersize=6, linewidth=1)
    axes.text(0, -6.2, "memory", fontsize=9, color="0.3")
    axes.set_title(f"{code}\n{says}\nstrides {tensor.stride()}", fontsize=10)
    axes.set(xlim=(-0.2, ELEMENTS + 0.2), ylim=(-13.4, 1.8), aspect="equal")
    axes.axis("off")


def _cell(axes: "Axes", x: float, y: float, size: float, value: int, used: bool = True) -> None:
    """A square with its lower left corner at (x, y), coloured by the value."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shade = value / (ELEMENTS - 1)
    face = colormaps["cividis"](shade) if used else "white"
    axes.add_patch(Rectangle((x, y), size, size, facecolor=face, edgecolor="0.3", linewidth=0.8))
    ink = "0.6" if not used else "white" if shade < 0.5 else "black"
    axes.text(x + size / 2, y + size / 2, str(value), ha="center", va="center", fontsize=8, color=ink)


def draw_broadcasting() -> "Figure":
    """The sums of `SUMS`, cell by cell; the cells that broadcasting repeats are pale."""
    figure, axes = new_figure(2, 2, size=(10, 5.2))
    for place, each in zip(axes.flat, SUMS, strict=True):
        _draw_sum(place, value_of(each.left, {}), value_of(each.right, {}), each.says)
    figure.suptitle("Broadcasting: shapes are compared from the right, and a length of 1 is stretched (pale cells)")
    return figure


def _draw_sum(axes: "Axes", left: Tensor, right: Tensor, says: str) -> None:
    shape = _common_shape(left, right)
    terms = {"": left, "+": right, "=": left + right} if shape else {"": left, "+": right}
    for number, (sign, term) in enumerate(terms.items()):
        axes.text(4.2 * number - 0.6, -1.5, sign, ha="center", va="center", fontsize=16)
        _draw_term(axes, 4.2 * number, term, shape, COLOURS[number])
    if not shape:
        axes.text(9.9, -1.5, "RuntimeError", ha="center", va="center", color=COLOURS[1], fontsize=12)
    axes.set(title=says, xlim=(-0.8, 11.8), ylim=(-4, 0.3), aspect="equal")
    axes.axis("off")


def _common_shape(left: Tensor, right: Tensor) -> torch.Size | None:
    try:
        return torch.broadcast_shapes(left.shape, right.shape)
    except RuntimeError:
        return None


def _draw_term(axes: "Axes", x: float, term: Tensor, shape: torch.Size | None, colour: str) -> None:
    """The tensor from its top left corner at (x, 0), and pale what it is stretched to."""
    from matplotlib.patches import Rectangle

    own = term.view(1, -1) if term.ndim == 1 else term
    shown = term.expand(shape) if shape else own
    for row, column in product(range(shown.shape[0]), range(shown.shape[1])):
        pale = row >= own.shape[0] or column >= own.shape[1]
        style = dict(alpha=0.15, linestyle=":") if pale else dict(alpha=0.45)
        axes.add_patch(Rectangle((x + column, -row - 1), 1, 1, facecolor=colour, edgecolor="black", **style))
        ink = "0.45" if pale else "black"
        axes.text(x + column + 0.5, -row - 0.5, str(int(shown[row, column])), ha="center", va="center", color=ink)
    axes.text(x + shown.shape[1] / 2, -len(shown) - 0.7, str(tuple(term.shape)), ha="center", fontsize=10)


def draw_scramble() -> "Figure":
    """The channels of a photograph by permute, and what view makes of it in the same shape."""
    images, _, _ = decode_files([sample_image()], IMAGE_SIZE)
    image = torch.from_numpy(images[0])  # (H, W, 3)
    height, width, channels = image.shape
    ways = {
        "permute(2, 0, 1)": image.permute(2, 0, 1),
        f"view(3, {height}, {width})": image.view(channels, height, width),
    }
    figure, axes = new_figure(2, 3, size=(8, 5.8))
    for row, (way, planes) in zip(axes, ways.items(), strict=True):
        for number, (place, plane) in enumerate(zip(row, planes, strict=True)):
            place.imshow(plane, cmap="gray", vmin=0, vmax=255)
            place.set(xticks=[], yticks=[], title=f"image.{way}[{number}]")
            place.title.set_fontsize(10)
    figure.suptitle(f"{tuple(image.shape)} to (3, {height}, {width}): permute moves the axes, view cuts memory up anew")
    return figure
