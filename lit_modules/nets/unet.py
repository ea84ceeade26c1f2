"""U-Net, as in Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", small.

Differences from the paper: a quarter of its widths and one pooling less, so that 64 x 64 pixels are enough; padded
convolutions, so that the output is as large as the input and nothing is cropped; BatchNorm (Ioffe and Szegedy 2015)
after each of them; no dropout.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.inits import he_normal

__all__ = ["UNet"]


def two_convolutions(channels: int, width: int) -> nn.Sequential:
    """A level of the U: twice a convolution of 3x3, BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for fan_in in (channels, width):
        # A convolution before BatchNorm needs no bias, since the mean cancels it.
        layers += [nn.Conv2d(fan_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A contracting path, an expanding path, and at each size a bridge from one to the other.

    It gives logits for each pixel, (B, num_outputs, H, W).

    Args:
        widths: maps at each size, from the whole image down; the paper's are 64, 128, 256, 512 and 1,024.

    Raises:
        InputError: the poolings do not divide the image's sides.
    """

    per_pixel = True

    def __init__(self, input_shape: Sequence[int], num_outputs: int, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        channels, height, width = input_shape
        shrinks = 2 ** (len(widths) - 1)
        if not widths or height % shrinks or width % shrinks:
            raise InputError(f"net unet: takes images whose sides are multiples of {shrinks}, not {height} x {width}")
        wide_to_narrow = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.down = nn.ModuleList(map(two_convolutions, (channels, *widths), widths))
        self.pool = nn.MaxPool2d(2)
        # Not an interpolation, whose gradient CUDA computes in another order each time.
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, flat, 2, stride=2) for deep, flat in wide_to_narrow)
        self.merge = nn.ModuleList(two_convolutions(2 * flat, flat) for _, flat in wide_to_narrow)
        self.head = nn.Conv2d(widths[0], num_outputs, kernel_size=1)
        self.apply(he_normal)
        nn.init.normal_(self.head.weight, std=widths[0] ** -0.5)  # logits of variance 1, whatever num_outputs is

    def depths(self) -> dict[str, int]:
        """How many sizes of maps come before that of each parameter, by name; the head's come last."""
        steps = [*self.down, *(nn.ModuleList(pair) for pair in zip(self.up, self.merge, strict=True)), self.head]
        place = {parameter: depth for depth, step in enumerate(steps) for parameter in step.parameters()}
        return {name: place[parameter] for name, parameter in self.named_parameters()}

    def forward(self, x: Tensor) -> Tensor:
        bridges = []
        for level in self.down[:-1]:
            x = level(x)  # (B, width, H, W)
            bridges.append(x)
            x = self.pool(x)  # (B, width, H / 2, W / 2)
        x = self.down[-1](x)  # (B, widths[-1], H / 8, W / 8)
        for up, merge, bridge in zip(self.up, self.merge, reversed(bridges), strict=True):
            x = up(x)  # twice as high and wide, (B, width, h, w)
            x = merge(torch.cat([bridge, x], dim=1))  # (B, 2 * width, h, w) -> (B, width, h, w)
        return self.head(x)  # (B, num_outputs, H, W)
