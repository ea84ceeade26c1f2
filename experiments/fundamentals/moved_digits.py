"""Digits with room around them, moved by some pixels, or with their pixels shuffled."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import MNIST
from datamodules.arrays import ImageArrays
from lit_modules import Classifier
from lit_modules.classifier import num_correct

SIDE = 28
BORDER = 6  # empty pixels on each side; a digit can be moved by as many and stays whole
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows and columns: right, left, down, up


class SmallDigits(MNIST):
    """MNIST or its sample with the digits made smaller, 16 x 16 pixels in the middle of 28 x 28.

    Args:
        permuted: put the pixels of each image into the one order that `pixel_order` gives.
    """

    def __init__(self, data_dir: str, batch_size: int, seed: int, sample: bool, permuted: bool = False) -> None:
        super().__init__(data_dir, batch_size, seed, sample=sample)
        self.permuted = permuted

    def _make_sample(self) -> ImageArrays:
        return self._change(super()._make_sample())

    def _read(self) -> ImageArrays:
        return self._change(super()._read())

    def _change(self, arrays: ImageArrays) -> ImageArrays:
        train, test = (made_smaller(images) for images in (arrays.train_images, arrays.test_images))
        if self.permuted:
            train, test = permute(train), permute(test)
        return ImageArrays(train, arrays.train_labels, test, arrays.test_labels)


def made_smaller(images: np.ndarray) -> np.ndarray:
    """Images, uint8 (N, 28, 28), at 16 x 16 with a border of zeros, uint8 (N, 28, 28)."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float()  # (N, 1, 28, 28)
    small = F.interpolate(pixels, size=SIDE - 2 * BORDER, mode="bilinear", antialias=True)  # (N, 1, 16, 16)
    return F.pad(small.round().to(torch.uint8), (BORDER,) * 4).squeeze(1).numpy()


def move(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Images, (N, 28, 28), moved down and to the right by at most `BORDER` pixels; negative: up and to the left."""
    return np.roll(images, (rows, columns), axis=(1, 2))  # what comes in at the other side is the empty border


def pixel_order() -> np.ndarray:
    """The order of the pixels, (784,), drawn once and for all."""
    return np.random.default_rng(0).permutation(SIDE * SIDE)


def permute(images: np.ndarray) -> np.ndarray:
    """Images, (N, 28, 28), with their pixels in the order of `pixel_order`."""
    return images.reshape(len(images), -1)[:, pixel_order()].reshape(images.shape)


@torch.no_grad()
def accuracy(model: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images, uint8 (N, 28, 28), that the model gets right."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float() / 255  # (N, 1, 28, 28)
    logits: Tensor = torch.cat([model.eval()(batch) for batch in pixels.split(512)])  # (N, 10)
    return float(num_correct(logits, torch.from_numpy(labels).long())) / len(labels)


def accuracies(model: Classifier, images: np.ndarray, labels: np.ndarray, permuted: bool) -> list[float]:
    """The accuracy on images moved by 0 to `BORDER` pixels, each a mean over the four directions.

    Args:
        images: uint8, (N, 28, 28), in their natural order; they are moved first and permuted then.
    """
    of_distance = []
    for distance in range(BORDER + 1):
        moved = [move(images, distance * rows, distance * columns) for rows, columns in DIRECTIONS]
        shown = [permute(each) if permuted else each for each in moved]
        of_distance.append(float(np.mean([accuracy(model, each, labels) for each in shown])))
    return of_distance
