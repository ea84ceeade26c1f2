"""Convolution: classic kernels on a photograph, what pooling, strides and paddings do, and the layers of a network.

    python experiments/convolution.py                                  a photograph that scikit-learn ships; LeNet-5
    python experiments/convolution.py --image photo.jpg --kernels sobel_x,sobel_y,emboss
    python experiments/convolution.py --net googlenet --input_shape 3,32,32

LeNet-5 has 61,706 parameters. For an image of 28 x 28 pixels it multiplies and adds 416,520 times. Its first linear
layer has 78 % of the parameters, but only 12 % of that work. GoogLeNet has 6,158,346 parameters, and multiplies and
adds 1,521,756,160 times for an image of 32 x 32 pixels. Each output size in the table is that of a real layer, and
agrees with the formula.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from experiments.fundamentals.image_filters import KERNELS, LUMA, filtered, weighted_sum
from experiments.fundamentals.layers import Layer, counted_by_torch, draw_layers, layers_of, print_layers
from experiments.fundamentals.output_sizes import draw_sizes, print_sizes
from experiments.fundamentals.photographs import read_image, sample_image
from experiments.fundamentals.resized_images import draw_resized
from harness.command_line.cli import cli
from harness.drawing.figures import new_figure
from harness.tasks.study import Study, StudyFlags
from lit_modules.nets import build_net

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRY_NEXT = "--net googlenet --input_shape 3,32,32  # where does a deep one multiply?"


@dataclass(frozen=True, kw_only=True)
class ConvolutionFlags(StudyFlags):
    """What is filtered, and which network is looked at.

    Args:
        image: image file to filter; null: scikit-learn's photograph of a temple.
        image_size: side in pixels, to which the central square of the image is resized.
        kernels: the ones to show.
        net: name of the network, one of lit_modules/nets.
        input_shape: channels, height and width of what the network gets.
        num_outputs: of the network.
        net_args: options of the network, such as --net_args.dropout 0.2.
    """

    image: str | None = None
    image_size: int = 256
    kernels: list[str] = field(default_factory=lambda: list(KERNELS))
    net: str = "lenet5"
    input_shape: list[int] = field(default_factory=lambda: [1, 28, 28])
    num_outputs: int = 10
    net_args: dict[str, Any] | None = None


DEFAULTS = ConvolutionFlags()


def main(flags: ConvolutionFlags = DEFAULTS) -> dict[str, Any]:
    """Draws kernels, sizes and channels, and prints the layers of a network."""
    if not flags.kernels:
        raise InputError("kernels []: name at least one")
    for kernel in flags.kernels:
        choose("kernel", kernel, KERNELS)
    photograph = read_image(Path(flags.image) if flags.image else sample_image(), flags.image_size)
    layers, by_torch = _run_net(flags.net, flags.input_shape, flags.num_outputs, flags.net_args or {})
    study = Study("convolution", flags, try_next=TRY_NEXT)
    print_sizes()
    print_layers(layers)
    totals = {
        "parameters": sum(layer.parameters for layer in layers),
        "multiply_adds": sum(layer.multiply_adds for layer in layers),
        "multiply_adds_by_torch": by_torch,  # higher if operations outside of layers multiply too
    }
    figures = {
        "kernels": _draw_kernels(photograph, flags.kernels),
        "sizes": draw_sizes(),
        "channels": _draw_channels(photograph),
        "pooling": draw_resized(photograph),
        "layers": draw_layers(flags.net, layers),
    }
    return study.conclude(totals | {"layers": [layer._asdict() for layer in layers]}, figures)


def _run_net(net: str, input_shape: list[int], num_outputs: int, net_args: dict[str, Any]) -> tuple[list[Layer], int]:
    """The layers of the network, and the multiply-adds that torch counts."""
    if len(input_shape) != 3 or min(*input_shape, num_outputs) < 1:
        raise InputError(
            f"input_shape {input_shape}, num_outputs {num_outputs}: need [channels, height, width], above 0"
        )
    try:
        with torch.device("meta"):  # shapes without values, at no cost
            model = build_net(net, input_shape, num_outputs, **net_args)
        layers, by_torch = layers_of(model, input_shape), counted_by_torch(model, input_shape)
    except RuntimeError as error:
        raise InputError(f"net {net}: cannot take input_shape {input_shape} ({error})") from error
    if not any(layer.multiply_adds for layer in layers):
        raise InputError(f"net {net}: has no convolution and no linear layer whose products could be counted")
    return layers, by_torch


def _draw_kernels(image: Tensor, kernels: list[str]) -> "Figure":
    rows, columns = -(-len(kernels) // 3), min(3, len(kernels))
    figure, axes = new_figure(rows, columns, size=(2.4 * columns, 3.3 * rows), squeeze=False)
    for place in axes.flat[len(kernels) :]:
        place.axis("off")
    for name, place in zip(kernels, axes.flat, strict=False):
        kernel = KERNELS[name]
        if kernel.sum().abs() < 1e-6:
            answer = filtered(weighted_sum(image, LUMA)[None], kernel)[0]
            limit = float(answer.abs().quantile(0.99))
            place.imshow(answer, cmap="gray", vmin=-limit, vmax=limit)
        else:
            place.imshow(filtered(image, kernel).clamp(0, 1).permute(1, 2, 0))
        place.set(title=name, xticks=[], yticks=[])
        place.set_xlabel(_written(kernel), family="monospace", fontsize=8)
    figure.suptitle("Kernels on a photograph; where a kernel adds up to 0, middle grey is 0")
    return figure


def _written(kernel: Tensor) -> str:
    if len(kernel) > 3:
        return f"\n{len(kernel)} x {len(kernel)}\n"
    return "\n".join(" ".join(f"{weight:2.0f}" for weight in row) for row in kernel.tolist())


def _draw_channels(image: Tensor) -> "Figure":
    figure, axes = new_figure(1, 4, size=(9, 2.7))
    names = [f"{weight} {name}" for weight, name in zip(LUMA, ("red", "green", "blue"), strict=True)]
    for place, channel, name in zip(axes, [*image, weighted_sum(image, LUMA)], [*names, "their sum"], strict=True):
        place.imshow(channel, cmap="gray", vmin=0, vmax=1)
        place.set(title=name, xticks=[], yticks=[])
    for place, sign in zip(axes[1:], "++=", strict=True):
        place.set_ylabel(sign, rotation=0, fontsize=18, va="center", labelpad=12)
    figure.suptitle("A 1x1 convolution is a weighted sum of channels; with these weights, the grey image")
    return figure


if __name__ == "__main__":
    cli(main)
