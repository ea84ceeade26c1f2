"""Whether trainings repeat bit for bit: when run again, when captured, and when killed and resumed.

Each training takes two epochs on the samples, by the recipe of its script. The weights and buffers after the last step
are compared.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.stopping import BARE_RUN, StopAt, until_stopped
from datamodules import CIFAR10, MNIST
from datamodules.house_prices import HouseOptions, HousePrices
from experiments import cifar10, house_prices, mnist
from experiments.house_prices import HousePriceFlags
from harness.runs.invocation import values
from harness.tasks.classification import classify
from harness.tasks.tabular import train_table
from harness.training.trainer import Extras

Weights = dict[str, Tensor]
KEPT_AT, KILLED_AT = 2, 3  # steps; the first is within an epoch, and the steps between are trained twice


def _train_tabm(flags: HousePriceFlags, theirs: Extras) -> None:
    data = HousePrices(flags.data_dir, flags.batch_size, flags.seed, sample=True, **values(flags, HouseOptions))
    data.setup()
    train_table(data, flags, theirs=theirs)


class Training(NamedTuple):
    """What is trained, and by which recipe."""

    run: Callable[[Any, Extras], Any]
    flags: Any

    def changed(self, **flags: Any) -> "Training":
        return self._replace(flags=replace(self.flags, **flags))


TRAININGS = {
    "lenet5": Training(partial(classify, MNIST), mnist.RECIPES["lenet5"]),
    "cnn": Training(partial(classify, CIFAR10), cifar10.RECIPES["cnn"]),
    "resnet18": Training(partial(classify, CIFAR10), cifar10.RECIPES["resnet18"]),
    "speednet": Training(partial(classify, CIFAR10), cifar10.RECIPES["speednet"]),
    "tabm": Training(_train_tabm, house_prices.RECIPES["tabm"]),
}


def weights(training: Training, step: int | None = None) -> Weights:
    """The weights after that many steps of a training, or after all of it."""
    stop = StopAt(step)
    with until_stopped():
        training.run(training.flags, Extras([stop]))
    return stop.weights


def resumed(training: Training) -> Weights:
    """The weights of a training that is cut off between two checkpoints and continues from the first of them."""
    with tempfile.TemporaryDirectory() as runs:
        training = training.changed(checkpoint_every=KEPT_AT, run_dir=runs)
        weights(training, KILLED_AT)
        (checkpoint,) = Path(runs).glob("*/*/checkpoints/last.ckpt")
        return weights(training.changed(resume=str(checkpoint.parents[1])))


def difference(one: Weights, other: Weights) -> str:
    """The difference in words."""
    apart = [(one[name].double() - other[name].double()).abs().max().item() for name in one if one[name].numel()]
    count = sum(not torch.equal(one[name], other[name]) for name in one)
    return f"{count} of {len(one)} tensors differ, by up to {max(apart):.1e}" if count else "identical"


def compare(name: str, accelerator: str, sample: bool) -> str:
    """Trains the network of this name in each way, and says how the results differ.

    Args:
        sample: use few and small batches.
    """
    few = dict(batch_size=8, limit_train_batches=4, precision="32-true") if sample else dict(batch_size=128)
    flags = {**BARE_RUN, "sample": True, "max_epochs": 2, "accelerator": accelerator, **few}
    with tempfile.TemporaryDirectory() as runs:
        training = TRAININGS[name].changed(**flags, run_dir=runs)
        eagerly, by_graphs = training.changed(capture=False), training.changed(capture=True)
        eager, again = (weights(eagerly) for _ in range(2))
        found = {"twice": difference(eager, again), "killed and resumed": difference(eager, resumed(eagerly))}
        if accelerator != "cuda":
            return _sentence(found | {"captured": "needs CUDA"})
        captured, again = (weights(by_graphs) for _ in range(2))
        found["captured twice"] = difference(captured, again)
        found["captured, killed and resumed"] = difference(captured, resumed(by_graphs))
    return _sentence(found | {"captured against eager": difference(captured, eager)})


def _sentence(found: dict[str, str]) -> str:
    return "; ".join(f"{what}: {words}" for what, words in found.items())
