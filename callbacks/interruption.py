"""An orderly end at a signal: after the current step, on all ranks at once, with everything saved to resume."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from callbacks.boundaries import step_ends, validation_follows

# The counters of a validation in its first batch, in Lightning's words.
IN_FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


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
        self.checkpoint, self.trainer = checkpoint, None
        self.active, self.saving = False, False
        self._signal, self._agreed, self._sent = 0, 0, None

    def interrupt(self, signal: int) -> bool:
        """Takes note of the signal with this number; False if no training could end in order."""
        if not self.active:
            return False
        self._signal = signal
        if self not in self.trainer.callbacks:
            self.trainer.callbacks = [*self.trainer.callbacks, self]
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
        # Lightning's handler of SIGTERM broadcasts whatever the ranks are doing, and it also broadcasts in each step,
        # and reads the result from the device. This callback replaces both, which cannot be switched off.
        trainer._signal_connector.register_signal_handlers = _nothing
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing
        if trainer.world_size > 1:
            self._flag = torch.zeros(1, dtype=torch.int32)
            self._group = dist.new_group(backend="gloo")  # on the CPU, and separate from that of the gradients

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validation = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        if validation.total.processed < validation.total.started:  # the resume of `_in_validation`, already noted
            validation.total.reset()
        self.active = True
        if trainer.world_size == 1:
            trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._agree(trainer) and not _more_follows(trainer, batch_idx) and step_ends(trainer, batch_idx):
            self._end(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if not self.active:  # in the sanity check, or after training
            return
        if self._agree(trainer) and not _run_ends(trainer) and step_ends(trainer, trainer.fit_loop.batch_idx):
            for callback in trainer.callbacks:
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
                print(f"\nsaved after step {step:,}; --resume {run} goes on", file=sys.stderr, flush=True)
        raise SystemExit(128 + (self._agreed or self._signal))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.saving and trainer.validating:
            # A validation in its first batch is started again by Lightning; otherwise it would be skipped.
            validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            validation.update(total=dict(IN_FIRST_BATCH), current=dict(IN_FIRST_BATCH))


def _nothing(*args: Any) -> None:
    """Replaces what is not wanted."""


def _run_ends(trainer: Trainer) -> bool:
    """Whether only a last validation is left, which a resumed run would skip."""
    return trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step


def _more_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation or the end of the epoch follows, before which Lightning cannot be stopped exactly."""
    ends = batch_idx + 1 == trainer.num_training_batches or _run_ends(trainer)
    return ends or validation_follows(trainer, batch_idx)
