"""The two checkpoints of a run: its best validation epoch and its last one."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.monitor import monitor_mode


class EpochCheckpoint(ModelCheckpoint):
    """Saves `folder/<name>.ckpt`, over the old one, at the end of an epoch, and has no work between epochs.

    Args:
        monitor: saves only where this metric is the best so far; None: after every epoch.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        mode = monitor_mode(monitor) if monitor else "min"
        super().__init__(
            folder, name, monitor=monitor, mode=mode, save_on_train_epoch_end=True, enable_version_counter=False
        )
        self._key = f"EpochCheckpoint({name})"

    @property
    def state_key(self) -> str:
        return self._key  # Lightning asks for it at every hook, and would format all options each time

    def on_train_batch_end(self, *args: Any) -> None:
        """Nothing to do, which Lightning would find out by half a dozen questions in each step."""
