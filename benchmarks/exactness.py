"""Whether trainings repeat themselves bit for bit: again, captured, and killed and resumed.

Each training is of two epochs, on the samples, by the recipe of its script. What is compared are the weights and
buffers after the last step.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.stopping import BARE_RUN, StopAt, until_stopped
from datamodules import CIFAR10, MNIST
from experiments import cifar10, house_prices, mnist
from harness.tasks.classification import classify

Weights = dict[str, Tensor]
KEPT_AT, KILLED_AT = 2, 3  # steps; the first is within an epoch, and what lies between is trained twice

TRAININGS: dict[str, Callable[..., Any]] = {
    "lenet5": partial(classify, MNIST, "lenet5", **mnist.RECIPES["lenet5"]),
    "cnn": partial(classify, CIFAR10, "cnn", **cifar10.RECIPES["cnn"]),
    "resnet18": partial(classify, CIFAR10, "resnet18", **cifar10.RECIPES["resnet18"]),
    "speednet": partial(classify, CIFAR10, "speednet", **cifar10.RECIPES["speednet"]),
    "tabm": partial(house_prices.main, "tabm", folds=0, **house_prices.RECIPES["tabm"]),
}


def weights(train: Callable[..., Any], step: int | None = None, **flags: Any) -> Weights:
    """Those after so many steps of a training, or after all of it."""
    stop = StopAt(step)
    with until_stopped():
        train(**flags, callbacks=[stop])
    return stop.weights


def resumed(train: Callable[..., Any], **flags: Any) -> Weights:
    """The weights of a training that is cut off between two checkpoints, and goes on from the one that is there."""
    with tempfile.TemporaryDirectory() as runs:
        flags = {**flags, "checkpoint_every": KEPT_AT, "run_dir": runs}
        weights(train, KILLED_AT, **flags)
        (checkpoint,) = Path(runs).glob("*/*/checkpoints/last.ckpt")
        return weights(train, **flags, resume=str(checkpoint.parents[1]))


def difference(one: Weights, other: Weights) -> str:
    """In words."""
    apart = [(one[name].double() - other[name].double()).abs().max().item() for name in one if one[name].numel()]
    count = sum(not torch.equal(one[name], other[name]) for name in one)
    return f"{count} of {len(one)} tensors differ, by up to {max(apart):.1e}" if count else "identical"


def compare(name: str, accelerator: str, sample: bool) -> str:
    """What came of trainings of the network with this name.

    Args:
        sample: few and small batches.
    """
    few = dict(batch_size=8, limit_train_batches=4, precision="32-true") if sample else dict(batch_size=128)
    flags = {**BARE_RUN, "sample": True, "max_epochs": 2, "accelerator": accelerator, **few}
    train = partial(TRAININGS[name], **flags)
    with tempfile.TemporaryDirectory() as runs:
        eager, again = (weights(train, capture=False, run_dir=runs) for _ in range(2))
        found = {"twice": difference(eager, again)}
        found["killed and resumed"] = difference(eager, resumed(train, capture=False))
        if accelerator != "cuda":
            return _sentence(found | {"captured": "needs CUDA"})
        captured, again = (weights(train, capture=True, run_dir=runs) for _ in range(2))
    found["captured twice"] = difference(captured, again)
    found["captured, killed and resumed"] = difference(captured, resumed(train, capture=True))
    return _sentence(found | {"captured against eager": difference(captured, eager)})


def _sentence(found: dict[str, str]) -> str:
    return "; ".join(f"{what}: {words}" for what, words in found.items())
