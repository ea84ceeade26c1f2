"""Views of an image, over which evaluation averages what a network makes of it: mirrored and moved copies."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.means import precise


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """What evaluation averages the network's outputs over.

    Args:
        test_flip: in evaluation, average the network's outputs for each image and its mirror image.
        test_shift: in evaluation, average them also over the image moved by so many pixels to the top left and to the
            bottom right. All views count alike. The moves are those of Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on
            a single GPU", where the image itself counts twice as much.
    """

    test_flip: bool = False
    test_shift: int = 0


def check_views(options: ViewOptions, input_shape: Sequence[int]) -> None:
    """Raises InputError if images of this shape, (C, H, W), cannot be moved that far."""
    shift, side = options.test_shift, min(input_shape[1:])
    if shift < 0:
        raise InputError(f"test_shift {shift}: must not be negative")
    if shift >= side:
        raise InputError(f"test_shift {shift}: must be below the image's {side} pixels")


def mean_over_views(net: nn.Module, images: Tensor, flip: bool, shift: int) -> Tensor:
    """The network's mean output, (B, outputs), for images, (B, C, H, W), and their mirrored and moved copies."""
    views = [images]
    if shift:
        padded, (height, width) = F.pad(images, [shift] * 4, mode="reflect"), images.shape[-2:]
        views += [padded[..., 2 * shift :, 2 * shift :], padded[..., :height, :width]]
    if flip:
        views += [view.flip(-1) for view in views]
    return torch.stack([precise(net(view)) for view in views]).mean(0)
