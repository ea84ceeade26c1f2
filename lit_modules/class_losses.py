"""Losses of a classification by name, each of logits, (B, C), and labels, (B,), as torch's cross_entropy has them.

ce     cross-entropy of the softmax
bce    one sigmoid for each class, a yes or no of its own: the sum over classes of binary cross-entropies
mse    squared distance of the softmax from the true class's 1 and the others' 0 (Brier 1950)
focal  cross-entropy in which each sample counts by (1 - p)^2, p being the probability of its class: those that are
       easy already hardly count (Lin et al. 2017, "Focal loss for dense object detection", equation 4, for a softmax)

The gradient of bce at a logit is p - y, as that of ce. That of mse has the softmax's slope as a factor, and vanishes
where the network is sure, even of a wrong class: see experiments/backpropagation.py.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FOCUS = 2.0  # gamma of the focal loss; the best in the paper's table 1b


def bce(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    targets = _targets(logits, labels, label_smoothing)
    return _reduced(F.binary_cross_entropy_with_logits(logits, targets, reduction="none"), reduction)


def mse(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    return _reduced((logits.softmax(1) - _targets(logits, labels, label_smoothing)) ** 2, reduction)


def focal(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    logs = logits.log_softmax(1)
    each = -_targets(logits, labels, label_smoothing) * (1 - logs.exp()) ** FOCUS * logs
    return _reduced(each, reduction)


LOSSES: dict[str, Callable[..., Tensor]] = {"ce": F.cross_entropy, "bce": bce, "mse": mse, "focal": focal}


def chance_level(name: str, num_classes: int) -> tuple[float, str]:
    """The loss of a network that knows nothing, its logits all 0, and the formula for it."""
    loss = LOSSES[name](torch.zeros(1, num_classes, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))
    formulas = {"ce": f"ln {num_classes}", "bce": f"{num_classes} ln 2", "mse": f"1 - 1/{num_classes}"}
    formulas["focal"] = f"(1 - 1/{num_classes})^2 ln {num_classes}"
    return float(loss), formulas[name]


def _targets(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """1 at the label and 0 elsewhere, (B, C), with a share of it spread over all classes."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    hot = (labels.unsqueeze(1) == classes).to(logits.dtype)
    return hot * (1 - label_smoothing) + label_smoothing / logits.shape[1]


def _reduced(each: Tensor, reduction: str) -> Tensor:
    """The sum over classes, then the mean or the sum over samples, which is 0 for none; or each sample's, (B,)."""
    losses = each.sum(1)
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()
