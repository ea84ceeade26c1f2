"""One image file of any kind, as upright 8-bit RGB."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Condition
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from basics.errors import InputError, MissingFileError

# Named one by one, because Pillow's others include EPS, for which it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # at byte 8 of such files
MODES = {"L": "grey", "P": "palette", "1": "black-and-white"}  # Pillow's other names, such as CMYK, are clear enough
AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels may be averaged
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


class Change(NamedTuple):
    """What one image was before."""

    kind: str | None  # None: 8-bit RGB
    size: tuple[int, int]  # width, height


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
            small = upright(_rgb(_reduced(image, least)), image)
    return small, change


def upright(pixels: Image.Image, file: Image.Image) -> Image.Image:
    """The pixels of a file, turned as its EXIF data say, if it has any that can be read."""
    try:
        turn = TURNS.get(file.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, struct.error, ValueError, TypeError, KeyError, OSError):  # Pillow's, for damaged ones
        return pixels
    return pixels if turn is None else pixels.transpose(turn)


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
        values, clear = np.asarray(image), image.info.get("transparency")  # a value, or nothing
        shown = _eight_bits(values, wide=image.format == "PPM")
        image = Image.fromarray(np.where(values == clear, np.uint8(255), shown) if clear is not None else shown)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image.load()  # before the file is closed
    return image if image.mode == "RGB" else image.convert("RGB")  # converting would copy it


def _eight_bits(values: np.ndarray, wide: bool = False) -> np.ndarray:
    """0..65535 as 0..255, rounded; Pillow's own conversion clips. (H, W) -> (H, W)

    Args:
        wide: the values have 16 bits, whatever they are kept in.
    """
    least, greatest = values.min(), values.max()
    # Of 32 bits, 0..255 are hardly 16-bit black; they are 8-bit values in a wider type.
    narrow = values.dtype.itemsize == 4 and 0 < greatest <= 255 and not wide
    if values.dtype.kind == "f" or least < 0 or greatest > 65_535 or narrow:
        raise InputError("32-bit values, whose black and white are unknown; save it with 8 or 16 bits")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
