"""A multilayer perceptron in raw tensors, whose gradients come from the delta recursion of the textbooks.

Layer l computes z_l = W_l a_(l-1) + b_l and a_l = f(z_l); a_0 is the input, and the last a is the output p. With
d_l = dL / dz_l, the loss of one row has the gradients

    d_L = that of the output and the loss, see `output_delta`
    d_l = (W_(l+1)^T d_(l+1)) * f'(z_l)        from the last hidden layer down to the first
    dL / dW_l = d_l a_(l-1)^T,  dL / db_l = d_l

(Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors"). Rows are stacked: z, a and
d are (B, units), and all losses are means over the B rows.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from experiments.fundamentals.softmax_regression import softmax

Output = Literal["sigmoid", "softmax"]
Loss = Literal["squared error", "cross-entropy"]

# Each activation, and its slope as a function of its value: what backward needs is what forward has kept.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (torch.sigmoid, lambda a: a * (1 - a)),
    "tanh": (torch.tanh, lambda a: 1 - a**2),
    "relu": (torch.relu, lambda a: (a > 0).to(a.dtype)),
}


class Layer(NamedTuple):
    """The parameters of one layer, or their gradients."""

    weight: Tensor  # (units, inputs)
    bias: Tensor  # (units,)


class Kind(NamedTuple):
    """What a network computes: the activation of its hidden layers, its output, and the loss of that."""

    activation: str = "sigmoid"
    output: Output = "softmax"
    loss: Loss = "cross-entropy"

    @property
    def name(self) -> str:
        return f"{self.output}, {self.loss}"


def make_layers(widths: Sequence[int], generator: torch.Generator) -> list[Layer]:
    """Layers from widths[0] inputs to widths[-1] outputs, float64; weights of variance 1 / inputs, biases 0."""
    layers = []
    for inputs, units in pairwise(widths):
        weight = torch.randn(units, inputs, generator=generator, dtype=torch.float64) / inputs**0.5
        layers.append(Layer(weight, torch.zeros(units, dtype=torch.float64)))
    return layers


def forward(layers: Sequence[Layer], rows: Tensor, kind: Kind) -> list[Tensor]:
    """The activations of all layers: the rows, (B, widths[0]), the hidden ones, and the logits z_L, (B, widths[-1])."""
    activate, _ = ACTIVATIONS[kind.activation]
    activations = [rows]
    for layer in layers[:-1]:
        activations.append(activate(activations[-1] @ layer.weight.T + layer.bias))
    return [*activations, activations[-1] @ layers[-1].weight.T + layers[-1].bias]


def predict(logits: Tensor, output: Output) -> Tensor:
    """The outputs p of the logits, both (B, C)."""
    return softmax(logits) if output == "softmax" else logits.sigmoid()


def loss_of(logits: Tensor, targets: Tensor, kind: Kind) -> Tensor:
    """The mean over rows of half the squared error, or of the cross-entropy, summed over outputs; targets are (B, C).

    With sigmoid outputs the cross-entropy is that of C questions with two answers each.
    """
    p = predict(logits, kind.output)
    if kind.loss == "squared error":
        return (p - targets).square().sum(1).mean() / 2
    if kind.output == "softmax":
        return (logits.logsumexp(1) - (targets * logits).sum(1)).mean()
    # -y log p - (1 - y) log(1 - p), of which 1 - p = sigmoid(-z)
    return (logits.abs().neg().exp().log1p() + logits.relu() - targets * logits).sum(1).mean()


def output_delta(p: Tensor, targets: Tensor, kind: Kind) -> Tensor:
    """The gradient of a row's loss at the logits, (B, C), from the outputs p and the targets, (B, C).

    Cross-entropy cancels the slope of either output. Squared error keeps it: p (1 - p) of a sigmoid, and the Jacobian
    of a softmax. Both go to 0 where the output is sure, also where it is sure of what is wrong.
    """
    error = p - targets
    if kind.loss == "cross-entropy":
        return error
    if kind.output == "sigmoid":
        return error * p * (1 - p)
    return p * (error - (p * error).sum(1, keepdim=True))  # softmax_jacobian(p) @ error, without building it


def softmax_jacobian(p: Tensor) -> Tensor:
    """dp_i / dz_j = p_i (delta_ij - p_j), (C, C), of probabilities (C,)."""
    return p.diag() - p[:, None] * p


def gradients(layers: Sequence[Layer], activations: Sequence[Tensor], targets: Tensor, kind: Kind) -> list[Layer]:
    """The gradients of `loss_of` for each layer, by the recursion from the last layer to the first."""
    _, slope = ACTIVATIONS[kind.activation]
    delta = output_delta(predict(activations[-1], kind.output), targets, kind) / len(targets)  # (B, C)
    found = []
    for layer, below in zip(reversed(layers), reversed(activations[:-1]), strict=True):
        found.append(Layer(delta.T @ below, delta.sum(0)))
        delta = (delta @ layer.weight) * slope(below)  # (B, inputs); of the rows themselves it is not used
    return found[::-1]


def descend(layers: Sequence[Layer], slopes: Sequence[Layer], lr: float) -> None:
    """Takes one step of gradient descent, in place."""
    for layer, slope in zip(layers, slopes, strict=True):
        for parameter, gradient in zip(layer, slope, strict=True):
            parameter -= lr * gradient


def central_difference(loss: Callable[[], Tensor], parameter: Tensor, place: int, step: float = 1e-5) -> float:
    """The slope of the loss in the entry of `parameter` at the flat index `place`, which is left as it was.

    Its error is that of rounding, 1e-16 / step, and of the third derivative, step^2 / 6.
    """
    flat = parameter.view(-1)
    value = float(flat[place])
    losses = []
    for moved in (value + step, value - step):
        flat[place] = moved
        losses.append(float(loss()))
    flat[place] = value
    return (losses[0] - losses[1]) / (2 * step)
