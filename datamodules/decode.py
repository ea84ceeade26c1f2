"""Image files of any kind as square RGB arrays of one size."""

import os
import re
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Condition
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from basics.errors import InputError, MissingFileError
from datamodules.squares import FITS, Square

S = TypeVar("S")
T = TypeVar("T")

# Named one by one, because Pillow's others include EPS, for which it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # at byte 8 of such files
MODES = {"L": "grey", "P": "palette", "1": "black-and-white"}  # Pillow's other names, such as CMYK, are clear enough


AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels may be averaged
AHEAD = 4  # files a core that are decoded before the first of them is asked for
ENOUGH = 2  # times the side that is wanted: what a JPEG is decoded to leaves enough for a good resize
TURNS = {  # by the orientation in EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Room:
    """What threads share: each takes a part for a while, and waits if too little is left."""

    def __init__(self, whole: int) -> None:
        self.whole = self.left = whole
        self._changed = Condition()

    @contextmanager
    def of(self, part: int) -> Iterator[None]:
        """Holds a part; one that is larger than the whole is the whole."""
        part = min(part, self.whole)
        with self._changed:
            self._changed.wait_for(lambda: self.left >= part)
            self.left -= part
        try:
            yield
        finally:
            with self._changed:
                self.left += part
                self._changed.notify_all()


ROOM = Room(2**25)  # pixels in memory at a time, four bytes each or, of some kinds of files, a few times that


class Decoded(NamedTuple):
    """The result of decoding a list of files."""

    images: np.ndarray  # uint8, (N, S, S, 3); the rows of bad files are undefined
    bad: dict[int, str]  # why the file of this row could not be read
    notes: list[str]  # what was changed in the others, a sentence each


class Change(NamedTuple):
    """What one image was before."""

    kind: str | None  # None: 8-bit RGB
    size: tuple[int, int]  # width, height


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
            waiting: deque[Future[T | str]] = deque()
            for source in sources:
                waiting.append(pool.submit(guarded, source))
                if len(waiting) > AHEAD * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_bar(results: Iterable[T], total: float) -> Iterable[T]:
    """The results, with a bar on stderr while they arrive, if that is a terminal."""
    if sys.stderr.isatty():
        return track(results, "decoding", total, console=Console(stderr=True), transient=True)
    return results


def decode(path: Path, square: Square) -> tuple[Image.Image, Change]:
    """The file's first frame, upright and square.

    Raises:
        Exception: of any kind; the file cannot be read.
    """
    image, change = open_upright(path, round(ENOUGH * square.size))
    return square.of(image), change


def open_upright(path: Path, least: int) -> tuple[Image.Image, Change]:
    """The file's first frame as 8-bit RGB; larger ones at a half, a third and so on of their size.

    Args:
        least: pixels that each side keeps, if it has as many.

    Raises:
        InputError: the file is of a kind for which a package is missing.
        Exception: of any kind; it cannot be read.
    """
    if not path.is_file():  # opening a pipe would wait
        raise MissingFileError("no file, or a link to none")
    with _open(path) as image:
        change = Change(_kind(image), image.size)
        image.draft(None, (least, least))  # JPEGs; they are never decoded as a whole, unless they are progressive
        width, height = change.size if image.info.get("progressive") else image.size
        with ROOM.of(width * height):
            image.load()
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            small = _rgb(_reduced(image, least))
    return small.transpose(turn) if turn is not None else small, change


def _open(path: Path) -> ImageFile.ImageFile:
    try:
        return Image.open(path, formats=_formats())
    except UnidentifiedImageError:
        with path.open("rb") as file:
            start = file.read(12)
        if start[4:8] == b"ftyp" and start[8:] in HEIC_BRANDS:
            raise InputError("HEIC, which the package pillow-heif reads: pip install pillow-heif") from None
        raise


@cache
def _formats() -> tuple[str, ...]:
    try:
        import pillow_heif  # not among the requirements: few need it
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _reduced(image: Image.Image, least: int) -> Image.Image:
    """The image with each block of pixels averaged, as long as its sides keep `least`: what follows is faster."""
    factor = min(image.size) // least
    if factor < 2 or image.mode not in AVERAGED or "transparency" in image.info:
        return image
    return image.reduce(factor)


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
