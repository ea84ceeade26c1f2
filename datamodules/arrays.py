"""An image data set on disk: four plain arrays in one folder, memory-mapped when read.

    {train,test}_images.npy    uint8, (N, H, W) grey or (N, H, W, 3) RGB
    {train,test}_labels.npy    uint8, or uint16 for more than 256 classes, (N,)

No pickle is read.
"""

import os
import shutil
import tempfile
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basics.errors import InputError, MissingFileError


class ImageArrays(NamedTuple):
    """Training and test images with their labels."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


FILES = tuple(f"{field}.npy" for field in ImageArrays._fields)


def read_arrays(folder: Path, image_shape: tuple[int, ...], num_classes: int) -> ImageArrays:
    """Memory-maps the four arrays in `folder`.

    Raises:
        MissingFileError: one of the files is missing.
        InputError: a file is not an array or has the wrong type or shape, labels are outside
            0..num_classes-1, or images and labels differ in number. The message names the file.
    """
    arrays = ImageArrays(*(_open(folder / name) for name in FILES))
    for split in ("train", "test"):
        images, labels = getattr(arrays, f"{split}_images"), getattr(arrays, f"{split}_labels")
        images_file, labels_file = folder / f"{split}_images.npy", folder / f"{split}_labels.npy"
        if images.dtype != np.uint8 or images.shape[1:] != image_shape:
            wanted = ", ".join(["N", *map(str, image_shape)])
            raise InputError(f"{images_file}: need uint8 ({wanted}), got {images.dtype} {images.shape}")
        if labels.dtype not in (np.uint8, np.uint16) or labels.ndim != 1:
            raise InputError(f"{labels_file}: need uint8 or uint16 (N,), got {labels.dtype} {labels.shape}")
        if len(images) != len(labels):
            raise InputError(f"{labels_file}: {len(labels)} labels for {len(images)} images in {images_file.name}")
        if len(images) == 0:
            raise InputError(f"{images_file}: no images")
        if labels.max() >= num_classes:
            row = int(labels.argmax())
            raise InputError(f"{labels_file}: label {labels[row]} in row {row}; labels go from 0 to {num_classes - 1}")
    return arrays


def _open(path: Path) -> np.ndarray:
    try:
        # Copy-on-write: torch wants a writable array, and the file must stay as it is.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: missing; complete the folder, or remove it to have it made anew") from None
    except (ValueError, EOFError, OSError, tokenize.TokenError) as error:  # no or a broken header, a pickle, cut off
        raise InputError(f"{path}: not a readable array ({str(error).splitlines()[0]})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: not one array but an archive of several")
    return array


def write_arrays(folder: Path, arrays: ImageArrays, texts: Mapping[str, str] | None = None) -> None:
    """Writes the four arrays, whole or not at all: renaming their folder makes them visible at once.

    Args:
        texts: the content of further files, by name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, text in (texts or {}).items():
            (unfinished / name).write_text(text)
        for name, array in zip(FILES, arrays, strict=True):
            with (unfinished / name).open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        unfinished.chmod(0o755)  # mkdtemp makes it 0o700; other users may read data sets
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
