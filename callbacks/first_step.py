"""What is to happen once, when all that could be refused has been accepted."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class FirstStep(Callback):
    """Calls `call(trainer)` before the first training step: all is checked then, and a checkpoint restored."""

    def __init__(self, call: Callable[[Trainer], None]) -> None:
        self.call = call

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Done; each callback in the list costs time in every step.
        trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self]
        self.call(trainer)
