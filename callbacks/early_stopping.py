"""Early stopping that a resumed run continues where it was."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from basics.errors import InputError
from callbacks.boundaries import validation_is_scheduled
from callbacks.monitor import monitor_mode


class EarlyStop(EarlyStopping):
    """Stops after `patience` validation rounds without improvement of `monitor`; `mode` as in `monitor_mode`.

    A run that was about to stop, and was killed first, does not train another epoch when it is resumed. With
    Lightning's callback it would, and it would use the patience of the checkpoint instead of its own.
    """

    def __init__(self, monitor: str, patience: int, mode: str | None = None) -> None:
        if patience < 0:
            raise InputError(f"early_stopping {patience}: must be 0, for off, or more")
        # What is not finite is no improvement; FiniteGuard says so, unless such steps are to be skipped.
        super().__init__(monitor, mode=monitor_mode(monitor, mode), patience=patience, check_finite=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if validation_is_scheduled(trainer):  # a run continued from its end counts only the rounds it would have had
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state | {"patience": self.patience})
