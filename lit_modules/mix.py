"""Mixing each image of a batch with another: the last image with the first, and so on.

Both return the mixed images, and the share that each image keeps of its own label; the rest is its partner's.
"""

import torch
from torch import Tensor

LEAST = 0.01  # of alpha: for less, the numbers that Beta is drawn from are too small for float32


def partners(batch: Tensor) -> Tensor:
    """Entry i's partner, of anything with one entry per image."""
    return batch.flip(0)


def mixup(images: Tensor, alpha: float) -> tuple[Tensor, float]:
    """Weighted means of two images, (B, C, H, W); the weight is drawn from Beta(alpha, alpha).

    Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    share = _beta(alpha)
    return share * images + (1 - share) * partners(images), share


def cutmix(images: Tensor, alpha: float) -> tuple[Tensor, float]:
    """A rectangle of each image, (B, C, H, W), is its partner's; the share outside is drawn from Beta(alpha, alpha).

    Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with localizable features".
    The rectangle's centre lies anywhere in the image, and what sticks out is cut off.
    """
    height, width = images.shape[-2:]
    side = (1 - _beta(alpha)) ** 0.5  # of the rectangle, in units of the image's
    spans = []
    for size in (height, width):
        half, centre = int(side * size) // 2, int(torch.randint(size, ()))
        spans.append(slice(max(centre - half, 0), min(centre + half, size)))
    rows, columns = spans
    mixed = images.clone()
    mixed[:, :, rows, columns] = partners(images)[:, :, rows, columns]
    return mixed, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)


def _beta(alpha: float) -> float:
    # Always from the CPU's generator, so that nothing waits for an accelerator.
    return float(torch.distributions.Beta(alpha, alpha).sample())
