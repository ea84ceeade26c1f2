"""Curves by step between the epochs' means: the loss of single batches and the learning rate."""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from basics.trainer_parts import log_every, steps_between_logs


def loss_of(outputs: Any, trainer: Trainer) -> float | None:
    """The loss of a training step; None if the step returned none, as one that steps its optimizers itself may."""
    if not isinstance(outputs, Mapping) or "loss" not in outputs:
        return None
    return float(outputs["loss"]) * trainer.accumulate_grad_batches  # by which Lightning has divided it


class StepCurves(Callback):
    """Logs `step/loss` and `step/lr` every `log_every_n_steps` steps; no other step waits for the device.

    In a short run it logs more often, so that its curves have `points` points and show a warm-up's peak; and so do
    Lightning's callbacks and what a module logs by step, of which a run below 50 steps would have nothing.

    The first step has the number 0, as in Lightning's own curves, so everything logged before a checkpoint is below its
    `global_step`, and what came after it is not. The curves are written before the checkpoint is.

    Args:
        points: of each curve, at least; 0 for those of `log_every_n_steps` only.
    """

    def __init__(self, points: int = 0) -> None:
        self.points = points

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._logged = trainer.global_step  # a step of several accumulated batches is logged once
        self._interval, steps = steps_between_logs(trainer), trainer.estimated_stepping_batches
        if self.points and math.isfinite(steps):
            self._interval = min(self._interval, max(1, int(steps) // self.points))
            log_every(trainer, self._interval)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, interval = trainer.global_step, self._interval
        if interval and step % interval == 0 and step != self._logged:
            self._logged = step
            rate = trainer.optimizers[0].param_groups[-1]["lr"]  # if there are several groups, the last one's
            loss = loss_of(outputs, trainer)
            metrics = {"step/lr": rate} | ({} if loss is None else {"step/loss": loss})
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=step - 1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.save()
