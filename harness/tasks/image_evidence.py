"""What predict.py --explain draws: which places of images speak for their labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from basics.errors import InputError
from harness.drawing.evidence_figures import Caption, draw_evidence
from harness.drawing.prediction_sheet import NAME, below_common_folder
from harness.drawing.short_names import tell_apart
from lit_modules import Classifier
from lit_modules.class_scores import decided
from lit_modules.evidence import Evidence, evidence, makes_maps
from lit_modules.stages import Stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPLAINED = 24  # images at most; each takes as long as 40 predictions
BATCH = 8  # images at a time, since all feature maps are kept for their gradients


def check_explains(model: Stages) -> None:
    """Raises InputError if there would be nothing to draw."""
    if not isinstance(model, Classifier):
        raise InputError("--explain: shows what speaks for a class, and the network has none")
    if not makes_maps(model.eval()):
        raise InputError(f"--explain: net {model.hparams['net']} makes no feature maps by convolutions")


def as_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Grey or RGB images of one size as values in 0..1, (B, C, H, W)."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))  # (B, H, W[, 3])
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)  # (B, C, H, W)
    return pixels.float() / 255


def explain_images(
    models: Sequence[Classifier],
    predicted: Mapping[str, tuple[Image.Image, np.ndarray]],
    names: Sequence[str],
    threshold: float | None = None,
) -> "Figure":
    """Some of the images with their maps, labels and files; of several models, the means of their maps.

    Args:
        predicted: the image as the network sees it and its probabilities, (C,), by file name.
        threshold: see `class_scores.decided`.
    """
    files = [*predicted]
    files = [files[place] for place in np.linspace(0, len(files) - 1, min(len(files), EXPLAINED)).astype(int)]
    images = as_tensor([predicted[file][0] for file in files])
    labels = decided(np.stack([predicted[file][1] for file in files]), threshold).tolist()
    found = evidence_of(models, images, torch.tensor(labels))
    shown, below = tell_apart(names, NAME), tell_apart(below_common_folder(files), 2 * NAME)
    captions: list[Caption] = [
        ((f"{shown[label]}, {predicted[file][1][label]:.0%}".replace("$", r"\$"), "black"),
         (name.replace("$", r"\$"), "0.35"))
        for file, label, name in zip(files, labels, below, strict=True)
    ]  # fmt: skip
    return draw_evidence(images, found, captions)


def evidence_of(models: Sequence[Classifier], images: Tensor, classes: Tensor) -> Evidence:
    """The means of the models' maps for images, (B, C, H, W) in 0..1, and their classes, (B,), on the CPU."""
    return _mean([_evidence(model, images, classes) for model in models])


def _evidence(model: Classifier, images: Tensor, classes: Tensor) -> Evidence:
    """The maps of all images, on the CPU."""
    parts = []
    for some, its in zip(images.split(BATCH), classes.split(BATCH), strict=True):
        found = evidence(model, some.to(model.device), its)
        assert found is not None  # as `check_explains` has seen
        parts.append([maps.cpu() for maps in found])
    return Evidence(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def _mean(found: Sequence[Evidence]) -> Evidence:
    return Evidence(*(torch.stack(maps).mean(0) for maps in zip(*found, strict=True)))
