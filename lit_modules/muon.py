"""Muon: momentum whose every update of a matrix is made orthogonal.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale of the update is that of
Liu et al. 2025, "Muon is scalable for LLM training", so that one learning rate serves all parameters.

A step on a GPU takes as long as launching its kernels, so there are few of them: all matrices of the same shape, or
nearly the same, are multiplied together, and elementwise operations are done for all tensors at once by torch's
`_foreach` functions, of which its own optimizers are made.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from basics.errors import InputError

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan's quintic: drives singular values to 0.7..1.2 in five steps
BETAS, EPS = (0.9, 0.95), 1e-8  # of Adam
PADDING = 0.05  # multiplications by zeros, as a share of the others, worth paying for fewer kernels
# The same as a number: a small GPU takes 0.1 ms for these, as long as a host for the 15 launches of a stack.
ON_GPU = 2e9


class Muon(Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay for hidden weights, Adam for everything else.

    A convolution's filters, (O, I, H, W), count as a matrix of (O, I * H * W).

    Args:
        hidden: which of the parameters are matrices between hidden layers, see `heads.hidden_matrices`.
        lr: learning rate of both; the root mean square of an update is 0.2 lr, as is usual for Adam.
        momentum: for the hidden weights.
        weight_decay: a hidden weight loses lr * weight_decay of itself at each step.

    Raises:
        InputError: a number is out of its range.
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
            if not value >= 0 or (name == "momentum" and value >= 1):  # catches NaN too, which is not less than 0
                raise InputError(f"{name} {value}: out of its range")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.hidden = set(hidden)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if hidden := [param for param in params if param in self.hidden]:
                self._muon(hidden, **{name: group[name] for name in ("lr", "momentum", "weight_decay")})
            if others := [param for param in params if param not in self.hidden]:
                self._adam(others, group["lr"])
        return loss

    def _muon(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        grads = _gradients(params)
        momenta = self._averages("momentum", params)
        torch._foreach_lerp_(momenta, grads, 1 - momentum)
        # Nesterov's (1 - momentum) of the gradient and `momentum` of the average, up to a factor that is divided out.
        updates = torch._foreach_add(grads, momenta, alpha=momentum / (1 - momentum))
        orthogonalize_(updates)
        torch._foreach_mul_(updates, [0.2 * max(matrix_shape(param)) ** 0.5 for param in params])
        torch._foreach_mul_(params, 1 - lr * weight_decay)
        torch._foreach_add_(params, updates, alpha=-lr)

    def _adam(self, params: list[Tensor], lr: float) -> None:
        grads = _gradients(params)
        means, squares = self._averages("mean", params), self._averages("square", params)
        steps = [self._count_step(param) for param in params]
        torch._foreach_lerp_(means, grads, 1 - BETAS[0])
        torch._foreach_mul_(squares, BETAS[1])
        torch._foreach_addcmul_(squares, grads, grads, 1 - BETAS[1])
        # Both averages started at 0, and are still too small by the weight of that start.
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1 - BETAS[1] ** step) ** 0.5 for step in steps])
        torch._foreach_add_(roots, EPS)
        torch._foreach_addcdiv_(params, means, roots, [-lr / (1 - BETAS[0] ** step) for step in steps])

    def _averages(self, name: str, params: list[Tensor]) -> list[Tensor]:
        for param in params:
            if name not in self.state[param]:  # an earlier run may have counted it among the others
                self.state[param][name] = torch.zeros_like(param)
        return [self.state[param][name] for param in params]

    def _count_step(self, param: Tensor) -> int:
        self.state[param]["step"] = self.state[param].get("step", 0) + 1
        return self.state[param]["step"]


def _gradients(params: list[Tensor]) -> list[Tensor]:
    """Of parameters that have one each."""
    return [param.grad for param in params if param.grad is not None]


def matrix_shape(tensor: Tensor) -> tuple[int, int]:
    """Of a convolution's filters, (O, I, H, W), that is (O, I * H * W)."""
    return len(tensor), tensor.numel() // len(tensor)


class Stack(NamedTuple):
    """Matrices that are multiplied together; smaller ones have zeros at their ends."""

    rows: int  # at most as many as columns, so that the product with its own transpose is the smaller one
    columns: int
    members: tuple[int, ...]

    def work(self) -> int:
        """Multiplications in a step of the iteration, for all members."""
        return len(self.members) * self.rows**2 * (2 * self.columns + self.rows)

    def join(self, other: "Stack") -> "Stack":
        rows, columns = max(self.rows, other.rows), max(self.columns, other.columns)
        return Stack(rows, columns, self.members + other.members)


@cache
def stacks(shapes: tuple[tuple[int, int], ...], least_budget: float = 0.0) -> tuple[Stack, ...]:
    """Puts matrices of the same shape, transposed or not, in one stack, then joins stacks that cost the fewest zeros.

    Args:
        least_budget: multiplications by zeros that are allowed in any case.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for number, shape in enumerate(shapes):
        alike.setdefault((min(shape), max(shape)), []).append(number)
    found = [Stack(*shape, tuple(members)) for shape, members in sorted(alike.items())]
    budget = max(least_budget, PADDING * sum(stack.work() for stack in found))
    while len(found) > 1:
        extra = [one.join(two).work() - one.work() - two.work() for one, two in pairwise(found)]
        cheapest = min(extra)
        if cheapest > budget:
            break
        budget -= cheapest
        first = extra.index(cheapest)
        found[first : first + 2] = [found[first].join(found[first + 1])]
    return tuple(found)


def orthogonalize_(tensors: Sequence[Tensor]) -> None:
    """Turns each matrix U S V^T (its singular value decomposition) into about U V^T, by Newton-Schulz iteration."""
    if any(hasattr(tensor, "full_tensor") for tensor in tensors):
        orthogonalize_parts_(tensors)
        return
    plan = stacks(tuple(map(matrix_shape, tensors)), ON_GPU if tensors[0].is_cuda else 0.0)
    ordered = [tensors[number] for stack in plan for number in stack.members]
    dtype = torch.bfloat16 if tensors[0].is_cuda else torch.float32
    whole = [tensors[0].new_zeros(len(stack.members), *stack[:2], dtype=dtype) for stack in plan]
    torch._foreach_copy_(windows(whole, ordered), ordered)
    torch._foreach_copy_(ordered, windows([newton_schulz(x) for x in whole], ordered))


def orthogonalize_parts_(tensors: Sequence[Any]) -> None:
    """The same for torch's DTensors, whose rows are spread over devices: each device computes the whole matrices."""
    from torch.distributed.tensor import distribute_tensor  # here, because its import takes time

    whole = [tensor.full_tensor() for tensor in tensors]
    orthogonalize_(whole)
    for tensor, result in zip(tensors, whole, strict=True):
        # Without a source rank no device sends anything; all have the same values.
        tensor.copy_(distribute_tensor(result, tensor.device_mesh, tensor.placements, src_data_rank=None))


def windows(stacked: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """For each tensor, its part of the stacks, viewed in its own shape."""
    places = [(x, offset) for x in stacked for offset in range(0, x.numel(), x.stride(0))]
    return [window(x, offset, tensor) for (x, offset), tensor in zip(places, tensors, strict=True)]


def window(x: Tensor, offset: int, tensor: Tensor) -> Tensor:
    """One view instead of four: selects the matrix, cuts off padding, transposes if need be, and unflattens."""
    rows, columns = matrix_shape(tensor)
    row, column = (1, x.stride(1)) if rows > columns else (x.stride(1), 1)
    inner = [column * math.prod(tensor.shape[dim + 1 :]) for dim in range(1, tensor.ndim)]
    return x.as_strided(tensor.shape, (row, *inner), offset)


def newton_schulz(x: Tensor, steps: int = 5) -> Tensor:
    """Orthogonalises each of the matrices, (k, m, n) with m <= n; its argument is overwritten.

    Rows and columns of zeros stay zero and change nothing else, since they add nothing to the norm or to a product.
    """
    a, b, c = COEFFICIENTS
    x.div_(torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).add_(1e-7))
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)  # (k, m, m)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)  # a X + (b X X^T + c (X X^T)^2) X
    return x
