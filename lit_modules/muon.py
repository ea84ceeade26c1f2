"""Muon: momentum whose every update of a matrix is made orthogonal.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale of the update is that of
Liu et al. 2025, "Muon is scalable for LLM training", so that one learning rate serves all parameters.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan's quintic: drives singular values to 0.7..1.2 in five steps
BETAS, EPS = (0.9, 0.95), 1e-8  # of Adam


class Muon(Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay for hidden weights, Adam for all else.

    A convolution's filters, (O, I, H, W), count as a matrix of (O, I * H * W).

    Args:
        hidden: which of the parameters are matrices between hidden layers, see `heads.hidden_matrices`.
        lr: of both; the root mean square of an update is 0.2 lr, as is usual for Adam.
        momentum: of the hidden weights.
        weight_decay: a hidden weight loses lr * weight_decay of itself at each step.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        hidden: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}.items():
            if not value >= 0 or (name == "momentum" and value >= 1):  # nor NaN, which is not less than 0
                raise ValueError(f"{name} {value}: out of its range")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.hidden = set(hidden)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if param in self.hidden:
                    param.mul_(1 - group["lr"] * group["weight_decay"])
                    update = self._muon(param, group["momentum"])
                else:
                    update = self._adam(param)
                param.sub_(update, alpha=group["lr"])
        return loss

    def _muon(self, param: Tensor, momentum: float) -> Tensor:
        state = self.state[param]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(param)
        state["momentum"].lerp_(param.grad, 1 - momentum)
        ahead = param.grad.lerp(state["momentum"], momentum)  # Nesterov
        matrix = orthogonalize(ahead.flatten(1))
        return matrix.view_as(param) * 0.2 * max(matrix.shape) ** 0.5

    def _adam(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if "mean" not in state:  # a run of before may have counted this one among the hidden
            state.update(step=0, mean=torch.zeros_like(param), square=torch.zeros_like(param))
        state["step"] += 1
        state["mean"].lerp_(param.grad, 1 - BETAS[0])
        state["square"].lerp_(param.grad.square(), 1 - BETAS[1])
        mean, square = (
            state[m] / (1 - beta ** state["step"]) for m, beta in zip(("mean", "square"), BETAS, strict=True)
        )
        return mean / (square.sqrt() + EPS)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of an (m, n) matrix, by Newton and Schulz's iteration."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # (m, n) with m <= n: the products below are the smaller
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T  # (m, m)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
