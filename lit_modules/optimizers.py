"""Optimizers by name, with the options that they have in common."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, optim

from lit_modules.choose import choose
from lit_modules.muon import Muon

OPTIMIZERS = {
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "muon": Muon,
}


def build_optimizer(
    name: str,
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
) -> optim.Optimizer:
    """Builds the optimizer called `name`.

    Args:
        params: tensors, or groups of them with options of their own, as torch's optimizers take them.
        momentum: of sgd, rmsprop and muon; the others ignore it.
        nesterov: of sgd, where there is momentum.
        weight_decay: the factor of the L2 penalty's gradient; adamw and muon apply it apart from the gradient.

    Raises:
        ValueError: there is no such optimizer, or a number is out of its range.
    """
    kind = choose("optimizer", name, OPTIMIZERS)
    options = {"lr": lr, "weight_decay": weight_decay}
    if kind in (optim.SGD, optim.RMSprop, Muon):
        options["momentum"] = momentum
    if kind is optim.SGD:
        options["nesterov"] = nesterov and momentum > 0  # without momentum there is nothing to look ahead of
    try:
        return kind(params, **options)
    except ValueError as error:
        raise ValueError(f"optimizer {name}: {error}") from error
