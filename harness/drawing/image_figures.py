"""Pictures made of many small images: errors, augmented images, kernels, feature maps. Each is one mosaic.

One `imshow` of a mosaic takes a tenth of the time of that many axes. Images are floats in 0..1, (N, C, H, W).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import legible, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG, SHEET, KERNELS = 24, 40, 64  # images in a picture of 800 pixels
COLUMNS = 8
MAPS = 12  # feature maps per layer at most


def mosaic(images: Tensor, columns: int, gap: int, below: int = 0, background: float = 1.0) -> np.ndarray:
    """Images, (N, C, H, W), in rows, (H', W', C): `gap` pixels between them, and `below` under each for a caption."""
    images = F.pad(images, (0, gap, 0, gap + below), value=background)
    missing = -len(images) % columns
    images = F.pad(images, (0, 0, 0, 0, 0, 0, 0, missing), value=background)
    count, channels, height, width = images.shape
    grid = images.view(count // columns, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    return grid.reshape(count // columns * height, columns * width, channels).numpy()


def _show(
    picture: np.ndarray, title: str, left: float = 0.05, above: float = 0.0, **options: object
) -> tuple["Figure", "Axes"]:
    """A figure of the mosaic, 8 inches wide, with inches for labels on its left and above; placed by hand: faster."""
    width = 8 - left - 0.05
    height = width * picture.shape[0] / picture.shape[1]
    whole = height + above + 0.4
    figure, axes = new_figure(size=(8, whole))
    figure.set_layout_engine("none")
    axes.set_position((left / 8, 0.05 / whole, width / 8, height / whole))
    axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / whole, va="top")
    return figure, axes


def sheet(images: Tensor, columns: int, captions: Sequence[Sequence[tuple[str, str]]], title: str) -> "Figure":
    """Images in rows, each with as many lines of text and colour under it as `captions` has."""
    height, width = images.shape[-2:]
    gap, line = max(1, width // 12), 0.17 * width * columns / 8  # of text, in image pixels
    lines = len(captions[0])
    below = round(line * lines)
    picture = mosaic(images, columns, gap, below)
    figure, axes = _show(picture.clip(0, 1), title, cmap="gray", vmin=0, vmax=1)
    for place, caption in enumerate(captions):
        row, column = divmod(place, columns)
        x, y = column * (width + gap) + width / 2, row * (height + gap + below) + height + 0.1 * line
        for number, (text, colour) in enumerate(caption):
            axes.text(x, y + number * line, text, color=colour, fontsize=8, ha="center", va="top")
    return figure


def most_wrong(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Positions of the wrong predictions, the most confident first, at most WRONG."""
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:WRONG]


def draw_wrong(images: Tensor, probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """The images, (n, C, H, W), with what they were taken for, (n, classes), and their true classes, (n,)."""
    said, true = legible(classes, 10), legible(classes, 15)
    captions = [
        ((f"said {said[guess]}, {share:.0%}", COLOURS[1]), (f"is {true[label]}", "black"))
        for share, guess, label in zip(*(part.tolist() for part in probabilities.max(1)), labels.tolist(), strict=True)
    ]
    return sheet(images, 6, captions, "The most confidently wrong: predicted with its probability, and true class")


def draw_augmented(images: Tensor, labels: Tensor, classes: Sequence[str]) -> "Figure":
    """Training images after augmentation and mixing."""
    names = legible(classes, 14)
    captions = [((names[label], "black"),) for label in labels[:SHEET].tolist()]
    return sheet(images[:SHEET], COLUMNS, captions, "Training images as the net sees them")


def draw_kernels(name: str, weight: Tensor) -> "Figure":
    """First-layer kernels, (N, C, H, W): with one channel, red is positive and blue negative; three are colours."""
    kernels = weight[:KERNELS]
    largest = kernels.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    scaled = 0.5 + kernels / largest / 2  # each relative to its own largest weight; 0 is in the middle
    if weight.shape[1] != 3:
        scaled = scaled.mean(1, keepdim=True)
    columns = min(COLUMNS, len(kernels))
    size = max(1, 60 // weight.shape[-1])  # enlarged, so that gaps are thin
    scaled = scaled.repeat_interleave(size, 2).repeat_interleave(size, 3)
    picture = mosaic(scaled, columns, gap=4, background=float("nan") if scaled.shape[1] == 1 else 1.0)
    shown = f"First {len(kernels)}" if len(weight) > KERNELS else "All"
    signs = "red above 0, blue below" if scaled.shape[1] == 1 else "grey is 0"
    title = f"{shown} kernels of {name}, each scaled to its largest weight; {signs}"
    return _show(picture, title, cmap="RdBu_r", vmin=0, vmax=1)[0]


def draw_feature_maps(image: Tensor, maps: Sequence[tuple[str, Tensor]], label: str) -> "Figure":
    """One image, (C, H, W), and what layers make of it, (channels, h, w) each with the layer's name, row by row."""
    import matplotlib

    side = 64  # pixels of a map in the mosaic
    colours, rows = matplotlib.colormaps["viridis"], []
    first = F.interpolate(image.expand(3, -1, -1)[None], size=(side, side))  # (1, 3, side, side)
    blank = torch.ones(MAPS, 3, side, side)
    rows.append(torch.cat([first, blank[1:]]))
    for _, channels in maps:
        low, high = channels.float().flatten().quantile(torch.tensor([0.01, 0.99])).tolist()
        shown = ((channels[:MAPS].float() - low) / max(high - low, 1e-12)).clamp(0, 1)  # one scale per layer
        large = F.interpolate(shown[:, None], size=(side, side))[:, 0]  # (n, side, side)
        painted = torch.from_numpy(colours(large.numpy())[..., :3]).float().permute(0, 3, 1, 2)  # (n, 3, side, side)
        rows.append(torch.cat([painted, blank[len(painted) :]]))
    picture = mosaic(torch.cat(rows), MAPS, gap=5)
    title = f"An image of class {shortened(label)} through the layers, channel by channel"
    figure, axes = _show(picture, title, left=1.6)
    names = ["image", *(f"{shortened(name, 24)}\n{_size(channels)}" for name, channels in maps)]
    axes.set_yticks([row * (side + 5) + side / 2 for row in range(len(rows))], names, fontsize=8)
    axes.tick_params(length=0)
    return figure


def draw_rows(rows: Mapping[str, Tensor], headings: Sequence[str], title: str) -> "Figure":
    """Images, (n, C, H, W), row by row with the row's name, and a heading above each of the n columns."""
    columns, side = len(headings), max(next(iter(rows.values())).shape[-2:])
    enlarged = max(1, round(64 / side))  # so that gaps are thin
    images = torch.cat(list(rows.values()))
    images = images.repeat_interleave(enlarged, 2).repeat_interleave(enlarged, 3)
    height, width = images.shape[-2:]
    gap = max(2, width // 16)
    figure, axes = _show(mosaic(images, columns, gap).clip(0, 1), title, left=1.2, above=0.25, cmap="gray")
    axes.set_yticks([row * (height + gap) + height / 2 for row in range(len(rows))], list(rows), fontsize=9)
    axes.set_xticks([column * (width + gap) + width / 2 for column in range(columns)], headings, fontsize=9)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    return figure


def _size(channels: Tensor) -> str:
    count, height, width = channels.shape
    return f"{MAPS} of {count} maps, {height} x {width}" if count > MAPS else f"{count} maps, {height} x {width}"
