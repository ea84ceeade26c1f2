"""Residual networks, as in He et al. 2015, "Deep residual learning for image recognition", for small images.

Differences from the paper: the stem is one 3x3 convolution at full size, as for its own CIFAR nets,
with no max-pooling, so the stages see 32, 16, 8 and 4 pixels instead of 56, 28, 14 and 7. The stride
of a bottleneck is in its 3x3 convolution, so that no pixel is skipped ("v1.5"). The norm can be another.
Convolutions start as in He et al. 2015, "Delving deep into rectifiers", like the paper's.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from basics.choose import choose
from basics.errors import InputError
from lit_modules.inits import he_normal
from lit_modules.norms import NORMS, Norm

__all__ = ["residual_mnist", "resnet18", "resnet34", "resnet50", "resnet_cifar"]


def shortcut(channels: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity if the shape stays the same, otherwise the paper's option B: a projection."""
    if stride == 1 and channels == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, outputs, kernel_size=1, stride=stride, bias=False), norm(outputs))


def two_convolutions(channels: int, width: int, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False),
        norm(width),
        nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        norm(width),
    )


# The scale of a block's last norm starts at 1, as in the paper. Goyal et al. 2017 start it at 0, which makes
# the block begin as its shortcut, and found that to help with batches of thousands. Not used here.
class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the paper's figure 5, left."""

    expansion = 1  # output channels for each unit of width

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.residual = two_convolutions(channels, width, stride, norm)
        self.shortcut = shortcut(channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))  # -> (B, width, H / stride, W / stride)


class PlainBlock(nn.Sequential):
    """The same layers without the shortcut; the paper's plain networks."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__(*two_convolutions(channels, width, stride, norm), nn.ReLU())


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, which narrow and widen; the paper's figure 5, right."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1, bias=False),
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False),
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, kernel_size=1, bias=False),
            norm(outputs),
        )
        self.shortcut = shortcut(channels, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))  # -> (B, 4 width, H / stride, W / stride)


class ResNet(nn.Module):
    """A stem, stages of blocks that each halve the image (but the first), the mean over pixels, one linear layer.

    Args:
        block: `BasicBlock`, `PlainBlock` or `Bottleneck`.
        depths: blocks in each stage.
        widths: width of the blocks of each stage; the stem has the first.
        norm: one of `NORMS`.

    Raises:
        InputError: an unknown norm.
    """

    head = "classifier"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        block: type[BasicBlock] | type[PlainBlock] | type[Bottleneck],
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: str = "batch",
    ) -> None:
        super().__init__()
        make_norm = choose("norm", norm, NORMS)
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1, bias=False),
            make_norm(channels),
            nn.ReLU(),
        )
        self.stages = nn.Sequential()
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks = nn.Sequential()
            for i in range(depth):
                blocks.append(block(channels, width, stride=2 if stage > 0 and i == 0 else 1, norm=make_norm))
                channels = block.expansion * width
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W) -> (B, widths[0], H, W)
        x = self.stages(x)  # (B, expansion * widths[-1], H / 8, W / 8) after four stages, sizes rounded up
        x = x.mean(dim=(2, 3))  # (B, expansion * widths[-1])
        return self.classifier(x)  # (B, num_outputs)


def resnet18(input_shape: Sequence[int], num_outputs: int, norm: str = "batch") -> nn.Module:
    """11.2 M parameters."""
    return ResNet(input_shape, num_outputs, BasicBlock, (2, 2, 2, 2), norm=norm)


def resnet34(input_shape: Sequence[int], num_outputs: int, norm: str = "batch") -> nn.Module:
    """21.3 M parameters."""
    return ResNet(input_shape, num_outputs, BasicBlock, (3, 4, 6, 3), norm=norm)


def resnet50(input_shape: Sequence[int], num_outputs: int, norm: str = "batch") -> nn.Module:
    """23.5 M parameters."""
    return ResNet(input_shape, num_outputs, Bottleneck, (3, 4, 6, 3), norm=norm)


def residual_mnist(input_shape: Sequence[int], num_outputs: int, norm: str = "batch") -> nn.Module:
    """Three blocks, at 28, 14 and 7 pixels, with like amounts of work; 0.31 M parameters. Not in the paper."""
    return ResNet(input_shape, num_outputs, BasicBlock, (1, 1, 1), widths=(32, 64, 128), norm=norm)


def resnet_cifar(
    input_shape: Sequence[int],
    num_outputs: int,
    depth: int = 20,
    residual: bool = True,
    widths: Sequence[int] = (16, 32, 64),
    norm: str = "batch",
) -> nn.Module:
    """The paper's nets for CIFAR-10, of its section 4.2; 0.27 M parameters at depth 20, and 0.86 M at 56.

    Where channels change, shortcuts are projections (option B); the paper's are without parameters there (option A).

    Args:
        depth: convolutions and the linear layer, without those in shortcuts: 20, 32, 44, 56 or 110 in the paper.
        residual: false: the paper's plain nets, which have no shortcuts.
        widths: channels of each stage.

    Raises:
        InputError: an unknown norm, or a depth that does not divide into blocks of two layers, as many in each stage.
    """
    layers = 2 * len(widths)  # of one block in each stage
    blocks, rest = divmod(depth - 2, layers)  # without the stem and the linear layer
    if rest or blocks < 1:
        raise InputError(f"net_args depth {depth}: must be {layers + 2}, {2 * layers + 2}, {3 * layers + 2} or so on")
    block = BasicBlock if residual else PlainBlock
    return ResNet(input_shape, num_outputs, block, [blocks] * len(widths), widths, norm)
