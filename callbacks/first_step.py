"""What should happen once, when everything that could be refused has been accepted."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from basics.trainer_parts import callbacks_of, drop_callback


class FirstStep(Callback):
    """Calls `call(trainer)` before the first step of a training, when everything is checked and a checkpoint restored.

    A resumed run may begin with a validation, or with the end of an epoch.
    """

    def __init__(self, call: Callable[[Trainer], None]) -> None:
        self.call = call

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._first(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING:
            self._first(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first(trainer)

    def _first(self, trainer: Trainer) -> None:
        if self in callbacks_of(trainer):
            drop_callback(trainer, self)
            self.call(trainer)
