"""Wide ResNets, as in Zagoruyko and Komodakis 2016, "Wide residual networks".

A ResNet with pre-activation, of few layers that are `widen` times as wide as those of He et al. 2016: WRN-28-10 has 28
convolutions, counting those of shortcuts where the width changes, and 36.5 M parameters. Convolutions start as in He et
al. 2015, like the paper's. As in the authors' code, a unit that changes the width activates before its paths split.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.inits import he_normal

__all__ = ["WideResNet"]


class Unit(nn.Module):
    """Two convolutions of 3 x 3, each behind BatchNorm and ReLU; dropout between them, as in the paper's figure 1d."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        )
        self.shortcut = None
        if channels != width:
            self.shortcut = nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(x)  # (B, channels, H, W)
        shortcut = self.shortcut(active) if self.shortcut else x
        return shortcut + self.residual(active)  # (B, width, H / stride, W / stride)


class WideResNet(nn.Module):
    """A stem of 16 channels, three stages of units, of which the last two halve the image, and one linear layer.

    Args:
        depth: of the paper's names: 6 n + 4 for n units in each stage.
        widen: how many times wider the stages are than 16, 32 and 64 channels.
        dropout: in each unit; the paper has 0.3 on SVHN, and 0 or 0.3 on CIFAR.

    Raises:
        InputError: no number of units gives that depth.
    """

    head = "classifier"

    def __init__(
        self, input_shape: Sequence[int], num_outputs: int, depth: int = 28, widen: int = 10, dropout: float = 0.0
    ) -> None:
        super().__init__()
        units, rest = divmod(depth - 4, 6)
        if units < 1 or rest or widen < 1:
            raise InputError(
                f"net_args.depth {depth}, widen {widen}: depth must be 10, 16, 22, 28 or so, widen above 0"
            )
        self.stem = nn.Conv2d(input_shape[0], 16, kernel_size=3, padding=1, bias=False)
        self.stages, channels = nn.Sequential(), 16
        for width, stride in ((16 * widen, 1), (32 * widen, 2), (64 * widen, 2)):
            first = Unit(channels, width, stride, dropout)
            self.stages.append(nn.Sequential(first, *(Unit(width, width, 1, dropout) for _ in range(units - 1))))
            channels = width
        self.activation = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W) -> (B, 16, H, W)
        x = self.stages(x)  # (B, 64 widen, H / 4, W / 4), sizes rounded up
        x = self.activation(x).mean(dim=(2, 3))  # (B, 64 widen)
        return self.classifier(x)  # (B, num_outputs)
