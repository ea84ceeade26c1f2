"""Checks before the first step for what would otherwise fail after hours of training."""

import copy
import io
import shutil
import warnings
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, __version__
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.model_helpers import is_overridden

from basics.amounts import amount
from basics.errors import InputError, InputFileError
from basics.trainer_parts import callbacks_of, overfits_batches
from datamodules.augment import Moment
from datamodules.batch_module import BatchModule
from datamodules.batches import EvalBatches, TrainBatches
from harness.runs.checkpoints import Checkpoint
from lit_modules.stages import Stages

STATES = 3  # numbers that a checkpoint holds for each weight: the weight, and Adam's two moments; with an average, 4
FILES = 3  # checkpoints that need room: the best, the last, and the one being written


def check_flags(trainer: Trainer, monitor: str | None, lr_patience: int) -> None:
    """Raises InputError if a number given to the Trainer would never take effect, or lead to a division by zero."""
    least = {"accumulate_grad_batches": 1, "log_every_n_steps": 0, "check_val_every_n_epoch": 1}
    values = {name: getattr(trainer, name) for name in least} | {"lr_patience": lr_patience}
    for name, value in values.items():
        if value is not None and value < least.get(name, 0):
            raise InputError(f"{name} {value}: must be at least {least.get(name, 0)}")
    epochs, every = trainer.max_epochs, trainer.check_val_every_n_epoch
    if every and epochs and 0 < epochs < every:
        raise InputError(f"check_val_every_n_epoch {every}: the whole run has only {amount(epochs, 'epoch')}")
    timers = [callback.time_remaining() for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    if any(left is not None and left <= 0 for left in timers):
        raise InputError("max_time: must be above 0")
    for name in ("limit_train_batches", "limit_test_batches"):
        if not getattr(trainer, name):
            raise InputError(f"{name} {getattr(trainer, name)}: leaves nothing to train or to test")
    if monitor and not trainer.limit_val_batches:
        raise InputError(f"monitor {monitor}: there is no validation; --monitor null keeps the last epoch")


def has_stage(stage: str, model: LightningModule, data: LightningDataModule) -> bool:
    """Whether the module has a step, and the data a loader, for the stage: "val" or "test"."""
    step = {"val": "validation_step", "test": "test_step"}[stage]
    if stage == "test" and not getattr(data, "has_tests", True):
        return False
    return is_overridden(step, model) and is_overridden(f"{stage}_dataloader", data)


def check_validation(model: LightningModule, data: LightningDataModule, monitor: str | None) -> None:
    """Raises InputError if a metric is to choose the best epoch, and nothing is validated."""
    if monitor and not has_stage("val", model, data):
        raise InputError(
            f"monitor {monitor}: {type(model).__name__} or {type(data).__name__} has no validation;"
            " --monitor null keeps the last epoch"
        )


def check_splits(data: LightningDataModule, trainer: Trainer, monitor: str | None) -> None:
    """Raises InputError if a split of our data modules is empty, or too small for a batch on each device."""
    tests = int(getattr(data, "has_tests", True))
    for split, least in {"train": 2 * trainer.world_size, "val": int(bool(monitor)), "test": tests}.items():
        indices = getattr(data, f"{split}_indices", None)
        if isinstance(indices, Sized) and len(indices) < least:
            raise InputError(f"{split} split: has {amount(len(indices), 'sample')}; it needs at least {least}")


def check_batches(data: LightningDataModule, trainer: Trainer) -> None:
    """Raises InputError if a share of the batches amounts to none, or validation would wait longer than an epoch."""
    counts = _num_batches(data, trainer.world_size) if isinstance(data, BatchModule) else {}
    for split, count in counts.items():
        name = f"limit_{split}_batches"
        limit = getattr(trainer, name)
        if isinstance(limit, float) and limit > 0 and count and int(limit * count) == 0:
            name = "overfit_batches" if overfits_batches(trainer) and split != "test" else name
            raise InputError(f"{name} {limit:g}: of {amount(count, 'batch', 'batches')} it leaves none")
        counts[split] = int(limit * count) if isinstance(limit, float) else min(limit, count)
    every = getattr(trainer, "val_check_interval", None)  # absent if the interval is a time
    within_epochs = trainer.check_val_every_n_epoch is not None
    if counts and within_epochs and isinstance(every, int) and every > counts["train"]:
        raise InputError(f"val_check_interval {every}: an epoch has only {amount(counts['train'], 'batch', 'batches')}")


def _num_batches(data: BatchModule, ranks: int) -> dict[str, int]:
    """How many batches each split has on each of that many ranks."""
    counts = {}
    for split in ("train", "val", "test"):
        loader = getattr(data, f"{split}_dataloader")()
        if isinstance(loader, TrainBatches | EvalBatches):
            loader.world_size = ranks
            counts[split] = len(loader)
    data.teardown("fit")  # what they hold is not on the Trainer's device yet
    return counts


def check_shapes(model: LightningModule, data: LightningDataModule, trainer: Trainer) -> None:
    """Raises InputError if the network cannot train on single samples, or on images as small as the first ones."""
    example, batch_size = getattr(model, "example_input_array", None), getattr(data, "batch_size", 2)
    if not isinstance(example, torch.Tensor):
        return
    images = first = example[:1].expand(2, *example.shape[1:])
    with torch.random.fork_rng(devices=[]):
        for augmentation in getattr(data, "augmentations", []):
            first = augmentation(first, Moment(torch.arange(2), 0, trainer.max_epochs or -1))
    if first.shape != images.shape and (fault := _fault(model, first)):
        size = " x ".join(map(str, first.shape[2:]))
        raise InputError(f"augment {data.hparams['augment']}: the network does not take images of {size}: {fault}")
    if batch_size == 1 and (fault := _fault(model, first[:1])):
        raise InputError(f"batch_size 1: the network does not train on single samples: {fault}")


def _fault(model: LightningModule, batch: torch.Tensor) -> str:
    """The error of a training step of a copy of the model on this batch; empty if there is none."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            copy.deepcopy(model).train()(batch)
        except (RuntimeError, ValueError) as error:  # the errors that torch's layers raise
            return str(error)
    return ""


def check_position(checkpoint: Checkpoint, data: LightningDataModule, trainer: Trainer) -> None:
    """Raises InputError if a resumed run would count its steps or batches differently than before.

    What matters is the number of samples on all devices together: two devices are like one with twice the batch size.
    """
    saved, path = checkpoint.content.get(type(data).__qualname__), checkpoint.path
    if not saved or not isinstance(data, BatchModule):
        return
    if saved.get("split", split := data.split_fingerprint()) != split:
        raise InputError(f"{path}: comes from another split; some of its training data would now be validation data")
    devices, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    batch = data.batch_size * devices
    if batch * accumulated == saved["step"] and (batch == saved["batch"] or not saved["within_epoch"]):
        return
    size, steps = saved["batch"] // devices, saved["step"] // saved["batch"]
    advice = f"continue with --batch_size {size} --accumulate_grad_batches {steps}"
    if saved["batch"] % devices:
        advice = f"{devices} devices cannot share these equally"
    raise InputError(
        f"batch_size {data.batch_size} x {devices} devices, accumulate_grad_batches {accumulated}: {path} counts"
        f" batches of {saved['batch']}; {advice}"
    )


def check_reloads(model: LightningModule) -> None:
    """Raises InputError if the model's checkpoint could not be read back without executing code in it.

    A module that is not ours need not be made from its checkpoint alone: its `__init__` may take what is not saved.
    """
    for name, value in model.hparams.items():
        try:
            same = torch.load(_file_of(value), weights_only=True) == value
        except Exception as error:  # pickling may raise anything, depending on the value's type
            raise InputError(_no_plain_data(model, name, value)) from error
        if isinstance(same, bool) and not same:
            raise InputError(_no_plain_data(model, name, value))
    kind = type(model)
    checkpoint = {"state_dict": {}, "hyper_parameters": dict(model.hparams), "pytorch-lightning_version": __version__}
    model.on_save_checkpoint(checkpoint)
    if not isinstance(model, Stages):
        return
    # Training must start from the present random state.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that it holds no weights
        again = kind.load_from_checkpoint(_file_of(checkpoint), map_location="cpu", weights_only=True, strict=False)
    theirs, ours = ({name: value.shape for name, value in each.state_dict().items()} for each in (again, model))
    if theirs != ours:
        name = next(name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name))
        raise InputError(f"{kind.__name__}: its hyperparameters make another network; {name} differs")


def check_states(callbacks: Iterable[Callback]) -> None:
    """Raises InputError if what a callback keeps in checkpoints could not be read back without executing code in it."""
    for callback in callbacks:
        _check_state(callback)


def _check_state(callback: Callback) -> None:
    try:
        torch.load(_file_of(callback.state_dict()), weights_only=True)
    except Exception as error:  # pickling may raise anything, depending on the values' types
        raise InputError(
            f"{type(callback).__name__}: its state_dict cannot be read back from a checkpoint; make it plain data:"
            " numbers, strings, lists, dicts, tensors"
        ) from error


def _no_plain_data(model: LightningModule, name: str, value: Any) -> str:
    kind = type(value)
    return (
        f"{type(model).__name__}: its hyperparameter {name!r}, a {kind.__module__}.{kind.__qualname__}, cannot be read"
        " back from a checkpoint; make it plain data: numbers, strings, lists, dicts; or leave it out by"
        f" save_hyperparameters(ignore=[{name!r}])"
    )


def _file_of(value: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


def check_room(folder: Path, model: LightningModule, averaged: bool = False) -> None:
    """Raises InputFileError if the disk has no room for a run's checkpoints beside those that are there already.

    Args:
        averaged: whether checkpoints have an average of the weights too.
    """
    there = sum(path.stat().st_size for path in folder.glob("checkpoints/*.ckpt"))
    size = (STATES + averaged) * sum(tensor.nbytes for tensor in model.state_dict().values())
    free = shutil.disk_usage(folder).free
    if free + there < FILES * size:
        raise InputFileError(f"{folder}: {free:,} bytes are free; {FILES} checkpoints take about {FILES * size:,}")
