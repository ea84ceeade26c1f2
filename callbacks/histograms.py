"""Histograms of weights and gradients, layer by layer, for TensorBoard."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from callbacks.boundaries import place_of_curves


class Histograms(Callback):
    """Adds `weights/<parameter>` and `gradients/<parameter>` after the last step of each epoch.

    The gradients are that step's, after any clipping. Other loggers than TensorBoard's get none.

    Attributes:
        gradients: those of the latest epoch, by parameter, on the CPU.
    """

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Not at the end of the epoch, since Lightning drops the gradients before it validates.
        if batch_idx + 1 != trainer.num_training_batches or not trainer.is_global_zero:
            return
        parameters = dict(pl_module.named_parameters())
        self.gradients = {name: p.grad.float().cpu() for name, p in parameters.items() if p.grad is not None}
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                continue
            place = place_of_curves(trainer, logger)
            for name, parameter in parameters.items():
                logger.experiment.add_histogram(f"weights/{name}", parameter.detach().float(), place)
            for name, gradient in self.gradients.items():
                logger.experiment.add_histogram(f"gradients/{name}", gradient, place)
