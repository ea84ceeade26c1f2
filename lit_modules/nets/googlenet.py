"""GoogLeNet, as in Szegedy et al. 2014, "Going deeper with convolutions", for small images.

Differences from the paper: the stem is one 3x3 convolution at full size, so the stages see 32, 16 and 8 pixels
instead of 28, 14 and 7. BatchNorm follows each convolution, and two 3x3 convolutions replace each 5x5 one, as in
Ioffe and Szegedy 2015, "Batch normalization". Local response normalisation and the two auxiliary classifiers are
left out.
Convolutions start as in He et al. 2015, "Delving deep into rectifiers"; the paper does not say.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_modules.inits import he_normal

__all__ = ["GoogLeNet"]


def conv(channels: int, outputs: int, kernel_size: int) -> nn.Sequential:
    """A convolution that keeps the size of the image, BatchNorm and ReLU."""
    # A convolution before BatchNorm needs no bias, since the mean cancels it.
    convolution = nn.Conv2d(channels, outputs, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def halve() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)  # rounds up: 32 -> 16 -> 8 and 28 -> 14 -> 7


class Inception(nn.Module):
    """Four paths side by side, whose maps are stacked; the paper's figure 2b.

    Args:
        one: maps of the 1x1 path.
        three: maps after the reduction and after the 3x3 convolution.
        five: maps after the reduction and after the convolutions that replace the 5x5 one.
        pool: maps of the projection after the pooling.
    """

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.one = conv(channels, one, 1)
        self.three = nn.Sequential(conv(channels, three[0], 1), conv(three[0], three[1], 3))
        self.five = nn.Sequential(conv(channels, five[0], 1), conv(five[0], five[1], 3), conv(five[1], five[1], 3))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        paths = [self.one(x), self.three(x), self.five(x), self.pool(x)]
        return torch.cat(paths, dim=1)  # (B, channels, H, W) -> (B, one + three[1] + five[1] + pool, H, W)


class GoogLeNet(nn.Module):
    """A stem, nine Inception blocks in three stages, the mean over pixels, dropout, one linear layer. 6.2 M parameters.

    Args:
        dropout: probability of zeroing one of the 1,024 features.
    """

    head = "classifier"

    def __init__(self, input_shape: Sequence[int], num_outputs: int, dropout: float = 0.4) -> None:
        super().__init__()
        self.stem = conv(input_shape[0], 192, 3)
        self.stages = nn.Sequential(  # the rows of the paper's table 1
            Inception(192, 64, (96, 128), (16, 32), 32),  # 3a
            Inception(256, 128, (128, 192), (32, 96), 64),
            halve(),
            Inception(480, 192, (96, 208), (16, 48), 64),  # 4a
            Inception(512, 160, (112, 224), (24, 64), 64),
            Inception(512, 128, (128, 256), (24, 64), 64),
            Inception(512, 112, (144, 288), (32, 64), 64),
            Inception(528, 256, (160, 320), (32, 128), 128),
            halve(),
            Inception(832, 256, (160, 320), (32, 128), 128),  # 5a
            Inception(832, 384, (192, 384), (48, 128), 128),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1024, num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W) -> (B, 192, H, W)
        x = self.stages(x)  # (B, 1024, H / 4, W / 4)
        x = x.mean(dim=(2, 3))  # (B, 1024)
        return self.classifier(self.dropout(x))  # (B, num_outputs)
