"""What augmentations make of one image, epoch by epoch."""

from collections.abc import Sequence
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.augment import Moment, parse_augmentations


def draws(image: Tensor, augmentation: str, epochs: int) -> Tensor:
    """The image, (C, H, W), as each epoch of a run gets it, (epochs, C, H, W); smaller ones have a white border."""
    (augment,) = parse_augmentations(augmentation)
    first = torch.zeros(1, dtype=torch.long)
    made = [augment(image[None], Moment(first, epoch, epochs)) for epoch in range(epochs)]  # (1, C, h, w) each
    return torch.cat([_framed(one, image.shape[-2:]) for one in made])


def _framed(image: Tensor, size: Sequence[int]) -> Tensor:
    missing = [whole - part for whole, part in zip(size, image.shape[-2:], strict=True)]
    top, left = (floor(pixels / 2) for pixels in missing)
    return F.pad(image, (left, missing[1] - left, top, missing[0] - top), value=1.0)


def changed(image: Tensor, made: Tensor) -> float:
    """The root mean square by which pixels of the image, (C, H, W), differ from those made of it, (N, C, H, W)."""
    return float((made - image).square().mean().sqrt())
