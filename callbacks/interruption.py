"""An orderly end at a signal: after the current step, on all ranks at once, with everything saved to resume."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from basics.lightning_internals import (
    batch_in_epoch,
    begin_validation_again,
    forget_begun_validation,
    handle_no_signals,
)
from basics.trainer_parts import callbacks_of, drop_callback, set_callbacks
from callbacks.boundaries import step_ends, validation_follows


class Interruption(Callback):
    """Ends a training by SystemExit once `interrupt` was called on any rank; a resume continues it exactly.

    With one process it costs nothing: it joins the trainer's callbacks only when a signal comes. Several processes must
    end after the same batch, so at the end of each batch the ranks' flags are sent off, and read at the end of the next
    one: no rank waits for another, or for its device. It must come after all callbacks that change the weights.

    Args:
        checkpoint: the file to save; None saves nothing.

    Attributes:
        active: whether another batch will end, after which a signal is noticed.
        saving: whether the checkpoint is being written.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint
        self.trainer: Trainer | None = None  # of the training, once there is one
        self.active, self.saving = False, False
        self._signal, self._agreed = 0, 0
        self._sent: dist.Work | None = None  # the last exchange of flags

    def interrupt(self, signal: int) -> bool:
        """Takes note of the signal with this number; False if no training could end in order."""
        if not self.active or self.trainer is None:
            return False
        self._signal = signal
        if self not in (callbacks := callbacks_of(self.trainer)):
            set_callbacks(self.trainer, [*callbacks, self])
        return True

    def end_training(self) -> None:
        """To be called after `fit`, for a signal that came after its last batch, when everything is saved."""
        self.active = False
        if self._signal:
            raise SystemExit(128 + self._signal)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.trainer = trainer
        handle_no_signals(trainer)
        if trainer.world_size > 1:
            self._flag = torch.zeros(1, dtype=torch.int32)
            group = dist.new_group(backend="gloo")  # on the CPU, and separate from that of the gradients
            assert isinstance(group, dist.ProcessGroup)  # and not torch's number for the ranks that are in none
            self._group = group

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_begun_validation(trainer)
        self.active = True
        if trainer.world_size == 1:
            drop_callback(trainer, self)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._agree(trainer) and not _more_follows(trainer, batch_idx) and step_ends(trainer, batch_idx):
            self._end(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if not self.active:  # in the sanity check, or after training
            return
        if self._agree(trainer) and not _run_ends(trainer) and step_ends(trainer, batch_in_epoch(trainer)):
            for callback in callbacks_of(trainer):
                if isinstance(callback, WeightAveraging):  # the average is validated; the current weights go back
                    callback.on_validation_epoch_end(trainer, pl_module)
            self._end(trainer)

    def _agree(self, trainer: Trainer) -> int:
        """The signal that all ranks know of, with each rank's call of the same number."""
        if trainer.world_size == 1:
            return self._signal
        if self._sent:
            self._sent.wait()
            self._agreed = int(self._flag)
        if not self._agreed:
            self._flag.fill_(self._signal)
            self._sent = dist.all_reduce(self._flag, dist.ReduceOp.MAX, self._group, async_op=True)
        return self._agreed

    def _end(self, trainer: Trainer) -> None:
        if self.checkpoint:
            self.saving = True
            trainer.save_checkpoint(self.checkpoint)
            self.saving = False
            if trainer.is_global_zero:
                step, run = trainer.global_step, self.checkpoint.parent.parent
                print(f"\nsaved after step {step:,}; continue with --resume {run}", file=sys.stderr, flush=True)
        raise SystemExit(128 + (self._agreed or self._signal))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.saving and trainer.validating:
            begin_validation_again(checkpoint)


def _run_ends(trainer: Trainer) -> bool:
    """Whether only a last validation is left, which a resumed run would skip."""
    return trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step


def _more_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation or the end of the epoch follows, before which Lightning cannot be stopped exactly."""
    ends = batch_idx + 1 == trainer.num_training_batches or _run_ends(trainer)
    return ends or validation_follows(trainer, batch_idx)
