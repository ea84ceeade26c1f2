"""Trains networks of raw tensors on digits by the delta recursion, and compares it at each step with other ways."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.fundamentals.delta_recursion import (
    Kind,
    Layer,
    central_difference,
    descend,
    forward,
    gradients,
    loss_of,
    make_layers,
)
from experiments.fundamentals.digit_rows import Split

NUM_CLASSES = 10
EVERY = 10  # steps from one measurement of the accuracy to the next
PLACES = 2  # entries of each weight and bias that central differences are taken in at each step: they are slow

Watch = Callable[[list[Layer], list[Layer], Tensor, Tensor], None]  # layers, gradients, rows and targets of a step


class Plan(NamedTuple):
    """A training. `wrong` is the first bias of the output at the start, which makes the net sure of class 0."""

    widths: tuple[int, ...]  # of the hidden layers
    lr: float
    batch_size: int
    steps: int
    seed: int
    wrong: float = 0.0


class Training(NamedTuple):
    """The layers at the end, and the accuracy on the validation digits at the start and every `EVERY` steps."""

    layers: list[Layer]
    accuracies: list[float]


class Comparison(NamedTuple):
    """The largest difference from the delta recursion at each step."""

    autograd: list[float]  # in any gradient, parameter or loss of a twin that is trained apart
    central: list[float]  # in some entries of each gradient


def one_hot(labels: Tensor) -> Tensor:
    """(N,) to (N, 10)."""
    return F.one_hot(labels, NUM_CLASSES).double()


def accuracy_of(layers: list[Layer], split: Split, kind: Kind) -> float:
    """The share of rows whose largest logit is the label's."""
    return float((forward(layers, split.rows, kind)[-1].argmax(1) == split.labels).double().mean())


def initial_layers(plan: Plan, inputs: int, generator: torch.Generator) -> list[Layer]:
    layers = make_layers([inputs, *plan.widths, NUM_CLASSES], generator)
    layers[-1].bias[0] = plan.wrong
    return layers


def train(splits: dict[str, Split], kind: Kind, plan: Plan, watch: Watch | None = None) -> Training:
    """Trains by hand; plans with the same seed have the same initial weights and batches."""
    generator = torch.Generator().manual_seed(plan.seed)
    (rows, labels), val = splits["train"], splits["val"]
    layers = initial_layers(plan, rows.shape[1], generator)
    accuracies = [accuracy_of(layers, val, kind)]
    for step, batch in enumerate(_batches(len(labels), plan, generator), start=1):
        targets = one_hot(labels[batch])
        slopes = gradients(layers, forward(layers, rows[batch], kind), targets, kind)
        if watch:
            watch(layers, slopes, rows[batch], targets)
        descend(layers, slopes, plan.lr)
        if step % EVERY == 0:
            accuracies.append(accuracy_of(layers, val, kind))
    return Training(layers, accuracies)


def _batches(count: int, plan: Plan, generator: torch.Generator) -> Iterator[Tensor]:
    """The indices of each step's rows; the rest of an epoch that fills no batch is left out."""
    whole = count // plan.batch_size
    for step in range(plan.steps):
        if step % whole == 0:
            order = torch.randperm(count, generator=generator)
        yield order[step % whole * plan.batch_size :][: plan.batch_size]


def train_beside_autograd(splits: dict[str, Split], kind: Kind, plan: Plan) -> tuple[Training, Comparison]:
    """Trains by hand, beside a twin of torch.nn that autograd and torch.optim train from the same weights."""
    generator = torch.Generator().manual_seed(plan.seed)
    twin = twin_of(initial_layers(plan, splits["train"].rows.shape[1], generator), kind)
    optimizer = torch.optim.SGD(twin.parameters(), plan.lr)
    comparison = Comparison([], [])

    def watch(layers: list[Layer], slopes: list[Layer], rows: Tensor, targets: Tensor) -> None:
        loss = loss_by_torch(twin(rows), targets, kind)
        optimizer.zero_grad()
        loss.backward()
        pairs = [(loss.detach(), loss_of(forward(layers, rows, kind)[-1], targets, kind))]
        for parameter, value, slope in zip(twin.parameters(), chain(*layers), chain(*slopes), strict=True):
            assert parameter.grad is not None
            pairs += [(parameter.detach(), value), (parameter.grad, slope)]
        comparison.autograd.append(max(float((its - ours).abs().max()) for its, ours in pairs))
        comparison.central.append(_from_central_differences(layers, slopes, (rows, targets), kind, generator))
        optimizer.step()

    return train(splits, kind, plan, watch), comparison


def twin_of(layers: list[Layer], kind: Kind) -> nn.Sequential:
    """The network of torch.nn with the same weights, as copies; it ends with the logits."""
    activation = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}[kind.activation]
    modules: list[nn.Module] = []
    for layer in layers:
        units, inputs = layer.weight.shape
        linear = nn.Linear(inputs, units, dtype=torch.float64)
        linear.load_state_dict(layer._asdict())
        modules += [linear, activation()]
    return nn.Sequential(*modules[:-1])


def loss_by_torch(logits: Tensor, targets: Tensor, kind: Kind) -> Tensor:
    """`loss_of`, by the functions of torch."""
    rows = len(targets)
    if kind.loss == "squared error":
        p = logits.softmax(1) if kind.output == "softmax" else logits.sigmoid()
        return F.mse_loss(p, targets, reduction="sum") / (2 * rows)
    if kind.output == "softmax":
        return F.cross_entropy(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / rows


def _from_central_differences(
    layers: list[Layer], slopes: list[Layer], batch: tuple[Tensor, Tensor], kind: Kind, generator: torch.Generator
) -> float:
    """The largest difference in `PLACES` entries of each parameter, drawn at random."""
    rows, targets = batch
    gap = 0.0
    for parameter, slope in zip(chain(*layers), chain(*slopes), strict=True):
        for place in torch.randint(parameter.numel(), (PLACES,), generator=generator).tolist():
            central = central_difference(
                lambda: loss_of(forward(layers, rows, kind)[-1], targets, kind), parameter, place
            )
            gap = max(gap, abs(central - float(slope.view(-1)[place])))
    return gap
