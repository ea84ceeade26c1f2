"""The curves of a training, kept in memory to compare them with another's."""

import hashlib
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Curves(Callback):
    """Keeps the learning rate of each step, losses and accuracy of each epoch, and a checksum of all batches."""

    def __init__(self) -> None:
        self.rates: list[float] = []  # by step
        self.losses: list[float] = []  # by epoch, like those below
        self.val_losses: list[float] = []
        self.accuracies: list[float] = []
        self.train_accuracies: list[float] = []
        self._seen = hashlib.sha256()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        for part in batch:
            self._seen.update(part.cpu().numpy().tobytes())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The last epoch's metrics are complete only now: the module logs its own after the callbacks.
        if trainer.current_epoch:
            self._keep(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics
        self.losses.append(float(metrics["train/loss"]))
        self.val_losses.append(float(metrics["val/loss"]))
        self.accuracies.append(float(metrics["val/acc"]))
        self.train_accuracies.append(float(metrics["train/acc"]))

    def checksum(self) -> str:
        """The checksum of the images and labels of all steps, in order."""
        return self._seen.hexdigest()[:16]

    def as_data(self) -> dict[str, Any]:
        """The curves, for metrics.json."""
        return {
            "rates": self.rates,
            "train/loss": self.losses,
            "val/loss": self.val_losses,
            "val/acc": self.accuracies,
        }
