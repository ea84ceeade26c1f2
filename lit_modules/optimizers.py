"""Optimizers by name, with the options that they have in common.

sgd        descent along the gradient of a batch; with --momentum 0 nothing else (Robbins and Monro 1951)
momentum   sgd along a decaying sum of the gradients, whatever `nesterov` says (Polyak 1964, the heavy ball)
nesterov   the same, with the gradient looked up ahead (Nesterov 1983; Sutskever et al. 2013)
adagrad    each step divided by the root of the sum of squared gradients so far (Duchi et al. 2011)
rmsprop    by the root of their moving average instead (Tieleman and Hinton 2012)
adadelta   that, times the root of the moving average of squared steps; its rate is about 1 (Zeiler 2012)
adam       rmsprop's steps along a moving average of gradients, both bias-corrected (Kingma and Ba 2015)
adamw      adam, whose weight decay bypasses the division (Loshchilov and Hutter 2019)
muon       see muon.py
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, optim

from basics.choose import choose
from basics.errors import InputError
from lit_modules.fused import FUSED, keep_form
from lit_modules.muon import Muon

OPTIMIZERS = {
    "sgd": optim.SGD,
    "momentum": optim.SGD,
    "nesterov": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "muon": Muon,
}


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """The optimizer.

    Args:
        lr: initial, or with onecycle highest, learning rate.
        optimizer: sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad, adadelta or muon (lit_modules/optimizers.py).
        momentum: of sgd, momentum, nesterov, rmsprop and muon.
        nesterov: whether sgd's momentum is Nesterov's.
        weight_decay: factor of the L2 penalty; of decoupled weight decay with adamw and muon.
        lr_parts: learning rates of parts of the network by their names, such as features=0.01,head*=0.1; the first name
            that fits counts, * stands for anything, and the rest has `lr`.
        layer_decay: factor of the learning rate from each layer to the one before it; the head has `lr`
            (lit_modules/lr_depths.py).
    """

    lr: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    lr_parts: str = ""
    layer_decay: float = 1.0


def build_optimizer(
    name: str,
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    hidden: Iterable[Tensor] = (),
    fused: bool = False,
) -> optim.Optimizer:
    """Builds the optimizer called `name`.

    Args:
        params: tensors, or groups of them with options of their own, as torch's optimizers take them.
        momentum: for sgd, momentum, nesterov, rmsprop and muon; the others ignore it.
        nesterov: for sgd with momentum.
        weight_decay: the factor of the L2 penalty's gradient; adamw and muon apply it apart from the gradient.
        hidden: for muon, the matrices between hidden layers.
        fused: for sgd, momentum, nesterov, adam and adamw: one kernel takes the whole step. On GPUs the others need
            only a few kernels anyway, each for all parameters.

    Raises:
        InputError: there is no such optimizer, or a number is out of its range.
    """
    kind = choose("optimizer", name, OPTIMIZERS)
    options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    if kind in (optim.SGD, optim.RMSprop, Muon):
        options["momentum"] = momentum
    if kind is Muon:
        options["hidden"] = hidden
    if kind is optim.SGD:
        # Plain sgd has nothing to look ahead to, and torch refuses nesterov without momentum if it is asked for.
        options["nesterov"] = {"momentum": False, "nesterov": True}.get(name, nesterov and momentum > 0)
    if fused and kind in FUSED:
        options["fused"] = True
    try:
        optimizer = kind(params, **options)
    except ValueError as error:
        raise InputError(f"optimizer {name}: {error}") from error
    keep_form(optimizer)
    return optimizer
