"""Multilayer perceptron of any widths and activation, initialised to suit the activation, or as asked for."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from basics.choose import choose
from basics.errors import InputError

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


INITS: dict[str, Callable[[Tensor], None] | None] = {"he": he, "xavier": glorot, "lecun": lecun, "default": None}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}

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
    "identity": (nn.Identity, lecun),  # none: all layers together are one linear layer
}


class Residual(nn.Sequential):
    """Adds the output of the layers to their input. He et al. 2016, "Deep residual learning"."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class MLP(nn.Module):
    """Linear layers with an activation, and dropout, after each but the last.

    Args:
        widths: units of each hidden layer.
        activation: one of `ACTIVATIONS`.
        slope: of leaky_relu, where its input is negative.
        dropout: probability of zeroing a hidden unit; SELU gets the alpha dropout that keeps its moments.
        init: he, xavier or lecun for all layers, or default for what torch draws, weights and biases, from
            U(-1, 1) / sqrt(fan-in); None: what suits the activation, and lecun for the output.
        norm: batch (Ioffe and Szegedy 2015) or layer (Ba et al. 2016), before each activation; None: none.
        residual: adds a hidden layer's input to its output if both have the same width.

    Raises:
        InputError: an unknown activation, init or norm, a width below 1, or a dropout outside 0..1.
    """

    head = "output"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[int] = (512, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        init: str | None = None,
        norm: str | None = None,
        residual: bool = False,
        slope: float = 0.01,
    ) -> None:
        super().__init__()
        activate, suitable = choose("activation", activation, ACTIVATIONS)
        normalise = choose("norm", norm, NORMS) if norm else None
        if min(widths, default=1) < 1:
            raise InputError(f"net_args widths {list(widths)}: every layer needs at least one unit")
        if not 0 <= dropout < 1:
            raise InputError(f"net_args dropout {dropout}: must be from 0 to below 1")
        drop = nn.AlphaDropout if activation == "selu" else nn.Dropout
        sizes = [math.prod(input_shape), *widths]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layer: list[nn.Module] = [_linear(fan_in, fan_out, init, suitable)]
            layer += [normalise(fan_out)] if normalise else []
            layer += [nn.LeakyReLU(slope) if activation == "leaky_relu" else activate()]
            layer += [drop(dropout)] if dropout else []
            layers += [Residual(*layer)] if residual and fan_in == fan_out else layer
        self.hidden = nn.Sequential(*layers)
        self.output = _linear(sizes[-1], num_outputs, init, lecun)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x.flatten(1))  # (B, C, H, W) -> (B, widths[-1])
        return self.output(x)  # (B, num_outputs)


def _linear(fan_in: int, fan_out: int, init: str | None, suitable: Callable[[Tensor], None]) -> nn.Linear:
    linear = nn.Linear(fan_in, fan_out)
    initialise = choose("init", init, INITS) if init else suitable
    if initialise:  # torch has initialised it already
        initialise(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear
