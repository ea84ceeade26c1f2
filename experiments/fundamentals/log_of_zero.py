"""The cross-entropy of class 0 at the logits (z, 0), in float32: its logarithm, with and without an epsilon."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]  # from logits, (N, 2), to the loss of each row, (N,)


class Curve(NamedTuple):
    """A loss at each z, (N,), and its slope there, which should be softmax - 1."""

    loss: Tensor
    slope: Tensor


def losses(epsilons: list[float]) -> dict[str, Loss]:
    """The ways to write the loss, by what they are called."""
    ways: dict[str, Loss] = {
        "log_softmax": lambda logits: -logits.log_softmax(1)[:, 0],
        "log(softmax)": lambda logits: -logits.softmax(1)[:, 0].log(),
    }
    return ways | {f"log(softmax + {epsilon:g})": partial(_with_epsilon, epsilon=epsilon) for epsilon in epsilons}


def _with_epsilon(logits: Tensor, epsilon: float) -> Tensor:
    return -(logits.softmax(1)[:, 0] + epsilon).log()


def curve_of(loss: Loss, z: Tensor) -> Curve:
    """The loss at the logits (z, 0), z of (N,), and its slope by autograd."""
    z = z.clone().requires_grad_()
    values = loss(torch.stack([z, torch.zeros_like(z)], dim=1))
    (slope,) = torch.autograd.grad(values.sum(), z)
    return Curve(values.detach(), slope)


def half_slope(curve: Curve, z: Tensor) -> float:
    """The largest z, of those in increasing order, whose slope is half of what it should be, or less, or not a number.

    Minus infinity if there is none: the slope is right everywhere.
    """
    right = curve.slope.abs() > 0.5 * (z.double().sigmoid() - 1).abs()
    return float(z[~right & (z < 0)].max()) if (~right & (z < 0)).any() else -torch.inf
