"""Linear regression: one linear layer, which starts at 0, as there is no symmetry to break."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Linear"]


class Linear(nn.Module):
    """One linear layer over all values of the input. Its outputs serve as logits too."""

    head = "linear"

    def __init__(self, input_shape: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(input_shape), num_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))  # (B, F) -> (B, num_outputs)
