"""TrivialAugment and RandAugment: an operation chosen anew for each image, of fourteen.

Mueller and Hutter 2021, "TrivialAugment: tuning-free yet state-of-the-art data augmentation": one operation an image,
of any strength, from the wide ranges of the paper. Cubuk et al. 2020, "RandAugment: practical automated data
augmentation with a reduced search space": two operations one after the other, all of one strength.

Ranges are those of torchvision, which has both for one image at a time. Here the images that share an operation are
changed together. The operations are chosen on the host, where grouping them costs no wait for the device.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from datamodules import pixel_ops as ops

BINS = 30  # the strengths, apart from none
ROUNDS = 2  # of RandAugment, as in torchvision

# Each makes the images, (n, C, H, W), of the amounts, (n,). 0 leaves them as they are, but not with the last two, and
# solarize makes white pixels black even then.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda images, amounts: images,
    "shear_x": ops.shear_x,
    "shear_y": ops.shear_y,
    "translate_x": lambda images, amounts: ops.translate_x(images, amounts.trunc()),
    "translate_y": lambda images, amounts: ops.translate_y(images, amounts.trunc()),
    "rotate": ops.rotate,
    "brightness": lambda images, amounts: ops.adjust_brightness(images, 1 + amounts),
    "saturation": lambda images, amounts: ops.adjust_saturation(images, 1 + amounts),
    "contrast": lambda images, amounts: ops.adjust_contrast(images, 1 + amounts),
    "sharpness": lambda images, amounts: ops.adjust_sharpness(images, 1 + amounts),
    "posterize": lambda images, amounts: ops.posterize(images, 8 - amounts.round()),
    "solarize": lambda images, amounts: ops.solarize(images, 1 - amounts),
    "autocontrast": lambda images, amounts: ops.autocontrast(images),
    "equalize": lambda images, amounts: ops.equalize(images),
}
UNSIGNED = {"identity", "posterize", "solarize", "autocontrast", "equalize"}
COLOURS = ("brightness", "saturation", "contrast", "sharpness")
# The largest amount of each operation; those that are not here have none.
WIDE = {
    **{"shear_x": 0.99, "shear_y": 0.99, "translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0},
    **{**dict.fromkeys(COLOURS, 0.99), "posterize": 6.0, "solarize": 1.0},
}
NARROW = {
    **{"shear_x": 0.3, "shear_y": 0.3, "rotate": 30.0},
    **{**dict.fromkeys(COLOURS, 0.9), "posterize": 4.0, "solarize": 1.0},
}
SHIFT = 150 / 331  # the largest translation of RandAugment, as a share of the side


def trivial_augment(images: Tensor) -> Tensor:
    """Changes each image by one operation, of a strength of its own."""
    levels = torch.randint(BINS + 1, (len(images),), device="cpu") / BINS
    return _changed(images, levels, WIDE)


def rand_augment(images: Tensor, magnitude: float) -> Tensor:
    """Changes each image by two operations, of a strength of `magnitude` out of 30."""
    height, width = images.shape[-2:]
    most = NARROW | {"translate_x": SHIFT * width, "translate_y": SHIFT * height}
    for _ in range(ROUNDS):
        images = _changed(images, torch.full((len(images),), magnitude / BINS, device="cpu"), most)
    return images


def _changed(images: Tensor, levels: Tensor, most: Mapping[str, float]) -> Tensor:
    """Changes each image by an operation that is drawn for it, up or down.

    Args:
        levels: of each image, its share of the largest amount, (B,), on the host.
        most: the largest amounts.
    """
    chosen = torch.randint(len(OPERATIONS), (len(images),), device="cpu")
    signs = 1 - 2 * torch.randint(2, (len(images),), device="cpu")
    parts, places = [], []
    for number, (name, operation) in enumerate(OPERATIONS.items()):
        rows = (chosen == number).nonzero().squeeze(1)
        if len(rows):
            amounts = most.get(name, 0.0) * levels[rows] * (1 if name in UNSIGNED else signs[rows])
            parts.append(operation(images[rows.to(images.device)], amounts.to(images.device)))
            places.append(rows)
    return torch.cat(parts)[torch.cat(places).argsort().to(images.device)]
