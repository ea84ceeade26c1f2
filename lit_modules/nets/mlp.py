"""Multilayer perceptron of any widths and activation, initialised to suit the activation."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from lit_modules.choose import choose

__all__ = ["MLP"]


def he(weight: Tensor) -> None:
    """Keeps the variance through rectifiers. He et al. 2015, "Delving deep into rectifiers"."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def glorot(weight: Tensor) -> None:
    """Keeps the variance of values and gradients near a linear point. Glorot and Bengio 2010."""
    nn.init.xavier_uniform_(weight)


def lecun(weight: Tensor) -> None:
    """Variance 1 / fan-in, which SELU needs. Klambauer et al. 2017, "Self-normalizing neural networks"."""
    nn.init.kaiming_normal_(weight, nonlinearity="linear")


ACTIVATIONS: dict[str, tuple[type[nn.Module], Callable[[Tensor], None]]] = {
    "relu": (nn.ReLU, he),
    "leaky_relu": (nn.LeakyReLU, he),
    "elu": (nn.ELU, he),
    "selu": (nn.SELU, lecun),
    "softplus": (nn.Softplus, he),
    "sigmoid": (nn.Sigmoid, glorot),
    "tanh": (nn.Tanh, glorot),
    "silu": (nn.SiLU, he),
    "gelu": (nn.GELU, he),
}


class MLP(nn.Module):
    """Linear layers with an activation, and dropout, after each but the last.

    Args:
        widths: units of each hidden layer.
        activation: one of `ACTIVATIONS`.
        dropout: probability of zeroing a hidden unit; SELU gets the alpha dropout that keeps its moments.

    Raises:
        ValueError: an unknown activation, a width below 1, or a dropout outside 0..1.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[int] = (512, 256),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        activate, initialise = choose("activation", activation, ACTIVATIONS)
        if min(widths, default=1) < 1:
            raise ValueError(f"net_args widths {list(widths)}: every layer needs at least one unit")
        if not 0 <= dropout < 1:
            raise ValueError(f"net_args dropout {dropout}: must be from 0 to below 1")
        drop = nn.AlphaDropout if activation == "selu" else nn.Dropout
        sizes = [math.prod(input_shape), *widths]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            linear = nn.Linear(fan_in, fan_out)
            initialise(linear.weight)
            nn.init.zeros_(linear.bias)
            layers += [linear, activate(), drop(dropout)] if dropout else [linear, activate()]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(sizes[-1], num_outputs)
        lecun(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x.flatten(1))  # (B, C, H, W) -> (B, widths[-1])
        return self.output(x)  # (B, num_outputs)
