"""Output sizes of convolutions, poolings and upsamplings: by formula, by real layers, and drawn."""

from copy import deepcopy
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """After a convolution or pooling along one axis: Dumoulin and Visin 2016, "A guide to convolution arithmetic"."""
    reach = dilation * (kernel - 1) + 1  # pixels from the kernel's first to its last
    places = (size + 2 * padding - reach) / stride
    if not ceil_mode:
        return floor(places) + 1
    rounded_up = ceil(places) + 1
    # The last window must start in the image or in its left padding, not beyond.
    return rounded_up - ((rounded_up - 1) * stride >= size + padding)


def transposed_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """The output size of a transposed convolution along one axis: the size from which the convolution makes `size`."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


CELLS = 8  # in the row on which the operations below are shown


class Operation(NamedTuple):
    """A layer along one axis, and the size that it makes of `CELLS` by the formula."""

    name: str
    layer: nn.Module
    size: int
    padding: int = 0


ROUNDED_UP, TRANSPOSED = nn.MaxPool1d(3, 2, ceil_mode=True), nn.ConvTranspose1d(1, 1, 4, 2, 1)
OPERATIONS = (
    Operation("convolution, kernel 3", nn.Conv1d(1, 1, 3), output_size(CELLS, 3)),
    Operation("padding 1", nn.Conv1d(1, 1, 3, padding=1), output_size(CELLS, 3, padding=1), 1),
    Operation("padding 1, stride 2", nn.Conv1d(1, 1, 3, 2, 1), output_size(CELLS, 3, 2, 1), 1),
    Operation("dilation 2", nn.Conv1d(1, 1, 3, dilation=2), output_size(CELLS, 3, dilation=2)),
    Operation("pooling, kernel 2", nn.MaxPool1d(2), output_size(CELLS, 2, 2)),
    Operation("pooling, kernel 3, stride 2, rounded up", ROUNDED_UP, output_size(CELLS, 3, 2, ceil_mode=True)),
    Operation("upsampling by 2", nn.Upsample(scale_factor=2), 2 * CELLS),
    Operation("transposed convolution, kernel 4, stride 2, padding 1", TRANSPOSED, transposed_size(CELLS, 4, 2, 1)),
)


def print_sizes() -> None:
    print(f"\n{'along one axis':<54}{'formula':>12}{'layer':>8}")
    for name, layer, size, _ in OPERATIONS:
        made = layer(torch.zeros(1, 1, CELLS)).shape[-1]
        print(f"{name:<54}{f'{CELLS} -> {size}':>12}{made:>8}")


def draw_sizes() -> "Figure":
    figure, axes = new_figure(4, 2, size=(10, 9))
    for place, operation in zip(axes.flat, OPERATIONS, strict=True):
        _draw_operation(place, operation)
    figure.suptitle("Which cells of the input, above, each cell of the output comes from; white ones are padding")
    return figure


def _draw_operation(axes: "Axes", operation: Operation) -> None:
    """Two rows of cells, with a line from each input to every output that depends on it."""
    name, _, size, padding = operation
    reached, shown = taps(operation), size // 2
    cells = torch.arange(-padding, CELLS + padding)  # (inputs,)
    places = cells.float() @ reached.float() / reached.sum(0)  # (outputs,): each below the centre of its inputs
    if size > CELLS:  # outputs of one input would lie on top of each other
        places = torch.linspace(-0.25, CELLS - 0.75, size)
    for output, place in enumerate(places.tolist()):
        colour, width = (COLOURS[1], 2.5) if output == shown else ("0.7", 1)
        for cell in cells[reached[:, output]].tolist():
            axes.plot([cell, place], [1, 0], color=colour, linewidth=width, zorder=2 + (output == shown))
        axes.scatter(place, 0, s=60 if size > CELLS else 130, marker="s", color=colour, edgecolor="0.3", zorder=4)
    inside = (cells >= 0) & (cells < CELLS)
    for marked, colour in ((inside, COLOURS[0]), (~inside, "white")):
        row = [1] * int(marked.sum())
        axes.scatter(cells[marked], row, s=130, marker="s", zorder=4, color=colour, edgecolor=COLOURS[0])
    axes.set(xlim=(-1.4, CELLS + 0.4), ylim=(-0.3, 1.3))
    axes.set_title(f"{name}: {CELLS} -> {size}", fontsize=10)
    axes.axis("off")


def taps(operation: Operation) -> Tensor:
    """Which outputs depend on which inputs, padding included, as the layer itself shows.

    Returns:
        Booleans, (inputs, outputs).
    """
    layer = deepcopy(operation.layer)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, float(parameter.ndim > 1))  # weights of 1, no bias
    if isinstance(layer, nn.Conv1d) and operation.padding:
        layer.padding = (0,)  # its cells are among the inputs here
    with torch.no_grad():
        return layer(torch.eye(CELLS + 2 * operation.padding).unsqueeze(1))[:, 0] > 0
