"""Activation functions, and what becomes of the gradient on its way down through a deep network of each.

    python experiments/activations.py                              8 activations, 7 ways to build the network
    python experiments/activations.py --activation sigmoid,relu --depth 30
    python experiments/activations.py --sample false               on the whole of MNIST

The network is an MLP of 24 hidden layers of 64 units, on handwritten digits. Figures show the norms of its gradients,
layer by layer, at initialisation and after 100 steps of plain gradient descent. The initial weights are torch's own,
Xavier's, He's, LeCun's, or torch's own together with BatchNorm, residual connections, or both.

The first command shows that

- with torch's own weights, sigmoid's gradient shrinks to a seventh at each layer, so that 2e-20 of it reaches the
  first one. No initial weights help; BatchNorm and residual connections do.
- He's weights keep relu's gradient, Xavier's tanh's and LeCun's selu's, within a factor of ten over all layers.
- Residual connections alone let relu's gradient explode, because each layer adds to the outputs of the one before.
  Together with BatchNorm they do not.
- After 100 steps, no activation has learned anything with torch's own weights (9 to 10 % on the validation split), and
  all of them have with BatchNorm and residual connections (81 to 97 %).
"""

import math
import textwrap
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from basics.terminal import columns
from datamodules import MNIST
from experiments.fundamentals.activation_figures import draw_accuracies, draw_functions, draw_norms
from experiments.fundamentals.deep_nets import layer_norms
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags, quiet_trainer
from lit_modules import Classifier
from lit_modules.nets.mlp import ACTIVATIONS

# The options of the network. Repairs are shown on torch's own initial weights, which need them most.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": dict(init="default"),
    "xavier": dict(init="xavier"),
    "he": dict(init="he"),
    "lecun": dict(init="lecun"),
    "batchnorm": dict(init="default", norm="batch"),
    "residual": dict(init="default", residual=True),
    "both": dict(init="default", norm="batch", residual=True),
}

# The 64 x 64 weights of a layer start with a norm of 4.6, torch's own, to 11.3, He's. At the default rate of 0.02, a
# gradient whose norm is below the first of these numbers moves them by less than 5 % in a thousand steps, even if all
# steps agree: the layer stays as chance made it. Above the second, a single step moves them by more than 8 %, and what
# the layer has learned is lost.
HEALTHY = (1e-2, 50.0)
TRY_NEXT = "--activation relu,tanh --depth 50  # twice as deep: which remedies still hold?"


class Norms(NamedTuple):
    """The gradient norm of each linear layer of one network, the output layer last, and what the network learned."""

    initial: list[float]
    trained: list[float]
    accuracy: float  # on the validation split

    def as_data(self) -> dict[str, Any]:
        """For metrics.json, which has null where a norm is not finite."""
        finite = {
            state: [norm if math.isfinite(norm) else None for norm in getattr(self, state)]
            for state in ("initial", "trained")
        }
        return finite | {"val/acc": self.accuracy}


def value_and_slope(activation: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the derivative, both (N,), of the activation with this name at x, (N,)."""
    x = x.clone().requires_grad_()
    kind, _ = ACTIVATIONS[activation]
    value = kind()(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slope


def steepest(activation: str) -> float:
    """The largest slope of the activation, or the limit that its slopes near, as softplus' do 1 far out."""
    far_out = torch.linspace(-40, 40, 4001, dtype=torch.float64)  # exp(-40) is below float64's rounding of 1
    return float(value_and_slope(activation, far_out)[1].max())


def study_network(
    data: MNIST, batch: tuple[Tensor, Tensor], options: dict[str, Any], lr: float, steps: int, seed: int
) -> Norms:
    """Trains an MLP with these options, and measures its gradients on the batch before and after."""
    seed_everything(seed, verbose=False)
    model = Classifier(
        "mlp", data.input_shape, data.num_classes, data.mean, data.std, options, lr=lr, momentum=0.0, nesterov=False
    )
    initial = layer_norms(model, *batch)
    trainer = quiet_trainer(max_epochs=-1, max_steps=steps, limit_val_batches=0)
    trainer.fit(model, data)
    trainer.limit_val_batches = 1.0
    accuracy = trainer.validate(model, data, verbose=False)[0]["val/acc"]
    return Norms(initial, layer_norms(model, *batch), accuracy)


@dataclass(frozen=True, kw_only=True)
class ActivationFlags(StudyFlags):
    """Which activations, in which networks, and how these are trained.

    Args:
        activation: names, separated by commas, such as relu,tanh; any that the MLP knows.
        depth: hidden layers.
        width: units in each hidden layer.
        lr: learning rate of the short training, which is plain gradient descent.
        batch_size: images per step.
        steps: length of the training.
        sample: use scikit-learn's digits, which need no download; false: MNIST.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
        seed: of the validation split, the initial weights and the order of batches.
    """

    activation: str = "sigmoid,tanh,relu,leaky_relu,elu,selu,softplus,gelu"
    depth: int = 24
    width: int = 64
    lr: float = 0.02
    batch_size: int = 128
    steps: int = 100
    sample: bool = True
    data_dir: str = "data"
    seed: int = 0


DEFAULTS = ActivationFlags()


def main(flags: ActivationFlags = DEFAULTS) -> dict[str, Any]:
    """Draws activations, and the gradient norms, layer by layer, of deep networks with each of them."""
    names = list(dict.fromkeys(flags.activation.split(",")))
    for name in names:
        choose("activation", name, ACTIVATIONS)
    if flags.lr <= 0:
        raise InputError(f"lr {flags.lr}: must be positive")
    data = MNIST(flags.data_dir, flags.batch_size, flags.seed, sample=flags.sample)
    data.prepare_data()
    data.setup()
    study = Study("activations", flags, try_next=TRY_NEXT)
    print(f"{data.describe()}\n")
    _say(_reason(flags.lr, flags.width))
    batch = next(iter(data.train_dataloader()))  # the first batch of the training
    results: dict[str, dict[str, Norms]] = {name: {} for name in names}
    for name in names:
        for variant, options in VARIANTS.items():
            options = options | {"widths": [flags.width] * flags.depth, "activation": name}
            results[name][variant] = study_network(data, batch, options, flags.lr, flags.steps, flags.seed)
            _warn(f"{name}, {variant}", results[name][variant])
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    figures = {
        "functions": draw_functions(x, {name: (*value_and_slope(name, x), steepest(name)) for name in names}),
        "gradients_initial": draw_norms(results, "initial", HEALTHY, "at initialisation"),
        "gradients_trained": draw_norms(results, "trained", HEALTHY, f"after {flags.steps} steps"),
        "accuracies": draw_accuracies(results, flags.steps),
    }
    return study.conclude(_metrics(results, flags.seed), figures)


def _reason(lr: float, width: int) -> str:
    """What the bounds of `HEALTHY` do at this rate to a layer of this width, whose weights have the norms on paper."""
    (low, high), least, most = HEALTHY, math.sqrt(width / 3), math.sqrt(2 * width)  # torch's own weights, and He's
    return (
        f"healthy is a gradient norm from {low:g} to {high:g}: at the rate {lr:g}, one of {low:g} moves torch's own"
        f" weights of a layer (norm {least:.3g}) by {100_000 * lr * low / least:.3g} % in a thousand steps, and one of"
        f" {high:g} moves He's (norm {most:.3g}) by {100 * lr * high / most:.3g} % in each"
    )


def unhealthy(norms: list[float]) -> dict[str, list[int]]:
    """The layers whose norm is below or above `HEALTHY`, counted from 1 at the input; nan counts as above."""
    low, high = HEALTHY
    below = [number for number, norm in enumerate(norms, start=1) if norm < low]
    above = [number for number, norm in enumerate(norms, start=1) if not norm <= high]
    return {"below": below, "above": above}


def _warn(name: str, result: Norms) -> None:
    """Prints a line if any layers are out of the healthy range, at initialisation or after the training."""
    parts = []
    for state, norms in (("at first", result.initial), ("after training", result.trained)):
        for side, layers in unhealthy(norms).items():
            if layers:
                worst = (min if side == "below" else max)(norms[layer - 1] for layer in layers)
                parts.append(f"{side} in {spans(layers)} of {len(norms)} layers {state} ({worst:.1e})")
    if parts:
        _say(f"warning: {name}: {'; '.join(parts)}")


def _say(text: str) -> None:
    print(textwrap.fill(text, columns(), subsequent_indent="    "), flush=True)


def spans(numbers: list[int]) -> str:
    """Increasing numbers written as "1-3, 7"."""
    groups = [[n for _, n in group] for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{group[0]}-{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)


def _metrics(results: dict[str, dict[str, Norms]], seed: int) -> dict[str, Any]:
    nets = [norms for variants in results.values() for norms in variants.values()]
    return {
        "networks": len(nets),
        "healthy/initial": sum(not any(unhealthy(norms.initial).values()) for norms in nets),
        "healthy/trained": sum(not any(unhealthy(norms.trained).values()) for norms in nets),
        "seed": seed,
        "by_activation": {
            name: {variant: norms.as_data() for variant, norms in variants.items()}
            for name, variants in results.items()
        },
    }


if __name__ == "__main__":
    cli(main)
