"""Normalisation layers for images, by name. All have a learned scale and shift for each channel.

    batch     over the batch and the image, per channel. Ioffe and Szegedy 2015
    layer     over all channels of one image. Ba et al. 2016; for images, group norm with one group
    instance  over one channel of one image. Ulyanov et al. 2016
    group     over channels in at most 32 groups. Wu and He 2018, who take 32

Only `batch` mixes the images of a batch, and differs between training and evaluation.
"""

import math
from collections.abc import Callable

from torch import nn

__all__ = ["NORMS", "Norm"]

Norm = Callable[[int], nn.Module]  # from the number of channels to the layer


def layer_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)


def instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(32, channels), channels)  # gcd, because groups must be of equal size


NORMS: dict[str, Norm] = {
    "batch": nn.BatchNorm2d,
    "layer": layer_norm,
    "instance": instance_norm,
    "group": group_norm,
}
