"""The sample for segmentation: generated scenes of shapes, with the class of each pixel, the same at every call."""

import numpy as np

from datamodules.arrays import ImageArrays

SEED = 0
SIDE = 48  # pixels; the networks' poolings divide it
CLASSES = ("background", "disc", "square", "triangle", "ring")
SHAPES = 2  # in a scene at most; the second covers the first
DARK, BRIGHT = 0.45, 0.55  # of each colour channel: the most in a background, the least in a shape
LEAN = np.pi / 8  # greatest angle by which a shape is turned


def scenes(num_train: int = 1200, num_test: int = 200) -> ImageArrays:
    """Scenes of 48 x 48 pixels, and in place of labels masks, (N, 48, 48), of the numbers of `CLASSES`.

    Each has one or two bright shapes of any size, on a dark background that changes colour; with noise.
    """
    count, rng = num_train + num_test, np.random.default_rng(SEED)
    first, last = rng.uniform(0, DARK, (2, count, 1, 1, 3)).astype(np.float32)
    slope = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]  # from top to bottom
    images = first + (last - first) * slope  # (N, 48, 1, 3)
    images = np.repeat(images, SIDE, axis=2)  # (N, 48, 48, 3)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    shapes = rng.integers(1, SHAPES + 1, count)
    for number in range(SHAPES):
        inside, kinds = _draw_shapes(count, rng)
        inside &= (shapes > number)[:, None, None]
        colours = rng.uniform(BRIGHT, 1, (count, 1, 1, 3)).astype(np.float32)
        images = np.where(inside[..., None], colours, images)
        masks = np.where(inside, kinds[:, None, None], masks)
    images = images + 0.08 * rng.standard_normal(images.shape, dtype=np.float32)
    pixels = (images.clip(0, 1) * 255).astype(np.uint8)
    return ImageArrays(pixels[:num_train], masks[:num_train], pixels[num_train:], masks[num_train:])


def _draw_shapes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One shape for each scene: where it is, (N, 48, 48) booleans, and its class, (N,)."""
    kinds = rng.integers(1, len(CLASSES), count, dtype=np.uint8)
    place = rng.uniform(9, SIDE - 9, (2, count, 1, 1)).astype(np.float32)
    radius = rng.uniform(8, 14, (count, 1, 1)).astype(np.float32)
    angle = rng.uniform(-LEAN, LEAN, (count, 1, 1)).astype(np.float32)
    y, x = np.arange(SIDE, dtype=np.float32)[:, None] - place[0], np.arange(SIDE, dtype=np.float32) - place[1]
    # Pixels from the centre, along the shape's own axes, (N, 48, 48) each.
    y, x = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    distance = np.hypot(x, y)
    outlines = (
        np.zeros_like(distance, bool),
        distance < radius,
        np.maximum(abs(x), abs(y)) < 0.8 * radius,
        (y < radius / 2) & (y > 1.73 * abs(x) - radius),  # with equal sides
        (distance < radius) & (distance > 0.5 * radius),
    )
    return np.choose(kinds[:, None, None], outlines), kinds
