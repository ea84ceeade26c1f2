"""Pictures of a segmentation: images beside their masks and what was predicted. Images are in 0..1, (N, C, H, W)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.drawing.figures import COLOURS
from harness.drawing.image_figures import sheet
from harness.drawing.short_names import legible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # images in a picture of 800 pixels, each with its mask and its prediction
TINT = 0.75  # of a class's colour over the image, which is grey below it
SHEET = 24  # image files on a sheet, each with its mask
NAME = 13  # characters that fit below an image there
KEYS = 7  # names of classes in a line of the key


class Segmented(NamedTuple):
    """Images with their masks and predictions, (N, H, W) each, and the IoU of each image, (N,)."""

    images: Tensor
    masks: Tensor
    predicted: Tensor
    scores: Tensor


def iou_of_images(confusion: Tensor, binary: bool) -> Tensor:
    """The IoU of each image, (N,), from its confusion matrix, (N, C, C), whose rows are the true classes.

    It is the mean over the classes that are in its mask or predicted, or with `binary` that of the second class.
    """
    right, true, predicted = confusion.diagonal(dim1=1, dim2=2), confusion.sum(2), confusion.sum(1)  # (N, C)
    either = true + predicted - right
    if binary:
        return torch.where(either[:, 1] > 0, right[:, 1] / either[:, 1], 1.0)
    return torch.where(either > 0, right / either, 0).sum(1) / (either > 0).sum(1)


def tinted(images: Tensor, masks: Tensor) -> Tensor:
    """The images, in grey, with the colours of the classes over them, (N, 3, H, W); the first class has none."""
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    colours = torch.tensor([(0.0, 0.0, 0.0), *(_colour(number) for number in range(1, int(masks.max()) + 1))])
    layer = colours[masks.long()].permute(0, 3, 1, 2)  # (N, 3, H, W)
    return torch.where((masks > 0).unsqueeze(1), (1 - TINT) * grey + TINT * layer, 0.3 + 0.5 * grey)


def draw_segmented(examples: Segmented, classes: Sequence[str], title: str) -> "Figure":
    """Each image, its mask, and the prediction with its IoU, two of them in a row."""
    rgb = examples.images.expand(-1, 3, -1, -1) if examples.images.shape[1] == 1 else examples.images
    parts = rgb, tinted(rgb, examples.masks), tinted(rgb, examples.predicted)
    pictures = torch.stack(parts, dim=1).flatten(0, 1)  # (3 N, 3, H, W)
    captions = [
        [(text, "black")] for score in examples.scores for text in ("image", "its mask", f"predicted, IoU {score:.3f}")
    ]
    figure = sheet(pictures, 6, captions, title)
    _add_key(figure, classes)
    return figure


def draw_augmented_masks(images: Tensor, masks: Tensor, classes: Sequence[str]) -> "Figure":
    """Training images and masks after augmentation."""
    rgb = images[: 2 * SHOWN].expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[: 2 * SHOWN]
    pictures = torch.stack([rgb, tinted(rgb, masks[: 2 * SHOWN])], dim=1).flatten(0, 1)
    figure = sheet(pictures, 8, [[("", "black")]] * len(pictures), "Training images as the net sees them, with masks")
    _add_key(figure, classes)
    return figure


def draw_mask_sheet(
    predicted: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: Sequence[str], total: int
) -> "Figure":
    """Image files, by their names, as the network sees them, and the masks that it predicts.

    Args:
        predicted: the image, uint8, (H, W, 3), and the mask, (H, W), of each.
        total: how many images were predicted in all.
    """
    images, masks = (torch.from_numpy(np.stack(parts)) for parts in zip(*predicted.values(), strict=True))
    pixels = images.permute(0, 3, 1, 2).float() / 255
    pictures = torch.stack([pixels, tinted(pixels, masks)], dim=1).flatten(0, 1)
    captions = [[(text, "black")] for name in legible([*predicted], NAME) for text in (name, "")]
    of = f"{len(predicted)} of {total:,} images" if total > len(predicted) else "Images"
    figure = sheet(pictures, 8, captions, f"{of} as the network sees them, and their predicted masks")
    _add_key(figure, classes)
    return figure


def palette(num_classes: int) -> list[int]:
    """Red, green and blue, 0 to 255, of each class in turn, for an image of their numbers; the first is black."""
    return [0, 0, 0, *(round(255 * part) for number in range(1, num_classes) for part in _colour(number))]


def _add_key(figure: "Figure", classes: Sequence[str]) -> None:
    """The names of the classes with their colours, below the picture, which grows by that."""
    from matplotlib.patches import Patch

    names = legible(classes)[1:]
    (axes,), (width, height) = figure.axes, figure.get_size_inches()
    extra, place = 0.1 + 0.25 * -(-len(names) // KEYS), axes.get_position()
    figure.set_size_inches(width, height + extra)
    share = height / (height + extra)
    axes.set_position((place.x0, 1 - (1 - place.y0) * share, place.width, place.height * share))
    figure.suptitle(figure.get_suptitle(), fontsize=11, y=1 - 0.1 / (height + extra), va="top")
    patches = [Patch(color=_colour(number), label=name) for number, name in enumerate(names, 1)]
    figure.legend(handles=patches, loc="lower center", ncols=min(KEYS, len(names)), fontsize=9, frameon=False)


def _colour(number: int) -> tuple[float, float, float]:
    """Of a class from 1 on: six colours, then the same darker, and so on."""
    from matplotlib.colors import to_rgb

    rounds, place = divmod(number - 1, len(COLOURS))
    red, green, blue = (0.6**rounds * part for part in to_rgb(COLOURS[place]))
    return red, green, blue
