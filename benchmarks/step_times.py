"""Milliseconds per training step: bare, bare as one CUDA graph, and ours.

Synthetic images lie on the device. Each side makes its own batches from them, and crops and mirrors colour images; its
first steps do not count. The time is the median, by the device's own clock if it has one, so that measuring does not
make anything wait.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor

from benchmarks.bare import Step, as_one_graph, bare_step, training_batches
from benchmarks.stopping import BARE_RUN, Stopped, passing_run
from datamodules import ImageData
from datamodules.arrays import ImageArrays
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier

IMAGES = 2048  # number of different images; an epoch repeats them


class Window(NamedTuple):
    """The numbers of steps that are skipped and measured."""

    before: int = 15  # while libraries choose kernels, and graphs are captured
    measured: int = 60


class Case(NamedTuple):
    net: str
    batch_size: int
    precision: str = "bf16-mixed"
    optimizer: str = "sgd"  # for ours; the bare loops use SGD

    def __str__(self) -> str:
        optimizer = "" if self.optimizer == "sgd" else f", ours with {self.optimizer}"
        return f"{self.net}, {self.batch_size}, {'bf16' if self.precision == 'bf16-mixed' else 'fp32'}{optimizer}"


CASES = (
    Case("lenet5", 64, "32-true"),
    Case("lenet5", 256, "32-true"),
    Case("cnn", 128),
    Case("speednet", 512, optimizer="muon"),
    Case("resnet18", 128),
    Case("resnet18", 512),
    Case("googlenet", 128),
    Case("densenet121", 128),
)


@cache
def noise(*shape: int) -> ImageArrays:
    """Random images in ten classes."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(IMAGES, *shape), dtype=np.uint8), np.arange(IMAGES, dtype=np.uint8) % 10
    return ImageArrays(images, labels, images[:10], labels[:10])


class GreyNoise(ImageData):
    name, image_shape, classes = "grey_noise", (28, 28), tuple("0123456789")
    make_sample = staticmethod(partial(noise, 28, 28))


class ColourNoise(ImageData):
    name, image_shape, classes = "colour_noise", (32, 32, 3), tuple("0123456789")
    make_sample = staticmethod(partial(noise, 32, 32, 3))


def images_for(case: Case, window: Window) -> ImageData:
    """As many images as these steps take, all within one epoch."""
    kind, augment = (GreyNoise, "") if case.net == "lenet5" else (ColourNoise, "crop:4,flip")
    data = kind(batch_size=case.batch_size, val_size=2, augment=augment, sample=True)
    data.setup()
    data.train_indices = np.resize(data.train_indices, case.batch_size * (sum(window) + 1))
    return data


class Ticks:
    """The times between calls of `tick`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.ticks = device, []

    def tick(self) -> None:
        if self.device.type != "cuda":
            self.ticks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.ticks.append(event)

    def milliseconds(self, window: Window) -> float:
        """The median time of the window's steps, each from one tick to the next."""
        ticks = self.ticks[window.before : sum(window) + 1]
        pairs = list(pairwise(ticks))
        if self.device.type != "cuda":
            return statistics.median(1000 * (end - start) for start, end in pairs)
        torch.cuda.synchronize()
        return statistics.median(start.elapsed_time(end) for start, end in pairs)


class StepClock(Callback):
    """Times the steps of a window, from batch to batch, and ends the training."""

    def __init__(self, window: Window) -> None:
        self.window, self.ticks = window, None

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        self.ticks = self.ticks or Ticks(trainer.strategy.root_device)
        self.ticks.tick()
        if len(self.ticks.ticks) > sum(self.window):
            raise Stopped


def of_bare(batches: Iterable[tuple[Tensor, Tensor]], step: Step, window: Window, device: torch.device) -> float:
    ticks = Ticks(device)
    for images, labels in islice(batches, sum(window) + 1):
        ticks.tick()
        step(images, labels)
    return ticks.milliseconds(window)


def of_ours(case: Case, data: ImageData, window: Window, accelerator: str, **flags: Any) -> float:
    """Milliseconds of our step, with any further flags of a script."""
    clock = StepClock(window)
    seed_everything(0, verbose=False)
    shape, classes = data.input_shape, data.num_classes
    model = Classifier(case.net, shape, classes, data.mean, data.std, lr=0.02, optimizer=case.optimizer)
    flags = {**BARE_RUN, "precision": case.precision, "accelerator": accelerator, **flags}
    flags |= {"max_epochs": 1, "channels_last": shape[0] > 1}
    with passing_run() as runs:
        fit_and_test("steps", model, data, FitFlags(run_dir=runs, **flags), [clock])
    return clock.ticks.milliseconds(window)


def ways(case: Case, window: Window, accelerator: str) -> dict[str, Callable[[], float]]:
    """The ways to measure a case, by name."""
    device, data = torch.device(accelerator), images_for(case, window)
    batches = partial(training_batches, data, device)
    step = partial(bare_step, case.net, data, case.precision, device)
    ours = partial(of_ours, case, data, window, accelerator)
    found = {
        "batch made": lambda: of_bare(batches(), lambda *_: None, window, device),
        "bare": lambda: of_bare(batches(), step(), window, device),
        "ours, eager": partial(ours, capture=False),
    }
    if accelerator == "cuda":
        found["bare, one graph"] = lambda: of_bare(
            batches(), as_one_graph(step(), *next(iter(batches()))), window, device
        )
        found["ours, captured"] = partial(ours, capture=True)
    return found
