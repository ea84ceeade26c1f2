"""DenseNet-BC, as in Huang et al. 2017, "Densely connected convolutional networks", for small images.

`densenet_bc_100_12` is the paper's CIFAR net (depth 100, growth 12) without dropout, which the paper uses only
without augmentation. `densenet121` is its ImageNet net with the CIFAR stem: one 3x3 convolution of twice the
growth, at full size, with no max-pooling.
Convolutions start as in He et al. 2015, "Delving deep into rectifiers", like the paper's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_modules.inits import he_normal

__all__ = ["densenet121", "densenet_bc_100_12"]


class DenseLayer(nn.Module):
    """Adds `growth` maps to those it is given; the 1x1 bottleneck is four times as wide."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * growth, kernel_size=1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], dim=1)  # (B, channels, H, W) -> (B, channels + growth, H, W)


def dense_block(channels: int, growth: int, depth: int) -> nn.Sequential:
    """From (B, channels, H, W) to (B, channels + depth * growth, H, W)."""
    return nn.Sequential(*(DenseLayer(channels + i * growth, growth) for i in range(depth)))


def transition(channels: int) -> nn.Sequential:
    """Half the maps ("C", compression), half the size."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False),
        nn.AvgPool2d(2),
    )


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, the mean over pixels, one linear layer.

    Args:
        growth: maps that each layer adds, the paper's k.
        depths: layers in each dense block.
    """

    head = "classifier"

    def __init__(self, input_shape: Sequence[int], num_outputs: int, growth: int, depths: Sequence[int]) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for i, depth in enumerate(depths):
            if i > 0:
                self.blocks.append(transition(channels))
                channels //= 2
            self.blocks.append(dense_block(channels, growth, depth))
            channels += depth * growth
        self.activation = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W) -> (B, 2 growth, H, W)
        x = self.blocks(x)  # (B, channels, H / 2^transitions, W / 2^transitions), sizes rounded down
        x = self.activation(x).mean(dim=(2, 3))  # (B, channels)
        return self.classifier(x)  # (B, num_outputs)


def densenet121(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """Growth 32, 58 dense layers of two convolutions; 7.0 M parameters."""
    return DenseNet(input_shape, num_outputs, growth=32, depths=(6, 12, 24, 16))


def densenet_bc_100_12(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """Growth 12, 48 dense layers of two convolutions; 0.77 M parameters."""
    return DenseNet(input_shape, num_outputs, growth=12, depths=(16, 16, 16))
