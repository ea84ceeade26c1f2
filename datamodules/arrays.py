"""An image data set on disk: four plain arrays in one folder, memory-mapped when read.

    {train,test}_images.npy    uint8, (N, H, W) grey or (N, H, W, 3) RGB
    {train,test}_labels.npy    uint8, or uint16 for more than 256 classes, (N,)

No pickle is read.
"""

import errno
import mmap
import os
import shutil
import tempfile
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib.format import write_array_header_1_0

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
        array = _map(path)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: missing; complete the folder, or remove it to have it made anew") from None
    except (ValueError, EOFError, OSError, tokenize.TokenError) as error:  # no or a broken header, a pickle, cut off
        raise InputError(f"{path}: not a readable array ({str(error).splitlines()[0]})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: not one array but an archive of several")
    return array


def _map(path: Path) -> np.ndarray:
    try:  # copy-on-write: torch wants a writable array, and the file must stay as it is
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return np.load(path, mmap_mode="r", allow_pickle=False)  # for copies of it all, memory would not suffice


def forget_pages(array: np.ndarray) -> None:
    """Gives back the memory that a memory-mapped array takes in this process; what is read again is mapped again."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


@contextmanager
def image_file(path: Path, image_shape: Sequence[int]) -> Iterator[Callable[[bytes], None]]:
    """Appends images to a new array on disk, one by one: none of them stays in memory.

    Args:
        image_shape: of each, uint8.
    """
    count = 0

    def append(image: bytes) -> None:
        nonlocal count
        file.write(image)
        count += 1

    with path.open("wb") as file:
        _write_header(file, (count, *image_shape))
        yield append
        file.seek(0)  # NumPy leaves room in the header for any number of images
        _write_header(file, (count, *image_shape))
        _settle(file)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes the array, and waits until it is on the disk."""
    with path.open("wb") as file:
        np.save(file, array)
        _settle(file)


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write to: at the end it is renamed to `folder`, and after an error removed.

    The name of what a killed process leaves begins with a dot, and ends with letters that nobody looks for.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes it 0o700; other users may read data sets
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_arrays(folder: Path, arrays: ImageArrays) -> None:
    """Writes the four arrays, whole or not at all: renaming their folder makes them visible at once."""
    with whole_folder(folder) as unfinished:
        for name, array in zip(FILES, arrays, strict=True):
            write_array(unfinished / name, array)
