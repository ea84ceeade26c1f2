"""Means over samples that are exact on any batch sizes and any number of devices."""

from collections.abc import Callable

import torch
from torch import Tensor


class Means:
    """Sums per sample, and their number, kept on the device until `compute` reads them.

    A mean of batch means, or of rank means, is wrong where these differ in size; a sum and a count
    are not. Adding costs one small operation a metric and does not wait for the device.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, count: int, **sums: Tensor) -> None:
        """Adds the sums over `count` samples, each a tensor of one value."""
        self.count += count
        for name, value in sums.items():
            if name in self.sums:
                self.sums[name].add_(value.detach())
            else:
                self.sums[name] = value.detach().to(_widest(value.device), copy=True)

    def compute(self, sum_over_ranks: Callable[[Tensor], Tensor] = lambda total: total) -> tuple[dict[str, float], int]:
        """Returns the means by name and the number of samples over all ranks, and starts anew.

        Args:
            sum_over_ranks: adds a tensor up over the ranks of a distributed run.
        """
        names = list(self.sums)
        device = self.sums[names[0]].device
        count = torch.tensor(self.count, dtype=_widest(device), device=device)
        *sums, total = sum_over_ranks(torch.stack([*self.sums.values(), count])).tolist()
        self.count, self.sums = 0, {}
        return {name: value / total for name, value in zip(names, sums, strict=True)}, int(total)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
