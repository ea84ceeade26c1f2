"""What the page shows of a segmentation network: an image with its mask over it, and each class's colour and share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from basics.errors import InputError
from datamodules.listing import naming
from datamodules.mask_files import open_whole
from harness.drawing.segmentation_figures import palette, tinted
from harness.serving.uploads import data_url, painted, uploaded
from harness.tasks.mask_prediction import segment_files
from lit_modules.segmenter import Segmenter

SIDE = 800  # pixels of the longer side of what the page shows
REST = "#808080"  # for the first class, over which there is no colour


class MaskAnswers:
    """Answers by a segmentation network."""

    def __init__(self, model: Segmenter) -> None:
        self.model = model
        text = f"{model.hparams['net']}, {len(model.names)} classes."
        self.about: Mapping[str, Any] = {"title": "What is where in this image?", "text": text}
        parts = np.array(palette(model.num_classes)).reshape(-1, 3)[1:]
        self.colours = [REST, *("#{:02x}{:02x}{:02x}".format(*colour) for colour in parts)]

    def answer(self, body: bytes) -> dict[str, Any]:
        bad: dict[str, str] = {}
        with uploaded(body) as path:
            found = [mask for _, _, mask in segment_files(self.model, [path], bad, skip_bad=True)]
            if not found:
                raise InputError(naming(bad))
            image = open_whole(path)
        (mask,) = found
        counts = np.bincount(mask.ravel(), minlength=self.model.num_classes)
        shares = zip(self.model.names, (counts / mask.size).tolist(), self.colours, strict=True)
        image.thumbnail((SIDE, SIDE))
        pictures = {"the image": image, "its mask": _over(image, mask)}
        return {
            "shares": sorted(shares, key=lambda each: -each[1]),
            "pictures": [(title, data_url(picture)) for title, picture in pictures.items()],
        }


def _over(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The image in grey, with the colours of the mask, (H', W'), over it."""
    its = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255  # (3, H, W)
    return painted(tinted(pixels[None], torch.from_numpy(its.copy())[None])[0])
