"""VGG, as in Simonyan and Zisserman 2014, "Very deep convolutional networks", for small images.

Differences from the paper: BatchNorm (Ioffe and Szegedy 2015) after each convolution; one linear layer in
place of three, without dropout; the mean over the pixels that are left, so that any size works.

The five poolings round sizes up. Images of 32 pixels end as one pixel either way; those of 28 would, rounded down,
go 28, 14, 7, 3, 1 and then to nothing, but go 28, 14, 7, 4, 2, 1 here.
Convolutions start as in He et al. 2015, "Delving deep into rectifiers"; the paper trains shallow nets first.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from lit_modules.inits import he_normal

__all__ = ["vgg11", "vgg13", "vgg16", "vgg19"]

WIDTHS = (64, 128, 256, 512, 512)


def stage(channels: int, width: int, depth: int) -> nn.Sequential:
    """`depth` convolutions of 3x3, then a pooling that halves the image."""
    layers: list[nn.Module] = []
    for fan_in in [channels] + [width] * (depth - 1):
        # A convolution before BatchNorm needs no bias, since the mean cancels it.
        convolution = nn.Conv2d(fan_in, width, kernel_size=3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, the mean over pixels, one linear layer.

    Args:
        depths: convolutions in each of the five stages.
    """

    head = "classifier"

    def __init__(self, input_shape: Sequence[int], num_outputs: int, depths: Sequence[int]) -> None:
        super().__init__()
        inputs = (input_shape[0], *WIDTHS)
        self.stages = nn.Sequential(*map(stage, inputs, WIDTHS, depths))
        self.classifier = nn.Linear(WIDTHS[-1], num_outputs)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(x)  # (B, C, H, W) -> (B, 512, H / 32, W / 32), sizes rounded up
        x = x.mean(dim=(2, 3))  # (B, 512)
        return self.classifier(x)  # (B, num_outputs)


def vgg11(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """The paper's net A: 8 convolutions, 9.2 M parameters."""
    return VGG(input_shape, num_outputs, (1, 1, 2, 2, 2))


def vgg13(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """The paper's net B: 10 convolutions, 9.4 M parameters."""
    return VGG(input_shape, num_outputs, (2, 2, 2, 2, 2))


def vgg16(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """The paper's net D: 13 convolutions, 14.7 M parameters."""
    return VGG(input_shape, num_outputs, (2, 2, 3, 3, 3))


def vgg19(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """The paper's net E: 16 convolutions, 20.0 M parameters."""
    return VGG(input_shape, num_outputs, (2, 2, 4, 4, 4))
