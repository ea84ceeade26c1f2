"""Squares of images that are not square."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageOps

BICUBIC = Image.Resampling.BICUBIC  # Lanczos' filter takes a quarter longer, for pixels that differ by 1 in 255
GREY = (128, 128, 128)


class Fit(NamedTuple):
    """A way to make a square of an image, given the side of the square."""

    make: Callable[[Image.Image, int], Image.Image]
    words: str  # what is in the square


FITS = {
    "crop": Fit(lambda image, size: ImageOps.fit(image, (size, size), BICUBIC), "the middle"),
    "pad": Fit(lambda image, size: ImageOps.pad(image, (size, size), BICUBIC, GREY), "the whole, between grey bars"),
    "stretch": Fit(lambda image, size: image.resize((size, size), BICUBIC), "the whole, stretched"),
}


class Square(NamedTuple):
    """What all images are made to."""

    size: int  # side in pixels
    fit: str = "crop"  # one of `FITS`

    def of(self, image: Image.Image) -> Image.Image:
        return FITS[self.fit].make(image, self.size)
