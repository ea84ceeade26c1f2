"""How far a classifier's probabilities and labels can be trusted: calibration, and accuracy on images made worse.

The temperature is that of Guo et al. 2017, "On calibration of modern neural networks": one number that divides all
logits, chosen for the least log-loss on validation images. It changes how sure the network says it is, and no label.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import pixel_ops as ops
from harness.drawing.classification_figures import calibration
from lit_modules import Classifier
from lit_modules.stages import Batch

SEED = 0  # of the directions and the noise, so that a call repeats the last one's figures
Change = Callable[[Tensor, torch.Generator], Tensor]  # images in 0..1, (B, C, H, W)


def turned(images: Tensor, draws: torch.Generator, degrees: float) -> Tensor:
    """To the left or to the right."""
    return ops.rotate(images, degrees * _sign(images, draws))


def moved(images: Tensor, draws: torch.Generator, share: float) -> Tensor:
    """By this share of the side, in any direction; what is uncovered is black."""
    angles = 2 * math.pi * torch.rand(len(images), generator=draws)
    by = share * images.shape[-1]
    return ops.translate_y(ops.translate_x(images, by * angles.cos()), by * angles.sin())


def noisy(images: Tensor, draws: torch.Generator, deviation: float) -> Tensor:
    """With normal noise on each value, which is cut off at black and white."""
    return (images + deviation * torch.randn(images.shape, generator=draws)).clamp_(0, 1)


def scaled(
    images: Tensor, draws: torch.Generator, factor: float, operation: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """By an operation that is the same for all images."""
    return operation(images, torch.full((len(images),), factor))


def _sign(images: Tensor, draws: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, (len(images),), generator=draws) - 1


CHANGES: dict[str, Change] = {
    "as they are": lambda images, draws: images,
    "turned by 10°": partial(turned, degrees=10),
    "turned by 30°": partial(turned, degrees=30),
    "moved by 7 %": partial(moved, share=0.07),
    "moved by 14 %": partial(moved, share=0.14),
    "noise of 0.1": partial(noisy, deviation=0.1),
    "noise of 0.3": partial(noisy, deviation=0.3),
    "half as bright": partial(scaled, factor=0.5, operation=ops.adjust_brightness),
    "half the contrast": partial(scaled, factor=0.5, operation=ops.adjust_contrast),
}


def accuracies(model: Classifier, batches: Iterable[Batch]) -> dict[str, float]:
    """Share of the images whose label is right, by what was done to them."""
    draws = {name: torch.Generator().manual_seed(SEED) for name in CHANGES}
    right, seen = dict.fromkeys(CHANGES, 0), 0
    for images, labels in batches:
        for name, change in CHANGES.items():
            logits = _logits(model, change(images, draws[name]))
            right[name] += int((logits.argmax(1) == labels).sum())
        seen += len(labels)
    return {name: count / seen for name, count in right.items()}


def all_logits(model: Classifier, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits, (N, C), and labels, (N,)."""
    logits, labels = zip(*((_logits(model, images), labels) for images, labels in batches), strict=True)
    return torch.cat(logits), torch.cat(labels)


@torch.inference_mode()
def _logits(model: Classifier, images: Tensor) -> Tensor:
    return model(images.to(model.device)).cpu().double()


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature of least log-loss, between 1/20 and 20, to a thousandth.

    The loss is convex in the inverse temperature, so halving the range by the slope's sign finds the only minimum.
    """
    low, high = 1 / 20, 20.0  # of the inverse
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _slope(logits, labels, middle) > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


def _slope(logits: Tensor, labels: Tensor, inverse: float) -> float:
    """Of the log-loss by the inverse temperature: the mean logit under the softmax, less that of the label."""
    expected = ((inverse * logits).softmax(1) * logits).sum(1)
    return float((expected - logits.gather(1, labels[:, None])[:, 0]).mean())


def calibrations(logits: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    """Expected calibration error and log-loss, as the logits are and at the temperature."""
    found: dict[str, float] = {}
    for name, scaled_logits in (("", logits), ("_at_temperature", logits / temperature)):
        found[f"calibration_error{name}"] = calibration(scaled_logits.softmax(1), labels).error
        found[f"log_loss{name}"] = float(F.cross_entropy(scaled_logits, labels))
    return found
