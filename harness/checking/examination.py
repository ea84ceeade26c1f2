"""`--doctor`: checks data, network and learning rate before a long run; nothing is trained or written.

The checks follow Karpathy 2019, "A recipe for training neural networks". Each line has what was found and what is
usual. The limits are wide, so that a healthy run passes, and a line that says `look here` is worth the look.
"""

import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from lightning.pytorch import Trainer

from basics.amounts import amount
from basics.terminal import columns
from datamodules import ImageData
from datamodules.batch_module import BatchModule
from datamodules.table_data import TableData
from harness.checking.data_checks import check_data
from harness.checking.findings import Finding
from harness.checking.model_checks import (
    LOSSES_OF,
    check_initial_loss,
    check_input,
    check_learning,
    check_range,
    check_units,
    twin_of,
)
from harness.runs.invocation import values
from harness.training.flags import FitFlags, TrainerFlags
from harness.training.lr_finder import HIGHEST, STEPS, range_test, steepest
from harness.training.preflight import check_batches, check_shapes
from harness.training.report import num_parameters
from harness.training.trainer import build_trainer
from lit_modules import Classifier, RowClassifier
from lit_modules.class_stages import ClassStages
from lit_modules.label_stages import LabelStages
from lit_modules.number_stages import NumberStages
from lit_modules.segmenter import Segmenter
from lit_modules.stages import Batch, Stages
from lit_modules.usual import FAMILIES

SAMPLES = 512  # to look at, at least; a unit that none of them activates is dead
LR_SECONDS, LR_STEPS = 120.0, 80  # of the range test: at most about so long, but at least so many steps
LOWEST_SHARE = 0.01  # of the rate where the loss falls fastest, as schedules and warm-up leave so much room below
# Times the first loss, of at most 2. Deep nets with BatchNorm reach 1.5 for a while and recover. Adaptive optimizers
# bound each step, so their loss reaches 1.5 long after they stop learning.
DIVERGED, DIVERGED_ADAPTIVE = 1.75, 1.1
LONG, LARGE = 24 * 3600.0, 0.8  # seconds of a run, share of the memory
OURS = {"accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val", "limit_train_batches"}
OURS |= {"max_steps", "deterministic", "benchmark"}  # they change the time of a step


def examine(name: str, model: Stages, data: BatchModule, flags: FitFlags) -> NoReturn:
    """Prints the findings, and ends the process, with status 0 if all are as expected, otherwise 1."""
    print(f"{name}: {model.hparams['net']}, {num_parameters(model):,} parameters; nothing is trained", flush=True)
    count = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(Path(folder), flags)
        check_batches(data, trainer)
        check_shapes(model, data, trainer)
        for finding in _findings(model, data, trainer, flags.channels_last):
            print(finding.within(columns()), flush=True)
            count, wrong = count + 1, wrong + (not finding.ok)
    print(f"{wrong} of {count} to look at" if wrong else f"all {count} ok")
    sys.exit(1 if wrong else 0)


def _trainer(folder: Path, flags: FitFlags) -> Trainer:
    """As the training would have it, as far as its speed and its loss depend on it, and on one device."""
    alone = TrainerFlags(
        **{name: value for name, value in values(flags, TrainerFlags).items() if name in OURS},
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=10**6,  # the range test only trains
    )
    return build_trainer(alone, flags.max_epochs, folder)


def _findings(model: Stages, data: BatchModule, trainer: Trainer, channels_last: bool) -> Iterator[Finding]:
    """First the data, then the network, then the learning rate and the cost of the run."""
    classes = [] if isinstance(model, NumberStages | Segmenter | LabelStages) else data.classes
    for finding in check_data(data, classes, _remedies(model, data)):
        yield finding
        if finding.what == "labels" and not finding.ok:
            return  # no loss can be computed with them
    data.trainer = trainer  # tells the data module the device and the length of the run
    model.to(trainer.strategy.root_device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    batches = _batches(data)
    yield from _check_model(model, data, batches)
    yield from _check_run(model, data, trainer, batches[0])
    yield check_memory(trainer.strategy.root_device)


def _remedies(model: Stages, data: BatchModule) -> dict[str, bool]:
    """The flags that help where classes are of unequal sizes, and whether they are given."""
    if not isinstance(model, ClassStages):
        return {}
    sampling = isinstance(data, ImageData | TableData) and data.balanced_sampling
    remedies = {"--class_weights balanced": model.class_weights is not None, "--balanced_sampling": sampling}
    focal = isinstance(model, Classifier | RowClassifier) and model.loss == "focal"
    return remedies | {"--loss focal": focal}


def _batches(data: BatchModule) -> list[Batch]:
    """Augmented training batches, `SAMPLES` in all or the whole split."""
    batches: list[Batch] = []
    for batch in data.train_dataloader():
        batches.append(batch)
        if sum(len(labels) for _, labels in batches) >= SAMPLES:
            break
    return batches


def _check_model(model: Stages, data: BatchModule, batches: list[Batch]) -> Iterator[Finding]:
    if isinstance(data, ImageData):
        yield check_range(batches[0])
    numbers = data.num_numbers if isinstance(data, TableData) else None  # the first columns; None: all are
    if numbers != 0:
        # Validation and test samples are not augmented; there may be neither.
        loader = data.val_dataloader() if len(data.val_indices) else data.test_dataloader()
        inputs = next((rows for rows, _ in loader if len(rows)), batches[0][0])
        yield check_input(model, inputs, slice(numbers))
    if isinstance(model, LOSSES_OF):  # losses of pairs have no usual value
        yield check_initial_loss(model, batches[0])
    yield check_units(model, batches)
    yield from check_learning(model, batches[0])


def _check_run(model: Stages, data: BatchModule, trainer: Trainer, batch: Batch) -> Iterator[Finding]:
    """The learning rate compared with a range test, and the time of the whole run, from that of the test's steps."""
    started = time.perf_counter()
    twin_of(model).training_step(batch, 0).backward()
    steps = round(min(STEPS, max(LR_STEPS, LR_SECONDS / (time.perf_counter() - started))))
    started = time.perf_counter()
    rates, losses = range_test(trainer, model, data, steps)
    seconds = (time.perf_counter() - started) / len(losses)
    descends = FAMILIES.get(model.hparams["optimizer"], model.hparams["optimizer"]) == "sgd"
    yield check_rate(model.hparams["lr"], rates, losses, DIVERGED if descends else DIVERGED_ADAPTIVE)
    whole, total = _length(trainer)
    rest = f"{whole} in {_duration(seconds * total)}" if math.isfinite(total) else whole
    found = f"{len(batch[1]) / seconds:,.0f} {data.samples} a second, {rest}"
    yield Finding("time", seconds * total <= LONG, found, f"less than {_duration(LONG)}")


def _length(trainer: Trainer) -> tuple[str, float]:
    """How long the run is, in words and in batches."""
    assert trainer.max_epochs is not None  # Lightning has a default
    epochs, steps = trainer.max_epochs, trainer.max_steps
    batches = trainer.num_training_batches * epochs if epochs >= 0 else math.inf
    if 0 < steps * trainer.accumulate_grad_batches < batches:
        return amount(steps, "step"), steps * trainer.accumulate_grad_batches
    return amount(epochs, "epoch") if epochs >= 0 else "a run without an end", batches


def check_rate(lr: float, rates: np.ndarray, losses: np.ndarray, diverged: float = DIVERGED) -> Finding:
    """The run's learning rate compared with the rates at which the loss falls fastest and at which it diverges.

    The loss diverges if it rises above `diverged` times the first one and stays there. Networks with BatchNorm recover
    from such a rise at a tenth of the rates that they can learn with.
    """
    if not np.isfinite(losses).all():
        return Finding("learning rate", False, f"{lr:g}; in a range test the first loss is no number", "a number")
    suggestion = steepest(rates, losses)
    begun = np.flatnonzero(losses <= diverged * losses[0])[-1] + 1
    stopped = rates[-1] < 0.9 * HIGHEST  # the tuner stops before the end, too
    end = rates[begun] if begun < len(rates) else rates[-1] if stopped else np.inf
    low, high = LOWEST_SHARE * suggestion, min(end, HIGHEST)
    ends = f"diverges at {end:.2g}" if end < np.inf else f"does not diverge up to {HIGHEST:g}"
    found = f"{lr:g}; in a range test the loss falls fastest at {suggestion:.2g} and {ends}"
    return Finding("learning rate", low <= lr <= high, found, f"{low:.1g} to {high:.2g}")


def check_memory(device: torch.device) -> Finding:
    """The peak of the checks, which is nearly that of the run: of the accelerator's memory, or of the machine's."""
    if device.type == "cuda":
        used, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{used / 2**30:.1f} GiB of {total / 2**30:.1f}"
    return Finding("memory", used <= LARGE * total, found, f"at most {LARGE:.0%}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"
