"""Linear layers without an activation between them: their product is one layer, and its rank is that of the input."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.fundamentals.backpropagation_figures import draw_ranks
from experiments.fundamentals.two_class import TwoClass, predict, train
from experiments.fundamentals.two_class_figures import draw_boundaries
from experiments.fundamentals.two_class_problems import xor
from lit_modules.nets.mlp import MLP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS, WIDTHS, STEPS, LR = 600, (8, 8), 200, 0.05  # of Adam


def product_of(net: MLP) -> nn.Linear:
    """The one layer that linear layers are: W3 (W2 (W1 x + b1) + b2) + b3 = (W3 W2 W1) x + (W3 (W2 b1 + b2) + b3)."""
    linears = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    weight, bias = linears[0].weight.detach(), linears[0].bias.detach()
    for layer in linears[1:]:
        weight, bias = layer.weight.detach() @ weight, layer.weight.detach() @ bias + layer.bias.detach()
    outputs, inputs = weight.shape
    product = nn.Linear(inputs, outputs, dtype=weight.dtype)
    product.load_state_dict({"weight": weight, "bias": bias})
    return product


@torch.no_grad()
def singular_values(net: MLP, features: Tensor) -> np.ndarray:
    """Those of the last hidden layer's values for all rows, (N, units), with the mean taken off, from the largest."""
    values = net.hidden(features)
    return torch.linalg.svdvals(values - values.mean(0)).numpy()


def compare_linear_layers(seed: int) -> tuple[dict[str, Any], dict[str, "Figure"]]:
    """Three linear layers, the product of them, and three layers with tanh, on points that no line separates."""
    problem = xor(POINTS, seed)
    nets = {name: MLP((2,), 1, WIDTHS, activation) for name, activation in (("linear", "identity"), ("tanh", "tanh"))}
    models = {name: train(net, _adam, problem.train, STEPS) for name, net in nets.items()}
    product = TwoClass(product_of(nets["linear"]), _adam).eval()
    gap = np.abs(predict(product, problem.test)[1] - predict(models["linear"], problem.test)[1]).max()
    values = {name: singular_values(net, problem.test.features) for name, net in nets.items()}
    metrics: dict[str, Any] = {"linear/gap_from_one_layer": float(gap)}
    for name, model in models.items():
        labels, probabilities = predict(model, problem.test)
        metrics[f"{name}/acc"] = float(np.mean((probabilities >= 0.5) == labels))
        metrics[f"{name}/rank"] = int((values[name] > 1e-10 * values[name][0]).sum())
    shown = {"three linear layers": models["linear"], "their product": product, "with tanh between": models["tanh"]}
    return metrics, {"linear_boundaries": draw_boundaries(shown, problem), "linear_ranks": draw_ranks(values)}


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, LR)
