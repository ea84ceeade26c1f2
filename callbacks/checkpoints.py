"""The two checkpoints of a run: its best validation epoch and its last one."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.boundaries import validation_follows
from callbacks.monitor import monitor_mode

ASK_EVERY = 10  # steps between two looks at the clock, where several ranks have to agree


class EpochCheckpoint(ModelCheckpoint):
    """Saves `folder/<name>.ckpt`, over the old one, at the end of an epoch, and has no work between epochs.

    Args:
        monitor: saves only where this metric is the best so far; None: after every epoch.
        mode: min or max, where the metric's name does not tell which is better.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None, mode: str | None = None) -> None:
        mode = monitor_mode(monitor, mode) if monitor else "min"
        super().__init__(
            folder, name, monitor=monitor, mode=mode, save_on_train_epoch_end=True, enable_version_counter=False
        )
        self._key = f"EpochCheckpoint({name})"

    @property
    def state_key(self) -> str:
        return self._key  # Lightning asks for it at every hook, and would format all options each time

    def on_train_batch_end(self, *args: Any) -> None:
        """Nothing to do, which Lightning would find out by half a dozen questions in each step."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Files are deleted by these names, and a checkpoint may come from a stranger: none leaves the folder. So a
        # directory may also be moved before it is resumed.
        kept = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            kept[name] = self._in_folder(state_dict[name])
        kept["best_k_models"] = {self._in_folder(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(kept)

    def _in_folder(self, path: str) -> str:
        name = Path(path).name
        return str(Path(self.dirpath) / name) if name.endswith(".ckpt") else ""


class LastCheckpoint(EpochCheckpoint):
    """Saves `folder/last.ckpt`, where a run goes on after an interruption, at the end of epochs and within them.

    Within an epoch it saves where the optimizer has made a step, since gradients that are being accumulated are in no
    checkpoint, and after the validation that is due at this step, which a resumed run would pass over.

    Args:
        epochs: from one saving to the next; the run's last one is saved in any case.
        steps: of the optimizer, from one saving to the next; 0 is off.
        minutes: the same; 0 is off.

    Raises:
        ValueError: a number is out of its range, or `steps` is beyond the run's end.
    """

    def __init__(self, folder: Path, epochs: int = 1, steps: int = 0, minutes: float = 0.0) -> None:
        if epochs < 1:
            raise ValueError(f"checkpoint_epochs {epochs}: must be at least 1 epoch")
        for name, value in {"checkpoint_every": steps, "checkpoint_minutes": minutes}.items():
            if not value >= 0:  # nor NaN
                raise ValueError(f"{name} {value}: must be 0, for off, or more")
        super().__init__(folder, "last")
        self.epochs, self.steps, self.minutes = epochs, steps, minutes
        self.path, self._due = Path(self.dirpath, "last.ckpt"), False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.steps > trainer.estimated_stepping_batches:
            raise ValueError(
                f"checkpoint_every {self.steps}: the whole run is of {trainer.estimated_stepping_batches:,} steps"
            )
        self._step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not (self.steps or self.minutes) or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._due = self._due or self._is_due(trainer)
        if self._due and not trainer.is_last_batch and not validation_follows(trainer, batch_idx):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._due and not trainer.sanity_checking and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ends = trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches
        if ends or self._due or (trainer.current_epoch + 1) % self.epochs == 0:
            super().on_train_epoch_end(trainer, pl_module)
            self._saved(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        if self.steps and self._step % self.steps == 0:
            return True
        if not self.minutes or (trainer.world_size > 1 and self._step % ASK_EVERY):
            return False
        return trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.minutes)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved(trainer)

    def _saved(self, trainer: Trainer) -> None:
        self._due, self._saved_at = False, time.monotonic()
