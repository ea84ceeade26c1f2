"""The layers of a network as an image passes through them: shapes, parameters, multiply-adds."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.comparing.tables import align, terminal_width
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 120  # layers in a figure at most


class Layer(NamedTuple):
    """A module that computes something itself, as it ran on one image."""

    name: str  # "features.0"
    kind: str  # "Conv2d"
    output: tuple[int, ...]  # shape, without the batch
    parameters: int
    multiply_adds: int


def layers_of(net: nn.Module, input_shape: Sequence[int]) -> list[Layer]:
    """The layers in the order in which an image, (C, H, W), passes them; shared parameters are counted once."""
    layers: list[Layer] = []
    counted: set[Tensor] = set()

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        own = {p for p in module.parameters(recurse=False) if p not in counted}
        counted.update(own)
        shape = tuple(output.shape[1:])
        layers.append(
            Layer(name, type(module).__name__, shape, sum(p.numel() for p in own), multiply_adds(module, output))
        )

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in net.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    ]
    net.eval()
    with torch.no_grad():
        net(_one_image(net, input_shape))
    for hook in hooks:
        hook.remove()
    return layers


def multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Products that a convolution or linear layer adds up for a batch of one; 0 for other layers, which cost little."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.in_channels // module.groups * prod(module.kernel_size)
    return output.numel() * module.in_features if isinstance(module, nn.Linear) else 0


def counted_by_torch(net: nn.Module, input_shape: Sequence[int]) -> int:
    """The same total by torch's own counter, which watches the operations and counts a multiply-add as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(_one_image(net, input_shape))
    return counter.get_total_flops() // 2


def print_layers(layers: Sequence[Layer]) -> None:
    """A row for each layer, by the name that code has for it, and the totals."""
    total = sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)
    counts = [[f"{layer.parameters:,}", f"{layer.multiply_adds:,}"] for layer in layers]
    rows = [["layer", "kind", "output", "parameters", "multiply-adds"]]
    for layer, its in zip(layers, counts, strict=True):
        rows.append([layer.name, layer.kind, " x ".join(map(str, layer.output)), *its])
    rows.append(["total", "", "", *(f"{count:,}" for count in total)])
    widest = max(map(len, align(rows, left=3).splitlines()))
    longest = max(len(row[0]) for row in rows) - max(0, widest - terminal_width())
    for row in rows:  # the end of a long name says more than its beginning
        row[0] = row[0] if len(row[0]) <= longest else f"...{row[0][3 - longest :]}"
    print(f"\n{align(rows, left=3)}\n")


def draw_layers(net: str, layers: Sequence[Layer]) -> "Figure":
    """Bars for the layers that multiply, by the names and in the order of the table, from the top."""
    drawn = _largest(layers)
    figure, panels = new_figure(1, 2, size=(9, 1.6 + 0.15 * max(len(drawn), 12)), sharey=True)
    places, size = range(len(drawn)), 9 if len(drawn) <= 20 else 7
    for axes, (what, colour) in zip(panels, (("parameters", 0), ("multiply-adds", 1)), strict=True):
        counts = [getattr(layer, what.replace("-", "_")) for layer in drawn]
        bars = axes.barh(places, counts, color=COLOURS[colour])
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=size - 1)
        axes.set(xlabel=what, xlim=(0, 1.28 * max(counts)))
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    panels[0].set_yticks(places, [layer.name for layer in drawn], fontsize=size)
    panels[0].set_ylim(len(drawn) - 0.3, -0.7)  # the first layer at the top, as in the table
    of = f"the {len(drawn)} layers that multiply most" if len(drawn) == DRAWN else "the layers that multiply"
    rest = 1 - sum(layer.parameters for layer in drawn) / sum(layer.parameters for layer in layers)
    others = f"; others have {rest:.1%} of the parameters" if rest > 0 else ""
    figure.suptitle(f"Where {net} keeps its parameters, and where it spends its time:\n{of}{others}", fontsize=11)
    return figure


def _largest(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that multiply, at most `DRAWN`, in their order."""
    multiplying = [layer for layer in layers if layer.multiply_adds]
    least = sorted(layer.multiply_adds for layer in multiplying)[-DRAWN:]
    return [layer for layer in multiplying if layer.multiply_adds >= least[0]][:DRAWN]


def _one_image(net: nn.Module, input_shape: Sequence[int]) -> Tensor:
    return torch.zeros(1, *input_shape, device=next(net.parameters()).device)  # (1, C, H, W)
