"""How fast a run trains: samples per second and seconds, for each epoch."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.data import extract_batch_size
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor


class Throughput(Callback):
    """Logs `train/samples_per_second`, over all devices, and `train/seconds`, for each epoch without its validation.

    Totals continue across a resume.

    Attributes:
        run_seconds: time from the start of training to its end, with validation and checkpoints, but without what
            `leave_out` was told of.
    """

    def __init__(self) -> None:
        self.samples, self.seconds, self.run_seconds = 0, 0.0, 0.0
        self._started = time.perf_counter()  # until training does; the LR finder saves before
        self._in_epoch = False

    @property
    def samples_per_second(self) -> float:
        """Over all epochs so far, without validation; 0 if there was none."""
        return self.samples / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.perf_counter() - self.run_seconds
        self._start_epoch(trainer)  # a resume within an epoch has no on_train_epoch_start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_epoch(trainer)

    def _start_epoch(self, trainer: Trainer) -> None:
        self._in_epoch, self._epoch_samples, self._epoch_seconds = True, 0, 0.0
        self._since = _now(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._epoch_samples += samples_in(batch) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._in_epoch:
            now = _now(trainer)
            self._epoch_seconds, self._since = self._epoch_seconds + now - self._since, now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._in_epoch:
            self._since = _now(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._in_epoch = False
        self._epoch_seconds += _now(trainer) - self._since
        self.samples, self.seconds = self.samples + self._epoch_samples, self.seconds + self._epoch_seconds
        rate = self._epoch_samples / self._epoch_seconds
        metrics = {"train/samples_per_second": rate, "train/seconds": self._epoch_seconds}
        pl_module.log_dict(metrics, logger=False)
        for logger in trainer.loggers:  # now: Lightning does it after the epoch's checkpoint, and a kill may come first
            logger.log_metrics(metrics, step=trainer.global_step - 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run_seconds = time.perf_counter() - self._started

    def leave_out(self, seconds: float) -> None:
        """Takes out the time that something has just needed which is no training."""
        self._started, self._since = self._started + seconds, self._since + seconds

    def state_dict(self) -> dict[str, float]:
        now = time.perf_counter()
        state = {"samples": self.samples, "seconds": self.seconds, "run_seconds": now - self._started}
        if self._in_epoch:
            state["samples"] += self._epoch_samples
            state["seconds"] += self._epoch_seconds + now - self._since
        return state

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)


def samples_in(batch: Any) -> int:
    """How many samples a batch has: as the last part of a tuple says, or as Lightning finds; 0 if that is unclear."""
    if isinstance(batch, tuple | list) and isinstance(batch[-1], Tensor) and batch[-1].ndim:
        return len(batch[-1])
    try:
        return extract_batch_size(batch)
    except MisconfigurationException:
        return 0


def _now(trainer: Trainer) -> float:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize()  # twice an epoch: work still queued belongs to the time before
    return time.perf_counter()
