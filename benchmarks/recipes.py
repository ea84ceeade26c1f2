"""CIFAR-10: accuracy and time of the networks' recipes, and the speed of ResNet-18 against a bare loop.

    python benchmarks/recipes.py race                               speednet, and ResNet-18 for the same time
    python benchmarks/recipes.py accuracy                           every large network once, on an accelerator
    python benchmarks/recipes.py accuracy --nets [speednet] --seeds 5
    python benchmarks/recipes.py speedrun                           speednet in seconds on a GPU, five times
    python benchmarks/recipes.py throughput --accelerator cuda      ResNet-18 in bf16, both sides in turns

Each run is one of experiments/cifar10.py and leaves its directory in runs/. `--sample true` makes each run short and
needs no files; it only shows that they work, and the figures mean nothing.
"""

import contextlib
import io
import math
import statistics
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks.bare import bare_step, training_batches, wait
from benchmarks.stopping import StopAt, passing_run
from datamodules import CIFAR10
from experiments import cifar10
from harness.tasks.classification import ImageFlags, classify
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from harness.training.trainer import NO_EXTRAS, Extras
from lit_modules import Classifier

HEADER = "| net | seed | epochs | steps | seconds | test accuracy |\n| --- | ---: | ---: | ---: | ---: | ---: |"
# He et al. 2016 with a cosine schedule; `race` sets the length.
PLAIN_RESNET18 = ImageFlags(
    net="resnet18", lr=0.1, batch_size=128, lr_decay="cosine", weight_decay=5e-4, augment="crop:4,flip"
)


def race(data_dir: str = "data", seeds: int = 3, run_dir: str = "runs", sample: bool = False) -> None:
    """Trains speednet by its recipe, then ResNet-18 by a plain one (SGD, cosine, crop, flip, fp32) for the same time.

    Args:
        data_dir: folder of CIFAR-10, which is downloaded if missing.
        seeds: number of seeds for speednet, from 0 on.
        run_dir: folder that holds all runs.
        sample: use generated images for one epoch.
    """
    places = dict(data_dir=data_dir, run_dir=run_dir, sample=sample)
    short = dict(max_epochs=1, batch_size=50) if sample else {}
    print(HEADER)
    speednet = replace(cifar10.RECIPES["speednet"], **places, **short)
    runs = [_run(replace(speednet, seed=seed)) for seed in range(seeds)]
    print(f"mean {statistics.mean(metrics['test/acc'] for metrics in runs):.2%}", flush=True)
    plain = replace(PLAIN_RESNET18, **places, **short)
    seconds = statistics.mean(metrics["seconds"] for metrics in runs)
    with tempfile.TemporaryDirectory() as scratch:  # for measuring a step's time, without validation
        probe = replace(plain, run_dir=scratch, limit_train_batches=12, limit_val_batches=1, max_epochs=1)
        rate = _quietly(probe)["samples_per_second"]
    steps = max(2, round(seconds * rate / plain.batch_size))
    epochs = math.ceil(steps * plain.batch_size / 45_000)  # a limit above an epoch's batches would not count
    _run(replace(plain, max_epochs=epochs, limit_train_batches=steps // epochs))


def accuracy(
    nets: list[str] = ["resnet18", "vgg16", "googlenet", "densenet121"],  # noqa: B006
    seeds: int = 1,
    data_dir: str = "data",
    run_dir: str = "runs",
    devices: int = 1,
    sample: bool = False,
) -> None:
    """Trains networks by their recipes.

    Args:
        nets: names of networks.
        seeds: number of seeds for each, from 0 on.
        data_dir: folder of CIFAR-10, which is downloaded if missing.
        run_dir: folder that holds all runs.
        devices: number of devices for each run.
        sample: use generated images for one epoch.
    """
    short = dict(sample=True, max_epochs=1, batch_size=50, warmup_epochs=0.1) if sample else {}
    print(HEADER)
    for net in nets:
        flags = replace(cifar10.RECIPES[net], data_dir=data_dir, run_dir=run_dir, devices=devices, **short)
        scores = [_run(replace(flags, seed=seed))["test/acc"] for seed in range(seeds)]
        if seeds > 1:
            print(f"{net}: mean {statistics.mean(scores):.2%}, standard deviation {statistics.stdev(scores):.2%}")


def speedrun(
    runs: int = 5,
    recipe: dict[str, Any] | None = None,
    accelerator: str = "cuda",
    data_dir: str = "data",
    run_dir: str = "runs",
    sample: bool = False,
) -> str:
    """Trains speednet several times by its recipe for a GPU, and prints seconds and test accuracy.

    The seconds run from the start of a training to its last step. They include fitting the first layer and capturing
    graphs, but not loading data, the last checkpoint or the test. A first run of a few steps, which does not count,
    lets libraries load and choose their kernels.

    Args:
        runs: number of runs, with seeds from 0 on.
        recipe: flags that replace the recipe's, such as --recipe.max_epochs 8 --recipe.batch_size 2000.
        accelerator: cuda or cpu.
        data_dir: folder of CIFAR-10, which is downloaded if missing.
        run_dir: folder that holds all runs.
        sample: use generated images for one epoch.
    """
    places = dict(data_dir=data_dir, sample=sample, accelerator=accelerator, devices=1)
    short = dict(max_epochs=1, batch_size=10, limit_train_batches=4, precision="32-true") if sample else {}
    flags = replace(cifar10.ON_A_CARD, **{**(recipe or {}), **places, **short})
    with passing_run() as folder:
        classify(CIFAR10, replace(flags, run_dir=folder), Extras([StopAt(3 if sample else 30)]))
    found = [_timed_run(replace(flags, run_dir=run_dir, seed=seed)) for seed in range(runs)]
    seconds, accuracies = zip(*found, strict=True)
    spread = f", standard deviation {statistics.stdev(accuracies):.2%}" if runs > 1 else ""
    summary = f"{statistics.mean(accuracies):.2%}{spread}, in {statistics.mean(seconds):.2f} s; mean of {runs}"
    print(f"speedrun: {summary}", flush=True)
    return summary


def _timed_run(flags: ImageFlags) -> tuple[float, float]:
    """Seconds of training, and test accuracy."""
    clock = TrainingClock()
    accuracy = _quietly(flags, Extras([clock]))["test/acc"]
    print(f"seed {flags.seed}: {accuracy:.2%} in {clock.seconds:.2f} s", flush=True)
    return clock.seconds, accuracy


class TrainingClock(Callback):
    """Seconds from the start of a training to the end of its last epoch, before anything is saved."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wait(trainer.strategy.root_device)
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wait(trainer.strategy.root_device)
        self.seconds = time.perf_counter() - self.started


def _run(flags: ImageFlags) -> dict[str, Any]:
    metrics = _quietly(flags)
    print(
        f"| {flags.net} | {flags.seed} | {metrics['epochs']} | {metrics['steps']:,} | {metrics['seconds']:.0f}"
        f" | {metrics['test/acc']:.2%} |",
        flush=True,
    )
    return metrics


def _quietly(flags: ImageFlags, theirs: Extras = NO_EXTRAS) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        return classify(CIFAR10, flags, theirs)


def throughput(
    net: str = "resnet18",
    batch_size: int = 512,
    images: int = 25_600,
    rounds: int = 5,
    precision: str = "bf16-mixed",
    accelerator: str = "cpu",
    data_dir: str = "data",
    sample: bool = False,
) -> None:
    """Trains a network in turns by a bare torch loop and by our runs, and prints images per second.

    Args:
        net: name of the network.
        batch_size: images per step.
        images: training images per round.
        rounds: number of turns for each side; a first one, for warm-up, does not count.
        precision: bf16-mixed or 32-true, on both sides.
        accelerator: cpu or cuda.
        data_dir: folder of CIFAR-10, which is downloaded if missing.
        sample: use 200 generated images.
    """
    data = CIFAR10(data_dir, batch_size, val_size=1000, augment="crop:4,flip", sample=sample)
    data.prepare_data()
    data.setup()
    data.train_indices = data.train_indices[: 200 if sample else images]
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(rounds + 1):
        for name, train in {"bare": _bare, "ours": _ours}.items():
            rate = train(data, net, precision, accelerator)
            if turn:
                rates[name].append(rate)
    for name, measured in rates.items():
        print(f"{name} {statistics.median(measured):10,.0f} images/s")
    ratios = [ours / bare for bare, ours in zip(*rates.values(), strict=True)]
    print(f"ours / bare: {statistics.median(ratios):.3f}  (rounds {min(ratios):.3f} to {max(ratios):.3f})")


def _bare(data: CIFAR10, net: str, precision: str, accelerator: str) -> float:
    """The same batches, network and optimizer, in a loop of torch calls."""
    device = torch.device(accelerator)
    step, batches = bare_step(net, data, precision, device), training_batches(data, device)
    wait(device)
    start = time.perf_counter()
    for images, labels in batches:
        step(images, labels)
    wait(device)
    return len(data.train_indices) / (time.perf_counter() - start)


def _ours(data: CIFAR10, net: str, precision: str, accelerator: str) -> float:
    """The samples per second that a run logs, which leave out validation."""
    seed_everything(0, verbose=False)
    model = Classifier(net, data.input_shape, 10, data.mean, data.std, lr=0.1)
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        flags = FitFlags(max_epochs=1, channels_last=True, pictures=False, run_dir=runs, devices=1)
        flags = replace(flags, precision=precision, accelerator=accelerator)
        return fit_and_test("bench", model, data, flags).metrics["samples_per_second"]


if __name__ == "__main__":
    auto_cli([race, accuracy, speedrun, throughput])
