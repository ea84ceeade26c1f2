"""Augmentations of a whole batch at once: (B, C, H, W) floats in 0..1 in, the same shape out.

Every image draws its own numbers, from torch's global generator of the batch's device. On the
command line they are a list of names with an optional amount: `--augment crop:4,flip,rotate:15`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Augmentation = Callable[[Tensor], Tensor]


def flip(images: Tensor) -> Tensor:
    """Mirrors half of the images left to right."""
    return torch.where(_coin(images), images.flip(-1), images)


def vflip(images: Tensor) -> Tensor:
    """Mirrors half of the images top to bottom."""
    return torch.where(_coin(images), images.flip(-2), images)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turns each image by an angle from -degrees..degrees about its centre; what comes in is black."""
    angle = math.radians(degrees) * _uniform(images)  # (B,)
    return _warp(images, angle.cos(), angle.sin())


def rotate90(images: Tensor) -> Tensor:
    """Turns each image by 90, 180 or 270 degrees, or leaves it, with equal chances. Square images."""
    turns = torch.randint(4, (len(images), 1, 1, 1), device=images.device)
    for quarter in (1, 2, 3):
        images = torch.where(turns == quarter, images.rot90(quarter, (-2, -1)), images)
    return images


def zoom(images: Tensor, share: float) -> Tensor:
    """Enlarges or shrinks each image by a factor from 1-share..1+share about its centre."""
    factor = 1 + share * _uniform(images)  # (B,)
    return _warp(images, 1 / factor, torch.zeros_like(factor))


def crop(images: Tensor, padding: float) -> Tensor:
    """Cuts an image of the old size at a random place from one padded by `padding` black pixels a side."""
    padding = int(padding)
    batch, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4)  # (B, C, H + 2p, W + 2p)
    top, left = torch.randint(2 * padding + 1, (2, batch, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)  # (B, H)
    columns = left + torch.arange(width, device=images.device)  # (B, W)
    image = torch.arange(batch, device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return cut.permute(0, 3, 1, 2)


def noise(images: Tensor, std: float) -> Tensor:
    """Adds Gaussian noise of standard deviation `std` to every value, and stays within 0..1."""
    return (images + std * torch.randn_like(images)).clamp_(0, 1)


def cutout(images: Tensor, side: float) -> Tensor:
    """Blackens a square of `side` pixels around a random centre; at the border it is cut off.

    DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout".
    """
    batch, _, height, width = images.shape
    side = int(side)
    top = torch.randint(height, (batch, 1, 1, 1), device=images.device) - side // 2
    left = torch.randint(width, (batch, 1, 1, 1), device=images.device) - side // 2
    row = torch.arange(height, device=images.device)[:, None]  # (H, 1)
    column = torch.arange(width, device=images.device)  # (W,)
    hole = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)  # (B, 1, H, W)
    return images.masked_fill(hole, 0)


# Each name with its usual amount, which `name:amount` replaces; None: it takes no amount.
AUGMENTATIONS: dict[str, tuple[Callable[..., Tensor], float | None]] = {
    "flip": (flip, None),
    "vflip": (vflip, None),
    "rotate": (rotate, 10),
    "rotate90": (rotate90, None),
    "zoom": (zoom, 0.1),
    "crop": (crop, 4),
    "noise": (noise, 0.05),
    "cutout": (cutout, 8),
}


def parse_augmentations(text: str) -> list[Augmentation]:
    """Reads "crop:4,flip" as the list of functions to apply, in that order.

    Raises:
        ValueError: an unknown name, or an amount that is no positive number or not wanted.
    """
    return [_parse_one(part.strip()) for part in text.split(",") if part.strip()]


def _parse_one(part: str) -> Augmentation:
    name, colon, amount = part.partition(":")
    if name not in AUGMENTATIONS:
        raise ValueError(f"augment {part!r}: no such augmentation; there are {', '.join(AUGMENTATIONS)}")
    function, usual = AUGMENTATIONS[name]
    if usual is None:
        if colon:
            raise ValueError(f"augment {part!r}: {name} takes no amount")
        return function
    try:
        value = float(amount) if colon else usual
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"augment {part!r}: the amount must be a positive number, as in {name}:{usual}")
    if name in ("crop", "cutout") and value != int(value):
        raise ValueError(f"augment {part!r}: {name} takes a whole number of pixels")
    if name == "zoom" and value >= 1:
        raise ValueError(f"augment {part!r}: zoom takes a share below 1")
    return lambda images: function(images, value)


def _coin(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5


def _uniform(images: Tensor) -> Tensor:
    """One number from -1..1 per image, (B,)."""
    return 2 * torch.rand(len(images), device=images.device) - 1


def _warp(images: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Samples each image at ((cos, -sin), (sin, cos)) times its own coordinates, bilinearly, black outside."""
    zero = torch.zeros_like(cos)
    height, width = images.shape[-2:]
    # affine_grid works in units of half the image, so a rotation of a non-square image needs the ratio.
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)  # (B, 6)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
