"""Curves by step between the epochs' means: the loss of single batches and the learning rate."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class StepCurves(Callback):
    """Logs `step/loss` and `step/lr` every `log_every_n_steps` steps; no other step waits for the device."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            for logger in trainer.loggers:
                logger.log_metrics({"step/loss": float(outputs["loss"]), "step/lr": rate}, step=trainer.global_step)
