"""Small image sets that need no download, the same on every machine and at every call."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from datamodules.arrays import ImageArrays

SEED = 0  # of the split and of what is generated; independent of a run's own seed


def digits() -> ImageArrays:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, enlarged to 28 x 28; 1,437 to train and 360 to test.

    Source: UCI, "Optical recognition of handwritten digits" (its test part), as scikit-learn ships it.
    """
    rows = _read_digits()  # (1797, 65): 64 pixels of 0..16, then the label
    small = torch.from_numpy(rows[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).float()
    large = F.interpolate(small, size=28, mode="bicubic", align_corners=False)  # (1797, 1, 28, 28)
    images = large.round().clamp(0, 255).to(torch.uint8).squeeze(1).numpy()
    return _split(images, rows[:, -1].astype(np.uint8), num_test=360)


def _read_digits() -> np.ndarray:
    with gzip.open(sklearn_data() / "digits.csv.gz", "rt") as file:
        return np.array([line.split(",") for line in file], dtype=np.float64)


def sklearn_data() -> Path:
    """The folder of the files that `sklearn.datasets` reads, after an import of a second or so."""
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None  # it is in requirements.txt
    return Path(package.origin).parent / "datasets" / "data"


SHAPES = ("disc", "square", "triangle", "ring", "cross", "rows", "columns", "checks", "diagonal", "dots")
HUES = 10


def shapes(num_train: int = 2000, num_test: int = 500) -> ImageArrays:
    """Generated 32 x 32 colour images of ten shapes and textures, in any colours, with noise."""
    images, kinds, _ = _draw(num_train + num_test)
    return _split(images, kinds, num_test)


def shapes_by_hue(num_train: int = 5000, num_test: int = 1000) -> ImageArrays:
    """The same in ten hues each, which makes 100 classes, 10 * shape + hue."""
    images, kinds, hues = _draw(num_train + num_test)
    return _split(images, 10 * kinds + hues, num_test)


def _draw(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws `count` images, (N, 32, 32, 3), with their shapes and hues, (N,)."""
    rng = np.random.default_rng(SEED)
    kinds = (np.arange(count) % len(SHAPES)).astype(np.uint8)
    hues = (np.arange(count) // len(SHAPES) % HUES).astype(np.uint8)
    mask = np.zeros((count, 32, 32, 1), np.float32)  # 1 inside the shape
    for kind, name in enumerate(SHAPES):
        mask[kinds == kind, :, :, 0] = _masks(name, int((kinds == kind).sum()), rng)
    hue = (hues + rng.uniform(-0.3, 0.3, count)) / HUES
    inside = _colour(hue, rng.uniform(0.6, 1, count)).astype(np.float32)[:, None, None]  # (N, 1, 1, 3)
    outside = rng.uniform(0, 0.7, (count, 1, 1, 3)).astype(np.float32)
    images = 0.15 * rng.standard_normal((count, 32, 32, 3), dtype=np.float32) + outside + mask * (inside - outside)
    return (images.clip(0, 1) * 255).astype(np.uint8), kinds, hues


def _masks(shape: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` such shapes of any size and position, (count, 32, 32) booleans."""
    centre_x, centre_y, radius = rng.uniform([[11], [11], [6]], [[21], [21], [10]], (3, count)).astype(np.float32)[
        ..., None, None
    ]
    y, x = np.mgrid[:32, :32].astype(np.float32)
    x, y = x - centre_x.astype(np.float32), y - centre_y.astype(np.float32)  # (count, 32, 32), pixels from the centre
    distance, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    if shape == "disc":
        return distance < radius
    if shape == "square":
        return box < radius
    if shape == "triangle":
        return (y < radius / 2) & (y > 2 * abs(x) - radius)
    if shape == "ring":
        return (distance < radius) & (distance > 0.55 * radius)
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) < radius / 3) & (box < radius)
    return _texture(shape, x, y, period=0.6 * radius) & (box < 1.3 * radius)


def _texture(shape: str, x: np.ndarray, y: np.ndarray, period: np.ndarray) -> np.ndarray:
    even_x, even_y, even_diagonal = (np.floor(t / period) % 2 == 0 for t in (x, y, (x + y) / np.sqrt(2)))
    if shape == "rows":
        return even_y
    if shape == "columns":
        return even_x
    if shape == "checks":
        return even_x ^ even_y
    if shape == "diagonal":
        return even_diagonal
    return np.hypot(x % period - period / 2, y % period - period / 2) < 0.35 * period  # dots


def _colour(hue: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Fully saturated RGB of a hue in 0..1, (N, 3)."""
    thirds = np.array([0, 2, 1]) / 3  # red at hue 0, green at 1/3, blue at 2/3
    return brightness[:, None] * (3 * abs((hue[:, None] + thirds) % 1 - 0.5) * 2 - 1).clip(0, 1)


def _split(images: np.ndarray, labels: np.ndarray, num_test: int) -> ImageArrays:
    order = np.random.default_rng(SEED).permutation(len(images))
    test, train = order[:num_test], order[num_test:]
    return ImageArrays(images[train], labels[train], images[test], labels[test])
