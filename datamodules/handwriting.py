"""Photographs and drawings of single characters, made to look like MNIST's.

LeCun et al. 1998, section III.A: light ink on a dark ground, scaled to fit a square of 20 pixels without a change of
its proportions, and placed in a square of 28 with the centre of mass of its ink in the middle.

LeNet-5, trained for 4 epochs on the whole of MNIST, on 1,000 of its test images as dark ink of any size and place on
paper that is lit unevenly and noisy: 12 % as they are, 99 % centred; on 210 digits of printed fonts 11 and 99 %, on
the enlarged ones of scikit-learn 82 and 95 %, on MNIST's own test images, which are centred already, 98.5 and 98.7 %.

The digits of the embedded sample fill their square, and so is ink made to for a network that was trained on them:
LeNet-5 of `mnist.py --sample` then reads 72 % of 60 printed digits (three fonts, 28 to 300 pixels), 10 % as they are.
"""

import numpy as np
from PIL import Image
from PIL.Image import Resampling

INK = 20 / 28  # share of the square that a character of MNIST fills
BORDER = 0.05  # of the shorter side: where there is ground and hardly any ink
LARGEST = 10  # times the square's side; the noise of larger images is averaged out


def is_inverted(pixels: np.ndarray, mean: float) -> bool:
    """Whether the grey image, (H, W) of 0..255, has a light ground where the training images have a dark one, or so.

    Ink covers less than ground does, so training pixels with a `mean` below 0.5, of 0..1, have a dark ground. In the
    image, ground is what lies along its border: light if the median there is nearer to the image's lightest pixel.
    """
    ground_is_light = np.median(pixels[_border(pixels.shape)]) > (int(pixels.min()) + int(pixels.max())) / 2
    return bool(ground_is_light == (mean < 0.5))


def centre(image: Image.Image, size: int, share: float = INK) -> Image.Image:
    """The ink of a grey image, light on dark, in MNIST's place in a square of `size`; none stays none.

    Its longer side is a `share` of the square's.
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
    """How much ink there is in each place, from 0, the ground, to 255. (H, W) -> (H, W)"""
    above = pixels - _ground(pixels)
    return _stretch(above, max(above.max(), 1))


def _stretch(values: np.ndarray, most: float) -> np.ndarray:
    """0 to `most` as 0 to 255."""
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
    """Where there is more ink than Otsu's threshold, but for specks: each pixel has two neighbours. (H, W)"""
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
    below, mean_below = shares.cumsum(), (shares * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean_below[-1] * below - mean_below) ** 2 / (below * (1 - below))
    return int(np.nan_to_num(between, posinf=0).argmax())


def _place(ink: Image.Image, size: int) -> Image.Image:
    """`ink` in an empty square, its centre of mass in the middle as far as all of it stays inside."""
    mass = np.asarray(ink, np.float64)  # (H, W)
    corner = []
    for axis, side in enumerate(ink.size):  # width, then height
        along = mass.sum(axis)
        middle = (along * (np.arange(side) + 0.5)).sum() / along.sum()
        corner.append(int(np.clip(round(size / 2 - middle), 0, size - side)))
    square = Image.new("L", (size, size))
    square.paste(ink, (corner[0], corner[1]))
    return square
