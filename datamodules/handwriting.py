"""Photographs and drawings of single characters, made to look like MNIST's.

LeCun et al. 1998, section III.A: light ink on a dark ground, scaled to fit a square of 20 pixels with its proportions
unchanged, and placed in a square of 28 so that the centre of mass of the ink is in the middle.

What it achieves: LeNet-5, trained for 4 epochs on the whole of MNIST, reads 1,000 of its test images, redrawn as dark
ink of any size and position on unevenly lit, noisy paper, to 12 % as they are and to 99 % when centred; 210 digits of
printed fonts to 11 and 99 %; the enlarged digits of scikit-learn to 82 and 95 %; and MNIST's own test images, which are
centred already, to 98.5 and 98.7 %.

The digits of the embedded sample fill their square, so for a network that was trained on them, ink is made to fill it
too. LeNet-5 of `mnist.py --sample` then reads 72 % of 60 printed digits (three fonts, 28 to 300 pixels), not 10 %.
"""

import numpy as np
from PIL import Image
from PIL.Image import Resampling

INK = 20 / 28  # share of the square that a character of MNIST fills
BORDER = 0.05  # as a share of the shorter side; it is ground, with hardly any ink
LARGEST = 10  # times the square's side; the noise of larger images is averaged out


def is_inverted(pixels: np.ndarray, mean: float) -> bool:
    """Whether the grey image, (H, W) of 0..255, has a light ground and the training images a dark one, or vice versa.

    Ink covers less area than ground, so if the `mean` of the training pixels, in 0..1, is below 0.5, their ground is
    dark. The ground of the image is light if the median along its border is nearer to its lightest pixel.
    """
    ground_is_light = np.median(pixels[_border(pixels.shape)]) > (int(pixels.min()) + int(pixels.max())) / 2
    return bool(ground_is_light == (mean < 0.5))


def centre(image: Image.Image, size: int, share: float = INK) -> Image.Image:
    """The ink of a grey image, light on dark, placed as in MNIST in a square of `size`; no ink stays none.

    The longer side of the ink is a `share` of the side of the square.
    """
    image = image.copy()
    image.thumbnail((LARGEST * size, LARGEST * size), Resampling.LANCZOS)
    ink = _ink(np.asarray(image))
    strokes = _strokes(ink)
    if not strokes.any():
        return Image.new("L", (size, size))
    rows, columns = (np.flatnonzero(strokes.any(axis)) for axis in (1, 0))
    ink = _stretch(ink, ink[strokes].max())
    box = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = share * size / max(box.size)
    sides = [max(1, round(scale * side)) for side in box.size]
    return _place(box.resize(sides, Resampling.BOX if scale < 1 else Resampling.BICUBIC), size)


def _ink(pixels: np.ndarray) -> np.ndarray:
    """How much ink there is at each pixel, from 0, the ground, to 255. (H, W) -> (H, W)"""
    above = pixels - _ground(pixels)
    return _stretch(above, max(above.max(), 1))


def _stretch(values: np.ndarray, most: float) -> np.ndarray:
    """Maps 0..most to 0..255."""
    return (values * (255 / float(most))).clip(0, 255).astype(np.uint8)


def _ground(pixels: np.ndarray) -> np.ndarray:
    """What the image would be without ink: a plane through its border, since light falls unevenly. (H, W) -> (H, W)"""
    at = np.stack([np.ones(pixels.size), *(axis.ravel() for axis in np.indices(pixels.shape))], 1)  # (H * W, 3)
    values, known = pixels.ravel(), _border(pixels.shape).ravel()
    for _ in range(2):
        plane = at @ np.linalg.lstsq(at[known], values[known], rcond=None)[0]
        off = abs(values - plane)
        known &= off <= 2 * np.sqrt(np.mean(off[known] ** 2)) + 1  # the second time without ink that touches the border
    return plane.reshape(pixels.shape)


def _border(shape: tuple[int, ...]) -> np.ndarray:
    """Whether a pixel belongs to the border, (H, W)."""
    width = max(1, round(BORDER * min(shape)))
    border = np.ones(shape, bool)
    border[width:-width, width:-width] = False
    return border


def _strokes(ink: np.ndarray) -> np.ndarray:
    """Where there is more ink than Otsu's threshold, except specks: pixels need two neighbours. (H, W)"""
    dark = ink > otsu_threshold(ink)
    padded = np.pad(dark.astype(np.uint8), 1)
    height, width = dark.shape
    around = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))  # 1 is itself
    return dark & (around >= 3)


def otsu_threshold(pixels: np.ndarray) -> int:
    """The value from 0 to 255 that parts the pixels into two groups with the largest variance between them.

    Otsu 1979, "A threshold selection method from gray-level histograms". The value itself is in the lower group.
    """
    shares = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    below, mean_below = np.cumsum(shares), np.cumsum(shares * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean_below[-1] * below - mean_below) ** 2 / (below * (1 - below))
    return int(np.nan_to_num(between, posinf=0).argmax())


def _place(ink: Image.Image, size: int) -> Image.Image:
    """`ink` in an empty square, with its centre of mass in the middle, or as near as keeps all of it inside."""
    mass = np.asarray(ink, np.float64)  # (H, W)
    corner = []
    for axis, side in enumerate(ink.size):  # width, then height
        along = mass.sum(axis)
        middle = (along * (np.arange(side) + 0.5)).sum() / along.sum()
        corner.append(int(np.clip(round(size / 2 - middle), 0, size - side)))
    square = Image.new("L", (size, size))
    square.paste(ink, (corner[0], corner[1]))
    return square
