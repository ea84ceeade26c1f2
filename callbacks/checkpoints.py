"""The two checkpoints of a run: its best validation epoch and its last one."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.monitor import monitor_mode


class EpochCheckpoint(ModelCheckpoint):
    """Saves `folder/<name>.ckpt`, over the old one, at the end of an epoch, and has no work between epochs.

    Args:
        monitor: saves only where this metric is the best so far; None: after every epoch.
        every: epochs from one saving to the next; the run's last one is saved in any case.

    Raises:
        ValueError: `every` is below 1.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"save_every {every}: must be at least 1 epoch")
        mode = monitor_mode(monitor) if monitor else "min"
        super().__init__(
            folder, name, monitor=monitor, mode=mode, save_on_train_epoch_end=True, enable_version_counter=False
        )
        self.every, self._key = every, f"EpochCheckpoint({name})"

    @property
    def state_key(self) -> str:
        return self._key  # Lightning asks for it at every hook, and would format all options each time

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ends = trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches
        if ends or (trainer.current_epoch + 1) % self.every == 0:
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_batch_end(self, *args: Any) -> None:
        """Nothing to do, which Lightning would find out by half a dozen questions in each step."""
