"""Means over samples that are exact for any batch sizes and any number of devices."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Means:
    """Sums per sample, and their number, kept on the device until `compute` reads them.

    A mean of batch means, or of rank means, is wrong if these differ in size; a sum and a count
    are not. Adding costs one small operation per metric and does not wait for the device.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}
        self._last: tuple[int, dict[str, Tensor]] = (0, {})  # what was added last, which can still be forgotten
        self._carried: dict[str, float] = {}  # from a checkpoint; joins the sums once their device is known

    def add(self, count: int, **sums: Tensor) -> None:
        """Adds the sums over `count` samples, each a tensor of one value, without a gradient.

        The tensors must not change until `settle` is called.
        """
        self.settle()
        self._last = count, sums

    def forget(self) -> None:
        """Takes back what was added last, but not that there are such sums: all ranks must have the same ones."""
        self._last = 0, {name: torch.zeros_like(value) for name, value in self._last[1].items()}

    def settle(self) -> None:
        """Makes what was added last part of the sums: it can no longer be forgotten, and its tensors may change."""
        count, sums = self._last
        self._last = 0, {}
        self.count += count
        if sums and sums.keys() == self.sums.keys():
            torch._foreach_add_([self.sums[name] for name in sums], list(sums.values()))
            return
        for name, value in sums.items():
            so_far = self.sums[name] if name in self.sums else self._carried.pop(name, 0.0)
            self.sums[name] = value.to(widest(value.device)) + so_far

    def compute(self, sum_over_ranks: Callable[[Tensor], Tensor] = lambda total: total) -> tuple[dict[str, float], int]:
        """Returns the means by name and the number of samples over all ranks, and starts again from 0.

        Of no samples there are no means.

        Args:
            sum_over_ranks: adds a tensor up over the ranks of a distributed run.
        """
        state = self.state_dict(sum_over_ranks)
        self.load_state_dict({"count": 0, "sums": {}})
        count = state["count"]
        return {name: value / count for name, value in state["sums"].items()} if count else {}, count

    def state_dict(self, sum_over_ranks: Callable[[Tensor], Tensor] = lambda total: total) -> dict[str, Any]:
        """The sums and the count over all ranks, as plain numbers; a single rank should load them."""
        self.settle()
        if not self.sums:
            return {"count": self.count, "sums": dict(self._carried)}
        device = next(iter(self.sums.values())).device
        count = torch.tensor(self.count, dtype=widest(device), device=device)
        *sums, total = sum_over_ranks(torch.stack([*self.sums.values(), count])).tolist()
        return {"count": int(total), "sums": dict(zip(self.sums, sums, strict=True))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self._carried, self.sums, self._last = state["count"], dict(state["sums"]), {}, (0, {})


def total(mean: Tensor, batch: Tensor) -> Tensor:
    """The sum over a batch, without a gradient, of a quantity with this mean."""
    return mean.detach() * len(batch)


def widest(device: torch.device) -> torch.dtype:
    """The most precise floating-point type that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64


def precise(outputs: Tensor) -> Tensor:
    """A network's outputs as float32, or as float64 if they are that: losses and metrics never have less precision."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()
