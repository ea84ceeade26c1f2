"""A folder of images and masks: which belong together, and what is in them.

    plots/images/*.jpg      of any kind that own_images.py reads; folders in it are read too
    plots/masks/*.png       a mask for each image, of the same name, but for its ending, and of the same size
    plots/classes.txt       the name of a class in each line; in a mask, 0 stands for the first

A mask is a grey or palette image, whose values are the numbers of classes. Without classes.txt there are two classes,
background and object; of two classes, the second may be 255 as well as 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from basics.errors import InputError, MissingFileError, reading
from datamodules.csv_files import read_text
from datamodules.listing import files_below
from datamodules.open_image import FORMATS, open_upright, upright
from datamodules.threads import in_threads, with_bar

CLASSES = "classes.txt"
OBJECT = ("background", "object")  # the classes, if nothing names any
GREY = ("L", "P", "1")  # Pillow's names for what holds one number a pixel
WHITE, UNKNOWN = 255, 255  # the former in a mask's file, the latter in the table of its values
WHOLE = 65_535  # pixels of a side that a file keeps while it is decoded: all that a JPEG may have


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Pairs(NamedTuple):
    """Pairs by their common name, and masks that have no image."""

    found: dict[str, Pair]
    unused: list[Path]


def list_pairs(root: Path) -> Pairs:
    """The images below `root`/images with their masks; none is opened.

    Raises:
        InputError: a folder is missing or empty, an image has no mask, or two have the same name.
    """
    images, masks = (_by_name(root / folder) for folder in ("images", "masks"))
    lacking = [path for name, path in images.items() if name not in masks]
    if lacking:
        first = lacking[0]
        more = f", as {len(lacking) - 1:,} others have none" if len(lacking) > 1 else ""
        raise InputError(f"{first}: has no mask {root / 'masks' / first.relative_to(root / 'images').stem}.png{more}")
    found = {name: Pair(path, masks[name]) for name, path in images.items()}
    return Pairs(found, [path for name, path in masks.items() if name not in images])


def _by_name(folder: Path) -> dict[str, Path]:
    """The files in a folder, by their names relative to it and without endings, in the order of these."""
    with reading(folder):
        files = sorted(files_below(folder)) if folder.is_dir() else []
    if not files:
        raise MissingFileError(f"{folder}: no files there; images are expected in images/, and masks in masks/")
    found: dict[str, Path] = {}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{path}: has the same name as {found[name]}, but for the ending")
        found[name] = path
    return found


def read_classes(root: Path, given: Sequence[str] | None) -> tuple[str, ...]:
    """The classes that are `given`, or else in the folder's file, or else two.

    Raises:
        InputError: there are fewer than two or more than 255, or two with one name.
    """
    path = root / CLASSES
    source = "classes" if given else path
    names = [str(name) for name in given or ()]
    if not given:
        with reading(path):
            names = read_text(path)[0].splitlines() if path.exists() else list(OBJECT)
    names = [name.strip() for name in names if name.strip()]
    if not 2 <= len(names) <= UNKNOWN or len(set(names)) < len(names):
        raise InputError(f"{source}: needs the names of 2 to {UNKNOWN} classes, each once, not {', '.join(names)}")
    return tuple(names)


def read_pairs(pairs: Sequence[Pair], size: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8, (N, size, size, 3), and masks, uint8, (N, size, size), of the numbers of classes.

    Both are stretched to squares: images by a bicubic filter, masks by taking the nearest pixel.

    Raises:
        InputError: a file cannot be read, a mask has another size than its image, or a value that is no class.
    """
    images, masks = np.empty((len(pairs), size, size, 3), np.uint8), np.empty((len(pairs), size, size), np.uint8)
    classes = _table(num_classes)

    def read(row: int) -> None:
        image = open_whole(pairs[row].image)
        images[row] = stretch(image, size)
        masks[row] = read_mask(pairs[row].mask, image.size, size, classes)

    results = list(with_bar(in_threads(read, range(len(pairs))), len(pairs)))
    bad = {pairs[row].image: reason for row, reason in enumerate(results) if reason}
    if bad:
        (first, reason), *others = bad.items()
        more = f"; {len(others):,} others cannot be used either" if others else ""
        raise InputError(f"{first}: {reason}{more}")
    return images, masks


def open_whole(path: Path) -> Image.Image:
    """The file's first frame, upright, as 8-bit RGB, of its own size."""
    return open_upright(path, WHOLE)[0]


def stretch(image: Image.Image, size: int) -> np.ndarray:
    """The image as a network sees it, uint8, (size, size, 3)."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def read_mask(path: Path, image_size: tuple[int, int], size: int, classes: np.ndarray) -> np.ndarray:
    """The numbers of the classes, uint8, (size, size).

    Args:
        image_size: width and height of the image that the mask belongs to.
        classes: the class of each value from 0 to 255.
    """
    with Image.open(path, formats=FORMATS) as mask:
        if mask.mode not in GREY:
            raise InputError(
                f"its mask is {mask.mode}; it has to be grey, or of a palette, with a number for each class"
            )
        pixels = upright(mask.convert("L") if mask.mode == "1" else mask, mask)
        if pixels.size != image_size:
            raise InputError(f"its mask has {_by(pixels.size)} pixels, the image {_by(image_size)}")
        values = np.asarray(pixels)
        unknown = np.flatnonzero((np.bincount(values.ravel(), minlength=256) > 0) & (classes == UNKNOWN))
        if len(unknown):
            highest = classes[classes < UNKNOWN].max()
            raise InputError(f"its mask has the value {unknown[0]}; the classes are numbered from 0 to {highest}")
        small = Image.fromarray(values).resize((size, size), Image.Resampling.NEAREST)
    return classes[np.asarray(small)]


def _table(num_classes: int) -> np.ndarray:
    """The class of each value that a mask may have, uint8, (256,); UNKNOWN where there is none."""
    classes = np.full(256, UNKNOWN, np.uint8)
    classes[:num_classes] = np.arange(num_classes)
    if num_classes == 2:
        classes[WHITE] = 1
    return classes


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
