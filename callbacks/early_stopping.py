"""Early stopping that a resumed run continues where it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from basics.errors import InputError
from callbacks.boundaries import may_stop, validation_is_scheduled
from callbacks.monitor import monitor_mode


class EarlyStop(EarlyStopping):
    """Stops after `patience` validation rounds without improvement of `monitor`; `mode` as in `monitor_mode`.

    A run that was about to stop, and was killed first, does not train another epoch when it is resumed. With
    Lightning's callback it would, and it would use the patience of the checkpoint instead of its own. Before
    `min_epochs` and `min_steps` nothing stops, and rounds without improvement are counted; Lightning's stops when the
    minimum is reached even if the metric has improved since, but not if the run was resumed meanwhile.
    """

    def __init__(self, monitor: str, patience: int, mode: str | None = None) -> None:
        if patience < 0:
            raise InputError(f"early_stopping {patience}: must be 0, for off, or more")
        # What is not finite is no improvement; FiniteGuard says so, unless such steps are to be skipped.
        super().__init__(monitor, mode=monitor_mode(monitor, mode), patience=patience, check_finite=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        waited = self.wait_count >= self.patience and may_stop(trainer, trainer.current_epoch)
        trainer.should_stop = trainer.should_stop or waited

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not validation_is_scheduled(trainer):
            return  # a run continued from its end counts only the rounds it would have had
        with _from_minimum_on(trainer, trainer.current_epoch + trainer.is_last_batch):
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with _from_minimum_on(trainer, trainer.current_epoch + 1):
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state | {"patience": self.patience})


@contextmanager
def _from_minimum_on(trainer: Trainer, epochs: int) -> Iterator[None]:
    """Lets what is within stop the training only if it may stop after so many epochs."""
    stops = trainer.should_stop
    yield
    trainer.should_stop &= stops or may_stop(trainer, epochs)
