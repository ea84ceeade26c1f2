"""The two checkpoints of a run: that of its best validation, and the last one.

Both hold weights that were just validated: at each validation first the best one, if it is the best, then the last one,
if it is due. A training that ends between validations is validated once more. At the last batch of an epoch both wait
for the end of the epoch, from which a resumed run starts the next one.
"""

import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.trainer.states import TrainerFn

from basics.amounts import amount
from basics.errors import InputError
from basics.lightning_internals import batch_in_epoch, count_step, leave_ended_epoch
from basics.trainer_parts import callbacks_of
from callbacks.averaging import first_step_of
from callbacks.boundaries import may_stop, step_ends, validation_follows
from callbacks.monitor import monitor_mode

ASK_EVERY = 10  # steps between two looks at the clock, if several ranks have to agree


class RunCheckpoint(ModelCheckpoint):
    """Replaces `folder/<name>.ckpt` at the end of an epoch, and does nothing between epochs.

    Args:
        monitor: saves only if this metric is the best so far; None: after every epoch.
        mode: min or max, if the metric's name does not tell which is better.
    """

    dirpath: str  # which Lightning would find out by itself, were there no folder

    def __init__(self, folder: Path, name: str, monitor: str | None = None, mode: str | None = None) -> None:
        mode = monitor_mode(monitor, mode) if monitor else "min"
        super().__init__(
            folder, name, monitor=monitor, mode=mode, save_on_train_epoch_end=True, enable_version_counter=False
        )
        self._key = f"EpochCheckpoint({name})"  # its name in existing checkpoints

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves now, at most once per step, unless the metric is no better."""
        super().on_train_epoch_end(trainer, pl_module)

    @property
    def state_key(self) -> str:
        return self._key  # Lightning asks for it in every hook, and would format all options each time

    def on_train_batch_end(self, *args: Any) -> None:
        """Nothing to do; Lightning's would find that out by half a dozen questions in each step."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Files are deleted by these names, and a checkpoint may come from a stranger, so no name may leave the folder.
        # A directory can therefore be moved before it is resumed.
        kept = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            kept[name] = self._in_folder(state_dict[name])
        kept["best_k_models"] = {self._in_folder(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(kept)
        self.current_score = state_dict["current_score"]  # Lightning saves this, but does not load it

    def _in_folder(self, path: str) -> str:
        name = Path(path).name
        return str(Path(self.dirpath) / name) if name.endswith(".ckpt") else ""


class BestCheckpoint(RunCheckpoint):
    """Saves `folder/best.ckpt` after each validation in which `monitor` is the best so far: the weights that it judged.

    Logs `best/<monitor>`, its best value so far: the curve ends with the figure that runs are compared by.

    Args:
        start: share of the run before which no validation counts, for models that are an average from then on.
    """

    def __init__(self, folder: Path, monitor: str, mode: str | None = None, start: float = 0.0) -> None:
        super().__init__(folder, "best", monitor, mode)
        self.start, self._before = start, -1  # the share in steps
        self._waits = False  # for the end of the epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.start:
            self._before = first_step_of(self.start, trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.global_step <= self._before:
            return
        self._waits = trainer.is_last_batch
        if not self._waits:
            self.save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._waits:
            self.save(trainer, pl_module)
        self._waits = False

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._log_best(trainer)
        super().save(trainer, pl_module)

    def _log_best(self, trainer: Trainer) -> None:
        """Comes before the checkpoint is written, so that a run that is resumed from it lacks no point."""
        score, best = trainer.callback_metrics.get(self.monitor or ""), self.best_model_score
        if score is None:
            return
        if best is None or self.check_monitor_top_k(trainer, score):
            best = score
        for logger in trainer.loggers:
            metrics = {f"best/{self.monitor}": float(best), "epoch": trainer.current_epoch}
            logger.log_metrics(metrics, step=trainer.global_step - 1)


class LastCheckpoint(RunCheckpoint):
    """Saves `folder/last.ckpt`, from which an interrupted or stopped run continues, after epochs and within them.

    Within an epoch it saves after a step of the optimizer, since gradients that are still being accumulated are in no
    checkpoint, and after the validation that is due at this step, which a resumed run would skip.

    A training that stops within an epoch, by `max_steps`, `max_time` or early stopping, does so at the end of a step,
    is validated, and is saved within the epoch: with more steps, time or patience it continues there. This callback
    must come after all callbacks that may stop a training.

    Args:
        epochs: between two savings; the last epoch of the run is saved in any case.
        steps: steps of the optimizer between two savings; 0 is off.
        minutes: minutes between two savings; 0 is off.

    Raises:
        InputError: a number is out of its range, or `steps` is beyond the run's end.
    """

    def __init__(self, folder: Path, epochs: int = 1, steps: int = 0, minutes: float = 0.0) -> None:
        if epochs < 1:
            raise InputError(f"checkpoint_epochs {epochs}: must be at least 1 epoch")
        for name, value in {"checkpoint_every": steps, "checkpoint_minutes": minutes}.items():
            if not value >= 0:  # catches NaN too
                raise InputError(f"{name} {value}: must be 0, for off, or more")
        super().__init__(folder, "last")
        self.epochs, self.steps, self.minutes = epochs, steps, minutes
        self.path, self._due, self._stops = Path(self.dirpath, "last.ckpt"), False, False
        self._schedule: dict[str, Any] = {}  # of validation, saved while an additional last one runs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.automatic_optimization:
            self._last_step = trainer.estimated_stepping_batches  # computed once, since it takes time
        else:  # a module that steps by itself may do so more or less often than once a batch
            self._last_step = trainer.max_steps if trainer.max_steps != -1 else math.inf
        if self.steps > self._last_step:
            raise InputError(f"checkpoint_every {self.steps}: the whole run has only {amount(self._last_step, 'step')}")
        self._step, self._saved_at = trainer.global_step, time.monotonic()
        leave_ended_epoch(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.should_stop or self._stops:
            self._stops, trainer.should_stop = True, step_ends(trainer, batch_idx)
        step = trainer.global_step
        if step == self._step:
            return
        self._step = step
        ends = step >= self._last_step or (self._stops and may_stop(trainer, trainer.current_epoch))
        self._due = ends or self._due or self._is_due(trainer)
        validates = self._due and (validation_follows(trainer, batch_idx) or (ends and self._validates_last(trainer)))
        if self._due and not trainer.is_last_batch and not validates:
            self._save(trainer, pl_module)

    def _validates_last(self, trainer: Trainer) -> bool:
        """Lets Lightning validate after this batch, because the training is about to stop; False if it cannot."""
        if not trainer.enable_validation or not may_stop(trainer, trainer.current_epoch):
            return False
        self._schedule = {"check_val_every_n_epoch": trainer.check_val_every_n_epoch}
        trainer.check_val_every_n_epoch, trainer.should_stop = 1, True
        return True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        vars(trainer).update(self._schedule)
        self._schedule = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.is_last_batch:
            return
        if trainer.should_stop and not step_ends(trainer, batch_in_epoch(trainer)):
            self._stops, trainer.should_stop = True, False  # at the end of the step
        if self._due or (trainer.should_stop and may_stop(trainer, trainer.current_epoch)):
            self._save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ended = trainer.current_epoch + 1
        ends = trainer.should_stop or trainer.global_step >= self._last_step or ended == trainer.max_epochs
        if ends or self._due or ended % self.epochs == 0:
            self._save(trainer, pl_module)  # but not again if the training has stopped within the epoch

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        timer = next((callback for callback in callbacks_of(trainer) if isinstance(callback, Timer)), None)
        unfinished = trainer.should_stop and trainer.global_step < trainer.estimated_stepping_batches
        left = timer.time_remaining() if timer else None  # seconds; None where there is no limit
        if timer and unfinished and left is not None and left <= 0 and trainer.is_global_zero:
            after, run = timedelta(seconds=round(timer.time_elapsed())), self.path.parent.parent
            print(
                f"max_time: used up after {after} of training, {amount(trainer.global_step, 'step')};"
                f" continue with --resume {run} and a longer --max_time",
                flush=True,
            )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating and not validation_follows(trainer, batch_in_epoch(trainer)):
            count_step(checkpoint, trainer.global_step)

    def _is_due(self, trainer: Trainer) -> bool:
        if self.steps and self._step % self.steps == 0:
            return True
        if not self.minutes or (trainer.world_size > 1 and self._step % ASK_EVERY):
            return False
        return trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.minutes)

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer, pl_module)
        self._due, self._saved_at = False, time.monotonic()
