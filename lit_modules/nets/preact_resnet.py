"""ResNet-18 with pre-activation, as in He et al. 2016, "Identity mappings in deep residual networks".

Differences from the paper: it has 18 layers in the stages of ResNet-18, where the paper's CIFAR nets have
110 and more, narrower ones. The stem is a 3x3 convolution with no max-pooling.
Convolutions start as in He et al. 2015, "Delving deep into rectifiers", like the paper's.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from basics.choose import choose
from lit_modules.inits import he_normal
from lit_modules.norms import NORMS, Norm

__all__ = ["preact_resnet18"]


class Unit(nn.Module):
    """Norm and ReLU come before each convolution, and nothing after the sum; the paper's figure 1b."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)  # (B, channels, H, W)


class FirstUnit(nn.Module):
    """Opens a stage, and activates before the two paths split.

    The paper's appendix asks this of the first unit of the network, and its code does it wherever the width changes.
    """

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.activation = nn.Sequential(norm(channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False),
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x)  # (B, channels, H, W)
        return self.shortcut(x) + self.residual(x)  # (B, width, H / stride, W / stride)


class PreActResNet(nn.Module):
    """A stem, stages of units that each halve the image (but the first), norm and ReLU, one linear layer.

    Args:
        depths: units in each stage.
        widths: channels of each stage; the stem has the first.
        norm: one of `NORMS`.

    Raises:
        InputError: an unknown norm.
    """

    head = "classifier"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: str = "batch",
    ) -> None:
        super().__init__()
        make_norm = choose("norm", norm, NORMS)
        channels = widths[0]
        self.stem = nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1, bias=False)
        self.stages = nn.Sequential()
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            first = FirstUnit(channels, width, stride=2 if stage > 0 else 1, norm=make_norm)
            self.stages.append(nn.Sequential(first, *(Unit(width, make_norm) for _ in range(depth - 1))))
            channels = width
        self.activation = nn.Sequential(make_norm(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W) -> (B, widths[0], H, W)
        x = self.stages(x)  # (B, widths[-1], H / 8, W / 8) after four stages, sizes rounded up
        x = self.activation(x).mean(dim=(2, 3))  # (B, widths[-1])
        return self.classifier(x)  # (B, num_outputs)


def preact_resnet18(input_shape: Sequence[int], num_outputs: int, norm: str = "batch") -> nn.Module:
    """11.2 M parameters."""
    return PreActResNet(input_shape, num_outputs, (2, 2, 2, 2), norm=norm)
