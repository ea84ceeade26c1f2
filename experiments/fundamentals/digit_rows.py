"""Handwritten digits as rows of pixels, for studies that compute with raw tensors."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basics.errors import InputError
from datamodules import MNIST

SIDE = 28


class Split(NamedTuple):
    """Part of the images, as rows of pixels."""

    rows: Tensor  # in 0..1, float32 as they are read, (N, 784)
    labels: Tensor  # (N,)


def read_digits(data_dir: str, seed: int, sample: bool) -> dict[str, Split]:
    """MNIST, or the embedded digits: the splits train, val and test, of which the seed draws the first two."""
    data = MNIST(data_dir, seed=seed, sample=sample)
    data.prepare_data()
    data.setup()
    images, labels, test_images, test_labels = data.arrays
    return {
        "train": _split(images[data.train_indices], labels[data.train_indices]),
        "val": _split(images[data.val_indices], labels[data.val_indices]),
        "test": _split(test_images, test_labels),
    }


def as_float64(splits: dict[str, Split]) -> dict[str, Split]:
    return {name: Split(split.rows.double(), split.labels) for name, split in splits.items()}


def check_batch_size(batch_size: int, labels: Tensor) -> None:
    """Raises InputError unless a batch has from one to all of the training images, whose labels these are."""
    if batch_size < 1:  # 0 has a meaning in other scripts
        raise InputError(f"batch_size {batch_size}: must be at least 1")
    if batch_size > len(labels):
        raise InputError(f"batch_size {batch_size}: there are only {len(labels):,} training images")


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(torch.from_numpy(images).flatten(1).float() / 255, torch.from_numpy(labels).long())
