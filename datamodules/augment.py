"""Augmentations of a whole batch at once: (B, C, H, W) floats in 0..1 in, the same shape out.

Every image draws its own numbers, from torch's global generator of the batch's device. On the
command line they are a list of names with optional amounts: `--augment crop:4,flip,rotate:15`.
The list is parsed to functions, `Augmentation`s, that also get a `Moment`, on which `altflip` and `grow` depend.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from datamodules import pixel_ops as ops
from datamodules.auto_augment import BINS, rand_augment, trivial_augment


class Moment(NamedTuple):
    """Which images these are, and when they come."""

    indices: Tensor  # their numbers in the data set, (B,)
    epoch: int  # from 0
    epochs: int  # in the run; below 1 if it does not end after a number of epochs


TRIES = 10  # rectangles that are drawn for an image, one of which has to fit in

Augmentation = Callable[[Tensor, Moment], Tensor]


def flip(images: Tensor) -> Tensor:
    """Mirrors half of the images left to right."""
    return torch.where(_coin(images), images.flip(-1), images)


def altflip(images: Tensor, moment: Moment) -> Tensor:
    """Mirrors every image in every other epoch, half of them in even ones.

    Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU": two epochs see both sides of each image.
    """
    half = moment.indices * 2654435761 >> 16  # Knuth's multiplicative hash: the order of the files must not matter
    return torch.where((half + moment.epoch).bitwise_and(1).bool().view(-1, 1, 1, 1), images.flip(-1), images)


def grow(images: Tensor, side: float, moment: Moment) -> Tensor:
    """Shrinks images, to `side` pixels at first, then less and less; in the last quarter of the run they are whole.

    Small images cost less, and early epochs need no detail: "progressive learning" in Tan and Le 2021,
    "EfficientNetV2". Only for networks that take images of any size.
    """
    if moment.epochs < 1:
        raise InputError("augment grow: needs to know the run's end; set max_epochs")
    full = images.shape[-1]
    growing = max(1, min(0.75 * moment.epochs, moment.epochs - 1))  # epochs
    size = side + (full - side) * min(1, moment.epoch / growing)
    size = min(full, max(4, 4 * round(size / 4)))  # only a few sizes, since libraries prepare kernels for each
    return images if size == full else F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def vflip(images: Tensor) -> Tensor:
    """Mirrors half of the images top to bottom."""
    return torch.where(_coin(images), images.flip(-2), images)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turns each image by an angle from -degrees..degrees about its centre; uncovered corners are black."""
    return ops.rotate(images, degrees * _uniform(images))


def rotate90(images: Tensor) -> Tensor:
    """Turns each image, which must be square, by 0, 90, 180 or 270 degrees with equal probability."""
    turns = torch.randint(4, (len(images), 1, 1, 1), device=images.device)
    for quarter in (1, 2, 3):
        images = torch.where(turns == quarter, images.rot90(quarter, (-2, -1)), images)
    return images


def zoom(images: Tensor, share: float) -> Tensor:
    """Enlarges or shrinks each image by a factor from 1-share..1+share about its centre."""
    scale = 1 / (1 + share * _uniform(images))  # (B,)
    zero = torch.zeros_like(scale)
    return ops.warp(images, (scale, zero, zero), (zero, scale, zero))


def elastic(images: Tensor, pixels: float) -> Tensor:
    """Bends each image: a smooth random field moves its points by `pixels` along each axis (root mean square).

    Simard et al. 2003, "Best practices for convolutional neural networks applied to visual document analysis", where
    this is 1.4 pixels. Uncovered areas are black.
    """
    batch, _, height, width = images.shape
    rows, columns = _smooth(height, images.device), _smooth(width, images.device)
    field = rows @ torch.randn(2, batch, rows.shape[1], columns.shape[1], device=images.device) @ columns.T
    x, y = pixels * field  # (B, H, W) each
    # No tensor of both factors: it would have to come from the host, and the GPU would wait for it.
    return ops.sample(images, _whole(images) + torch.stack([x * (2 / width), y * (2 / height)], dim=3))


def crop(images: Tensor, padding: float) -> Tensor:
    """Pads each image by `padding` black pixels on every side, and cuts out the old size at a random place."""
    return _shift(F.pad(images, [int(padding)] * 4), int(padding))


def resized_crop(images: Tensor, share: float) -> Tensor:
    """Cuts out a rectangle of at least this share of the area, and enlarges it to the old size.

    Szegedy et al. 2015, "Going deeper with convolutions": 8 to 100 % of the area, with a ratio of the sides from 3/4 to
    4/3. Of ten rectangles that are drawn for an image, the first that fits in is taken; if none does, all of the image.
    """
    height, width = images.shape[-2:]
    area, aspect = torch.rand(2, TRIES, len(images), device=images.device)
    area, aspect = (share + (1 - share) * area) * height * width, (4 / 3) ** (2 * aspect - 1)
    rows, columns = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()  # (TRIES, B)
    fits = (rows <= height) & (columns <= width)
    first = fits.int().argmax(0, keepdim=True)  # (1, B)
    rows = torch.where(fits, rows, height).gather(0, first)[0]
    columns = torch.where(fits, columns, width).gather(0, first)[0]
    y, x = torch.rand(2, len(images), device=images.device)
    top, left = (y * (height - rows + 1)).floor(), (x * (width - columns + 1)).floor()
    return ops.resized_crop(images, top, left, rows, columns)


def shift(images: Tensor, pixels: float) -> Tensor:
    """Moves each image by up to `pixels` along both axes; uncovered edges show its mirror image."""
    return _shift(F.pad(images, [int(pixels)] * 4, mode="reflect"), int(pixels))


def _shift(padded: Tensor, padding: int) -> Tensor:
    """Cuts a window at a random place from each of the images, (B, C, H + 2p, W + 2p) -> (B, C, H, W)."""
    height, width = padded.shape[2] - 2 * padding, padded.shape[3] - 2 * padding
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), no copy
    top, left = torch.randint(2 * padding + 1, (2, len(padded)), device=padded.device)
    return windows[torch.arange(len(padded), device=padded.device), :, top, left]


def noise(images: Tensor, std: float) -> Tensor:
    """Adds Gaussian noise of standard deviation `std` to every value, and clips to 0..1."""
    return (images + std * torch.randn(images.shape, device=images.device)).clamp_(0, 1)


def brightness(images: Tensor, share: float) -> Tensor:
    """Multiplies each image by a factor from 1-share..1+share, and clips to 0..1."""
    return ops.adjust_brightness(images, _factor(images, share))


def contrast(images: Tensor, share: float) -> Tensor:
    """Multiplies each image's distance from its mean grey by a factor from 1-share..1+share, and clips to 0..1."""
    return ops.adjust_contrast(images, _factor(images, share))


def saturation(images: Tensor, share: float) -> Tensor:
    """Multiplies the distance of each pixel from its grey by a factor from 1-share..1+share, and clips to 0..1."""
    return ops.adjust_saturation(images, _factor(images, share))


def cutout(images: Tensor, side: float) -> Tensor:
    """Blackens a square of `side` pixels around a random centre, cut off at the border.

    DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout".
    """
    batch, _, height, width = images.shape
    side = int(side)
    top = torch.randint(height, (batch, 1, 1, 1), device=images.device) - side // 2
    left = torch.randint(width, (batch, 1, 1, 1), device=images.device) - side // 2
    return images.masked_fill(_rectangle(images, top, left, side, side), 0)


def erase(images: Tensor, probability: float) -> Tensor:
    """Fills a random rectangle with noise in this share of the images.

    Zhong et al. 2020, "Random erasing data augmentation": 2 to 40 % of the area, with an aspect ratio of 0.3 to 3.3.
    No side is longer than that of the image.
    """
    batch, _, height, width = images.shape
    chance, area, aspect, y, x = torch.rand(5, batch, 1, 1, 1, device=images.device)
    area, aspect = 0.02 + 0.38 * area, 0.3 ** (2 * aspect - 1)
    rows = (height * (area * aspect).sqrt()).round().clamp(1, height)
    columns = (width * (area / aspect).sqrt()).round().clamp(1, width)
    top, left = (y * (height - rows + 1)).floor(), (x * (width - columns + 1)).floor()
    hit = _rectangle(images, top, left, rows, columns) & (chance < probability)
    return torch.where(hit, torch.rand(images.shape, device=images.device), images)


# Each name with its default amount, which `name:amount` replaces; None: it takes no amount.
AUGMENTATIONS: dict[str, tuple[Callable[..., Tensor], float | None]] = {
    "flip": (flip, None),
    "altflip": (altflip, None),
    "vflip": (vflip, None),
    "rotate": (rotate, 10),
    "rotate90": (rotate90, None),
    "zoom": (zoom, 0.1),
    "elastic": (elastic, 1),
    "crop": (crop, 4),
    "resized_crop": (resized_crop, 0.08),
    "shift": (shift, 2),
    "noise": (noise, 0.05),
    "brightness": (brightness, 0.1),
    "contrast": (contrast, 0.1),
    "saturation": (saturation, 0.1),
    "cutout": (cutout, 8),
    "erase": (erase, 0.5),
    "trivialaugment": (trivial_augment, None),
    "randaugment": (rand_augment, 9),
    "grow": (grow, 20),
}


# Those that move pixels, in all channels of an image alike; the others change values.
MOVING = ("flip", "altflip", "vflip", "rotate", "rotate90", "zoom", "elastic", "crop", "resized_crop", "shift", "grow")
NOT_FOR_MASKS = ("trivialaugment", "randaugment", "grow")  # which move and change pixels at once, or their number
IN_PIXELS = ("elastic", "crop", "shift", "cutout", "grow")  # whose amounts are pixels


def parse_augmentations(text: str) -> list[Augmentation]:
    """Reads "crop:4,flip" as the list of functions to apply, in that order.

    Raises:
        InputError: a name is unknown, or an amount is not a positive number or not allowed.
    """
    return [_as_function(*_parse_one(part)) for part in _parts(text)]


def moves_pixels(text: str) -> list[bool]:
    """Whether each augmentation of the list moves pixels, and so has to move those of a mask alike."""
    return [_parse_one(part)[0] in MOVING for part in _parts(text)]


def check_sizes(text: str, height: int, width: int) -> None:
    """Raises InputError if an augmentation is impossible for images of this size, or would leave nothing of them."""
    for part in _parts(text):
        name, amount = _parse_one(part)
        small_first = name == "grow"  # and images that are no larger stay whole
        if name in IN_PIXELS and not small_first and amount is not None and amount >= min(height, width):
            raise InputError(f"augment {part!r}: must be below {min(height, width)}, the pixels of an image's side")
        if name == "rotate90" and height != width:
            raise InputError(f"augment {part!r}: takes square images, not {height} x {width}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parse_one(part: str) -> tuple[str, float | None]:
    """The augmentation's name, and its amount if it takes one."""
    name, colon, amount = part.partition(":")
    _, usual = choose("augmentation", name, AUGMENTATIONS, flag="augment")
    if usual is None:
        if colon:
            raise InputError(f"augment {part!r}: {name} takes no amount")
        return name, None
    try:
        value = float(amount) if colon else usual
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"augment {part!r}: the amount must be a positive number, as in {name}:{usual}")
    if name in ("crop", "shift", "cutout", "grow") and value != int(value):
        raise InputError(f"augment {part!r}: {name} takes a whole number of pixels")
    if name == "erase" and value > 1:
        raise InputError(f"augment {part!r}: erase takes a probability")
    if name == "randaugment" and value > BINS:
        raise InputError(f"augment {part!r}: randaugment takes a magnitude of at most {BINS}")
    if name in ("zoom", "brightness", "contrast", "saturation", "resized_crop") and value >= 1:
        raise InputError(f"augment {part!r}: {name} takes a share below 1")
    return name, value


def _as_function(name: str, amount: float | None) -> Augmentation:
    function, _ = AUGMENTATIONS[name]
    if function is altflip:
        return altflip
    if amount is None:
        return lambda images, moment: function(images)
    if function is grow:
        return lambda images, moment: grow(images, amount, moment)
    return lambda images, moment: function(images, amount)


def _rectangle(images: Tensor, top: Tensor, left: Tensor, rows: Tensor | int, columns: Tensor | int) -> Tensor:
    """Where rectangles of these positions and sizes, (B, 1, 1, 1) each, cover the images: booleans, (B, 1, H, W)."""
    row = torch.arange(images.shape[2], device=images.device)[:, None]  # (H, 1)
    column = torch.arange(images.shape[3], device=images.device)  # (W,)
    return (row >= top) & (row < top + rows) & (column >= left) & (column < left + columns)


def _coin(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5


def _uniform(images: Tensor) -> Tensor:
    """One number from -1..1 per image, (B,)."""
    return 2 * torch.rand(len(images), device=images.device) - 1


def _factor(images: Tensor, share: float) -> Tensor:
    """One number from 1-share..1+share per image, (B,)."""
    return 1 + share * _uniform(images)


def _smooth(length: int, device: torch.device) -> Tensor:
    """The matrix that turns random numbers into a smooth curve of unit variance, (length, numbers).

    The numbers are 4 pixels apart, and each point mixes those near it by a Gaussian of that width, as in the paper.
    """
    apart = 4.0
    points, numbers = torch.arange(length, device=device), torch.arange(-3, length / apart + 3, device=device)
    weights = (-0.5 * (points[:, None] / apart - numbers) ** 2).exp()  # (length, numbers)
    return F.normalize(weights)


def _whole(images: Tensor) -> Tensor:
    """The positions of the pixels themselves, (1, H, W, 2): x and y in units of half the image, from its centre."""
    return F.affine_grid(torch.eye(2, 3, device=images.device)[None], [1, *images.shape[1:]], align_corners=False)
