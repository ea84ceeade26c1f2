"""What a norm averages over, found from the layer itself: the inputs that one output depends on."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.drawing.figures import COLOURS, new_figure
from lit_modules.norms import NORMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES, CHANNELS, SIDE = 4, 6, 2  # small, so that the blocks can be told apart; group norm makes two groups of three
OUTPUT = (0, 0, 0)  # image, channel and pixel of the output that is looked at


def averaged_over(norm: str) -> np.ndarray:
    """The inputs that change `OUTPUT` of the norm with this name in training, booleans, (N, C, H W)."""
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, CHANNELS, SIDE, SIDE)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    outputs = NORMS[norm](CHANNELS).double().train()(inputs)
    (slopes,) = torch.autograd.grad(outputs.flatten(2)[OUTPUT], inputs)
    return (slopes != 0).flatten(2).numpy()  # (N, C, H, W) -> (N, C, H W)


def draw_blocks() -> "Figure":
    """For each norm, the inputs as a block of images, channels and pixels, with those coloured that one output needs.

    After figure 2 of Wu and He 2018, "Group normalization".
    """
    figure, axes = new_figure(2, 2, size=(8, 6.6), subplot_kw={"projection": "3d"})
    for place, norm in zip(axes.flat, NORMS, strict=True):
        needed = averaged_over(norm)
        blocks = needed.transpose(1, 0, 2)  # (C, N, H W), image 0 in front
        colours = np.where(blocks, COLOURS[0], "#F4F4F4")
        place.voxels(np.ones_like(blocks), facecolors=colours, edgecolor="0.45", linewidth=0.7, shade=False)
        place.set(xlabel="channels", xticks=[], yticks=[], zticks=[])
        place.set_ylabel("images", labelpad=-10)
        place.set_zlabel("pixels", labelpad=-10)
        place.xaxis.labelpad = -10
        for axis in (place.xaxis, place.yaxis, place.zaxis):
            axis.pane.set_visible(False)
            axis.line.set_visible(False)
        place.view_init(elev=22, azim=-55)
        place.set_box_aspect((CHANNELS, IMAGES, SIDE * SIDE), zoom=1.05)
        place.set_title(f"{norm}: {needed.sum()} of {needed.size} inputs")
    figure.suptitle("Blue: the inputs that are averaged for the output at image, channel and pixel 1")
    return figure
