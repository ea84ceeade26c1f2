"""A small net of two Inception blocks (Szegedy et al. 2014, "Going deeper with convolutions") for MNIST-like images.

The blocks are GoogLeNet's, in the form of googlenet.py. The plan around them is this project's own: a block at
14 pixels and one at 7, where GoogLeNet has five and two, and widths to suit 28 x 28 grey pixels.
"""

from collections.abc import Sequence

from torch import nn

from basics.errors import InputError
from lit_modules.inits import he_normal
from lit_modules.nets.googlenet import Inception, conv, halve

__all__ = ["inception_mnist"]


def inception_mnist(input_shape: Sequence[int], num_outputs: int, dropout: float = 0.4, maps: int = 32) -> nn.Module:
    """A stem, two Inception blocks, the mean over pixels, dropout, one linear layer. 0.17 M parameters.

    Args:
        dropout: probability of zeroing one of the features.
        maps: of the first convolution; the others are in proportion. 48: 0.38 M parameters.

    Raises:
        InputError: `maps` cannot be divided by 4.
    """
    quarter, rest = divmod(maps, 4)
    if rest or maps < 4:
        raise InputError(f"net_args.maps {maps}: must be a multiple of 4")
    net = nn.Sequential(  # shapes are those of 32 maps
        conv(input_shape[0], maps, 5),  # (B, C, 28, 28) -> (B, 32, 28, 28)
        halve(),  # (B, 32, 14, 14)
        conv(maps, 2 * maps, 3),  # (B, 64, 14, 14)
        Inception(2 * maps, maps, (6 * quarter, 2 * maps), (quarter, 2 * quarter), 2 * quarter),  # (B, 128, 14, 14)
        halve(),  # (B, 128, 7, 7)
        Inception(4 * maps, 2 * maps, (2 * maps, 3 * maps), (2 * quarter, 6 * quarter), 6 * quarter),  # (B, 256, 7, 7)
        nn.AdaptiveAvgPool2d(1),  # (B, 256, 1, 1)
        nn.Flatten(),  # (B, 256)
        nn.Dropout(dropout),
        nn.Linear(8 * maps, num_outputs),
    )
    net.head = "9"  # type: ignore[assignment]  # torch knows of tensors and modules only
    return net.apply(he_normal)
