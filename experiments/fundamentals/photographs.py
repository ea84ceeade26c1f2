"""A photograph to work on: a file, or the one of a temple that scikit-learn ships."""

from pathlib import Path

import torch
from torch import Tensor

from basics.errors import InputError
from datamodules.decode import decode_files
from datamodules.samples import sklearn_data


def read_image(path: Path, size: int) -> Tensor:
    """The central square of an image file, (3, size, size), floats in 0..1."""
    if size < 8:
        raise InputError(f"image_size {size}: must be at least 8 pixels")
    images, bad, _ = decode_files([path], size)
    if bad:
        raise InputError(f"{path}: {bad[0]}")
    return torch.from_numpy(images[0]).permute(2, 0, 1) / 255


def sample_image() -> Path:
    return sklearn_data().parent / "images" / "china.jpg"
