"""FCN-8s, as in Long et al. 2015, "Fully convolutional networks for semantic segmentation", small.

Differences from the paper: the features are four stages of two convolutions with BatchNorm (Ioffe and Szegedy 2015), in
place of a VGG-16 trained on ImageNet, and end at a sixteenth of the image, not a thirty-second. So one sum joins two
sizes, where the paper has two sums. As there, scores are made at both sizes, and the last step enlarges 8 times; here
it learns too, where the paper keeps it bilinear.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.inits import he_normal

__all__ = ["FCN"]


def stage(channels: int, width: int) -> nn.Sequential:
    """Two convolutions of 3x3, then a pooling that halves the image."""
    layers: list[nn.Module] = []
    for fan_in in (channels, width):
        # A convolution before BatchNorm needs no bias, since the mean cancels it.
        layers += [nn.Conv2d(fan_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def enlarge(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear interpolation, each channel by itself, and learns from there."""
    layer = nn.ConvTranspose2d(
        channels, channels, kernel_size=2 * factor, stride=factor, padding=factor // 2, bias=False
    )
    distance = (torch.arange(2 * factor) - factor + 0.5).abs() / factor  # of each tap, in pixels of the input
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[range(channels), range(channels)] = (1 - distance)[:, None] * (1 - distance)
    return layer


class FCN(nn.Module):
    """Scores at an eighth and a sixteenth of the image, enlarged and added up: logits, (B, num_outputs, H, W).

    Args:
        widths: maps of each stage.

    Raises:
        InputError: the poolings do not divide the image's sides.
    """

    head = ("deep_score", "score", "twice", "eightfold")
    per_pixel = True

    def __init__(
        self, input_shape: Sequence[int], num_outputs: int, widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        if height % 16 or width % 16:
            raise InputError(f"net fcn: takes images whose sides are multiples of 16, not {height} x {width}")
        stages = list(map(stage, (channels, *widths), widths))
        self.eighth, self.sixteenth = nn.Sequential(*stages[:3]), stages[3]
        self.apply(he_normal)
        self.deep_score = nn.Conv2d(widths[3], num_outputs, kernel_size=1)
        self.score = nn.Conv2d(widths[2], num_outputs, kernel_size=1)
        self.twice, self.eightfold = enlarge(num_outputs, 2), enlarge(num_outputs, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.eighth(x)  # (B, C, H, W) -> (B, widths[2], H / 8, W / 8)
        deep = self.deep_score(self.sixteenth(x))  # (B, num_outputs, H / 16, W / 16)
        scores = self.twice(deep) + self.score(x)  # (B, num_outputs, H / 8, W / 8)
        return self.eightfold(scores)  # (B, num_outputs, H, W)
