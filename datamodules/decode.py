"""Image files of any kind as square RGB arrays of one size."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from datamodules.open_image import Change, open_upright
from datamodules.squares import FITS, Square
from datamodules.threads import in_threads, with_bar

ENOUGH = 2  # times the side that is wanted: what a JPEG is decoded to leaves enough for a good resize


class Decoded(NamedTuple):
    """The result of decoding a list of files."""

    images: np.ndarray  # uint8, (N, S, S, 3); the rows of bad files are undefined
    bad: dict[int, str]  # why the file of this row could not be read
    notes: list[str]  # what was changed in the others, a sentence each


class Squared(NamedTuple):
    """A file's image, as it is now and as it was."""

    pixels: np.ndarray  # uint8, (S, S, 3)
    before: Change


class Changes:
    """What many images were before, counted."""

    def __init__(self, square: Square) -> None:
        self.square = square
        self.kinds: Counter[str] = Counter()
        self.resized = 0
        self.extremes: list[tuple[int, int]] = []  # the sizes of the smallest and the largest that were resized

    def add(self, image: Squared) -> None:
        kind, size = image.before
        if kind:
            self.kinds[kind] += 1
        if size != (self.square.size, self.square.size):
            self.resized += 1
            sizes = sorted({*self.extremes, size}, key=lambda size: (size[0] * size[1], size))
            self.extremes = sizes if len(sizes) < 3 else [sizes[0], sizes[-1]]

    def notes(self) -> list[str]:
        """A sentence for each kind of change."""
        notes = []
        if self.kinds:
            listed = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common())
            on_white = "; what is transparent is put on white" if "transparent" in self.kinds else ""
            notes.append(f"converted to 8-bit RGB: {listed}{on_white}")
        if self.resized:
            were = " and ".join(f"{width} x {height}" for width, height in self.extremes)
            between = f"sizes between {were}" if len(self.extremes) > 1 else were
            side, fit = self.square
            resized = f"resized to {side} x {side}: {self.resized:,}, from {between}"
            notes.append(f"{resized}; of those that are not square, {FITS[fit].words}")
        return notes


def decode_files(paths: Sequence[Path], size: int) -> Decoded:
    """The central squares of all files, decoded in parallel. No file makes it raise."""
    images, bad = np.empty((len(paths), size, size, 3), np.uint8), {}
    changes = Changes(Square(size))
    for row, result in enumerate(decoded(paths, changes.square)):
        if isinstance(result, str):
            bad[row] = result
        else:
            images[row] = result.pixels
            changes.add(result)
    return Decoded(images, bad, changes.notes())


def decoded(paths: Sequence[Path], square: Square) -> Iterable[Squared | str]:
    """The images of the files one by one, or why a file cannot be read; a few are read ahead.

    A bar is drawn on stderr meanwhile, if that is a terminal.
    """

    def read(path: Path) -> Squared:
        image, change = decode(path, square)
        return Squared(np.asarray(image), change)

    return with_bar(in_threads(read, paths), len(paths))


def decode(path: Path, square: Square) -> tuple[Image.Image, Change]:
    """The file's first frame, upright and square.

    Raises:
        Exception: of any kind; the file cannot be read.
    """
    image, change = open_upright(path, round(ENOUGH * square.size))
    return square.of(image), change
