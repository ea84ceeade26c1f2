"""Image files of any kind as square RGB arrays of one size."""

import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from basics.errors import InputError, MissingFileError

S = TypeVar("S")
T = TypeVar("T")

# Named one by one, because Pillow's others include EPS, for which it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MODES = {"L": "grey", "P": "palette", "1": "black-and-white"}  # Pillow's other names, such as CMYK, are clear enough


class Decoded(NamedTuple):
    """The result of decoding a list of files."""

    images: np.ndarray  # uint8, (N, S, S, 3); the rows of bad files are undefined
    bad: dict[int, str]  # why the file of this row could not be read
    notes: list[str]  # what was changed in the others, a sentence each


class Change(NamedTuple):
    """What one image was before."""

    kind: str | None  # None: 8-bit RGB
    size: tuple[int, int]  # width, height


def decode_files(paths: Sequence[Path], size: int) -> Decoded:
    """Decodes all files in parallel, with a bar on stderr if that is a terminal. No file makes it raise."""
    images = np.empty((len(paths), size, size, 3), np.uint8)

    def decode_row(row: int) -> Change:
        image, change = decode(paths[row], size)
        images[row] = np.asarray(image)
        return change

    results = list(with_bar(in_threads(decode_row, range(len(paths))), len(paths)))
    bad = {row: result for row, result in enumerate(results) if isinstance(result, str)}
    return Decoded(images, bad, _notes([result for result in results if isinstance(result, Change)], size))


def in_threads(read: Callable[[S], T], sources: Sequence[S]) -> Iterator[T | str]:
    """The result of `read` for each source, in order, or why Pillow could not read it."""

    def guarded(source: S) -> T | str:
        try:
            return read(source)
        except UnidentifiedImageError:
            return "no image of a known format"
        except Exception as error:  # damaged files raise errors of any kind
            return str(error) or type(error).__name__

    cores = _cores()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about large images; it refuses those of twice its limit
        if cores == 1:
            yield from map(guarded, sources)  # another thread would only take time from this one
            return
        # Threads suffice: Pillow lets others run while it decodes and resizes. More than cores get in each other's way.
        with ThreadPoolExecutor(cores) as pool:
            yield from pool.map(guarded, sources)


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_bar(results: Iterable[T], total: float) -> Iterable[T]:
    """The results, with a bar on stderr while they arrive, if that is a terminal."""
    if sys.stderr.isatty():
        return track(results, "decoding", total, console=Console(stderr=True), transient=True)
    return results


def decode(path: Path, size: int) -> tuple[Image.Image, Change]:
    """The file's first frame, upright, its central square at `size` x `size` pixels.

    Raises:
        Exception: of any kind; the file cannot be read.
    """
    image, change = open_upright(path, 2 * size)  # twice the size leaves enough for a good resize
    # Lanczos' filter takes a quarter longer, for pixels that differ by 1 in 255 on average.
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC), change


def open_upright(path: Path, least: int) -> tuple[Image.Image, Change]:
    """The file's first frame as 8-bit RGB; larger JPEGs at a half, a quarter or an eighth of their size.

    Args:
        least: pixels that each side keeps, if it has as many.
    """
    if not path.is_file():  # opening a pipe would wait
        raise MissingFileError("no file, or a link to none")
    with Image.open(path, formats=FORMATS) as image:
        change = Change(_kind(image), image.size)
        image.draft(None, (least, least))
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image), change


def _kind(image: ImageFile.ImageFile) -> str | None:
    """What the file has instead of 8-bit RGB."""
    # Pillow reads 16-bit colour as 8-bit, and only the decoder's arguments tell, as in "RGB;16B".
    # "BGR;16" means 5, 6 and 5 bits.
    if image.mode.startswith("I") or re.search(r"[^R];16", str(image.tile)):
        return "16-bit"
    if image.has_transparency_data:
        return "transparent"
    return None if image.mode == "RGB" else MODES.get(image.mode, image.mode)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image.load()  # before the file is closed
    return image if image.mode == "RGB" else image.convert("RGB")  # converting would copy it


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """0..65535 as 0..255, rounded; Pillow's own conversion clips. (H, W) -> (H, W)"""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65_535:
        raise InputError("32-bit values, whose black and white are unknown; save it with 8 or 16 bits")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _notes(changes: Sequence[Change], size: int) -> list[str]:
    notes = []
    kinds = Counter(change.kind for change in changes if change.kind)
    if kinds:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        on_white = "; what is transparent is put on white" if "transparent" in kinds else ""
        notes.append(f"converted to 8-bit RGB: {listed}{on_white}")
    resized = [change.size for change in changes if change.size != (size, size)]
    if resized:
        sizes = [f"{width} x {height}" for width, height in sorted(set(resized), key=lambda s: (s[0] * s[1], s))]
        were = f"from sizes between {sizes[0]} and {sizes[-1]}" if len(sizes) > 1 else f"from {sizes[0]}"
        notes.append(f"resized to {size} x {size}: {len(resized):,}, {were}; of those that are not square, the middle")
    return notes
