"""What all data modules share: the size of the validation split, and whole batches for this rank's device."""

import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.core.hooks import DataHooks

from basics.errors import InputError
from basics.trainer_parts import overfits_batches
from datamodules.batches import WHOLE, Batch, Part


class Rank(TypedDict, total=False):
    """This process's place among all; a loader without one is alone."""

    rank: int
    world_size: int


class BatchModule(LightningDataModule):
    """A data module whose loaders make whole batches on the device (see `batches.py`).

    Its arguments, those of subclasses and its name are hyperparameters: every checkpoint says what it was trained on,
    and `load_from_checkpoint` makes the data module again.

    Args:
        batch_size: training samples per device and step.
        seed: of the validation split, the order of batches, and all random draws in training.
        val_size: the validation split, taken from the training samples: a share below 1, or a number of them; 0: none.

    Raises:
        InputError: an argument is out of range.
    """

    name: str
    train_indices: np.ndarray  # from `setup` on, as the next
    val_indices: np.ndarray
    classes: Sequence[str]  # of a classification; their names, in the order of the labels
    samples = "images"  # what the data consist of, in messages
    has_tests = True  # whether there is a test set, from `setup` on

    def __init__(self, batch_size: int, seed: int, val_size: float) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.hparams.update({name: _plain(value) for name, value in self.hparams.items()}, name=self.name)
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: must be at least 1")
        self.batch_size, self.seed, self.val_size = batch_size, seed, val_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of a sample, as a network gets it."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Reads and splits the data; does nothing the second time."""

    def describe(self) -> str:
        """Lines on the splits, for the beginning of a run."""
        raise NotImplementedError

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # it is on the device already

    def predict_dataloader(self) -> Iterable[Batch]:
        """The test split, for `Trainer.predict`."""
        return self.test_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one it continues."""
        assert self.trainer is not None  # whose checkpoint it is for
        batch, accumulated = self.batch_size * self.trainer.world_size, self.trainer.accumulate_grad_batches
        within_epoch, split = not self.trainer.is_last_batch, self.split_fingerprint()
        return {"batch": batch, "step": batch * accumulated, "within_epoch": within_epoch, "split": split}

    def split_fingerprint(self) -> int:
        """A number that, after `setup`, is the same for two data modules with the same splits."""
        number = 0
        for part in ("train", "val", "test"):
            rows = np.asarray(getattr(self, f"{part}_indices", ()), dtype="<i8")
            number = zlib.crc32(f"{part} {len(rows)} ".encode() + rows.tobytes(), number)
        return number

    def _num_val(self, available: int) -> int:
        if self.val_size == 0:
            return 0
        check_size("val_size", self.val_size, self.samples)
        num_val = round(self.val_size * available) if self.val_size < 1 else int(self.val_size)
        if not 0 < num_val < available:
            raise InputError(
                f"val_size {self.val_size:g}: takes {num_val} of {available} training {self.samples};"
                " at least one must go to each side"
            )
        return num_val

    def _says_more_val(self, group: str) -> list[str]:
        """A line if the validation split is larger than asked for: all of a `group`, or an image of every class."""
        asked, num_val = self._num_val(len(self.train_indices) + len(self.val_indices)), len(self.val_indices)
        if num_val <= asked:
            return []
        why = "as groups stay whole" if group else "one of each class"
        return [f"val_size {self.val_size:g}: {num_val:,} {self.samples} in place of {asked:,}, {why}"]

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _epoch(self) -> int:
        # To overfit a few batches, they must be the same ones in every epoch.
        return self.trainer.current_epoch if self.trainer and not overfits_batches(self.trainer) else 0

    def _part(self) -> Part:
        return Part(self.trainer.global_rank, self.trainer.world_size) if self.trainer else WHOLE


def made_in_place(data: LightningDataModule, module: LightningModule) -> bool:
    """Whether batches come from their loaders as the steps get them: on the device, and changed by no hook."""
    hooks = ("on_before_batch_transfer", "on_after_batch_transfer")
    changed = any(
        getattr(type(each), hook) is not getattr(DataHooks, hook) for each in (data, module) for hook in hooks
    )
    return type(data).transfer_batch_to_device is BatchModule.transfer_batch_to_device and not changed


def check_size(name: str, size: float, samples: str) -> None:
    """Raises InputError unless the size of a split is a share below 1, or a whole number other than 1."""
    if not math.isfinite(size) or (size > 1 and size != int(size)):
        raise InputError(f"{name} {size:g}: must be a share below 1 or a whole number of {samples}")
    if size == 1:
        raise InputError(f"{name} 1: is neither a share below 1 nor enough {samples} to judge a model by")


def _plain(value: Any) -> Any:
    """The argument as a checkpoint can hold it: paths as text, named tuples as tuples, anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    return str(value) if isinstance(value, Path) else value
