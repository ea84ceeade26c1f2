"""Learning-rate decay that continues exactly after a resume."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from basics.errors import InputError
from basics.lightning_internals import batch_in_run
from callbacks.boundaries import validation_is_scheduled
from callbacks.monitor import monitor_mode
from callbacks.schedules import Schedule, constant, schedule_called

# Those that come with this project. The three here follow more than the progress of a run; they begin as constant.
OF_MORE: dict[str, Schedule] = {"step": constant, "onecycle": constant, "plateau": constant}
SCHEDULES = ("constant", "step", "linear", "cosine", "onecycle", "plateau")
ONECYCLE_RISE = 0.3  # share of the run until the peak, as in torch's OneCycleLR
ONECYCLE_START = 1 / 25  # of the peak, as there


class LRDecay(Callback):
    """Sets every learning rate before each step to its initial value times a factor.

    With `constant` and no warm-up, nothing is set: a module may set its rates, or bring a scheduler of its own.

    The factor follows from the number of the step, or for `plateau` from the validation metric, and
    the initial value is kept in the optimizer's param groups, so in checkpoints. (A torch scheduler
    that Lightning steps instead loses a step at each resume with `plateau`.)

    Args:
        schedule: a function of `schedules/` by its name, such as `constant`, `linear` or `cosine`; `step`: times
            `gamma` at each of the `milestones`; `onecycle`: up to the initial value and then down to 0 (Smith and Topin
            2018); `plateau`: times `gamma` whenever the metric has not improved for more than `patience` validation
            rounds.
        warmup_epochs: epochs, or a part of one, of linear rise from 0; for onecycle, of its own rise.
        milestones: for `step`, as shares of the run.
        monitor: the metric for `plateau`.
        mode: min or max, if the metric's name does not tell which is better.
        length: of the schedule, in lengths of the run; above 1, the run ends before it does.

    Raises:
        InputError: an unknown schedule, or a number out of its range.
    """

    by_batch = False  # whether the steps of the schedule are batches

    def __init__(
        self,
        schedule: str = "constant",
        warmup_epochs: float = 0.0,
        milestones: Sequence[float | Fraction] = (0.5, 0.75),
        gamma: float = 0.1,
        patience: int = 5,
        monitor: str = "val/loss",
        mode: str | None = None,
        length: Fraction | int = 1,
    ) -> None:
        self.shape = schedule_called(schedule, OF_MORE)
        if warmup_epochs < 0:
            raise InputError(f"warmup_epochs {warmup_epochs}: must not be negative")
        if list(milestones) != sorted(milestones) or not all(0 < share < 1 for share in milestones):
            raise InputError(f"lr_milestones {list(milestones)}: must be shares of the run, rising, between 0 and 1")
        if not 0 < gamma < 1:
            raise InputError(f"lr_gamma {gamma}: must be between 0 and 1")
        self.schedule, self.warmup_epochs, self.milestones = schedule, warmup_epochs, tuple(milestones)
        self.gamma, self.patience, self.monitor = gamma, patience, monitor
        self.sign = -1 if schedule == "plateau" and monitor_mode(monitor, mode) == "max" else 1
        self.best, self.rounds_without, self.plateau_factor = math.inf, 0, 1.0
        self.length = length
        self.stands_aside = False  # where the rates are the module's business
        self.total_steps: float = 0  # of the schedule, from the start of training on
        self.earlier_steps: float = 0  # the same of a resumed run before; 0: not known

    def factor(self, step: int, total_steps: float, warmup_steps: float) -> float:
        """The share of the initial learning rate at `step` of `total_steps`, the first being 0."""
        if self.schedule == "onecycle":
            return onecycle(step / total_steps, (warmup_steps / total_steps) or ONECYCLE_RISE)
        warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        passed = sum(step >= share * total_steps for share in self.milestones) if self.schedule == "step" else 0
        progress = max(0.0, step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return warmup * self.shape(progress) * self.gamma**passed * self.plateau_factor

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stands_aside = bool(trainer.lr_scheduler_configs)
        if trainer.lr_scheduler_configs:
            if self.schedule != "constant" or self.warmup_epochs:
                asked = f"lr_decay {self.schedule}, warmup_epochs {self.warmup_epochs:g}"
                raise InputError(f"{asked}: configure_optimizers has a scheduler too; there can be one only")
            return
        for group in self._groups(trainer):
            group.setdefault("initial_lr", group["lr"])
        self.stands_aside = self.schedule == "constant" and not self.warmup_epochs
        self.by_batch = not pl_module.automatic_optimization and trainer.max_steps == -1
        self.total_steps = self._batches(trainer) if self.by_batch else trainer.estimated_stepping_batches
        if not math.isinf(self.total_steps):
            self.total_steps = int(self.total_steps * self.length)
        if math.isinf(self.total_steps) and self.schedule not in ("constant", "plateau"):
            raise InputError(f"lr_decay {self.schedule}: needs an end; set max_epochs or max_steps")
        self.warmup_steps = self.warmup_epochs * self._steps_per_epoch(trainer) if self.warmup_epochs else 0.0
        if getattr(trainer, "fast_dev_run", False):  # of one epoch of few batches, whatever the flags say
            self.warmup_steps = min(self.warmup_steps, 0.2 * self.total_steps)
        if self.warmup_steps >= self.total_steps:
            fifth = 0.2 * self.total_steps / self._steps_per_epoch(trainer)
            raise InputError(f"warmup_epochs {self.warmup_epochs}: must be shorter than the run, such as {fifth:.2g}")
        if trainer.is_global_zero and trainer.global_step:
            self._say_jump(trainer)

    def _batches(self, trainer: Trainer) -> float:
        """Those of the whole run."""
        return trainer.num_training_batches * trainer.max_epochs if trainer.max_epochs not in (None, -1) else math.inf

    def _step(self, trainer: Trainer) -> int:
        """The number of the step that comes next; of the batch, where a module steps its optimizers by itself."""
        return batch_in_run(trainer) if self.by_batch else trainer.global_step

    def _steps_per_epoch(self, trainer: Trainer) -> int:
        if math.isinf(trainer.num_training_batches):
            raise InputError(f"warmup_epochs {self.warmup_epochs:g}: the data do not say how long an epoch is")
        return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)

    def _say_jump(self, trainer: Trainer) -> None:
        """Says that a resumed run has another curve if it has more or fewer steps."""
        if self.schedule in ("constant", "plateau"):
            return
        group, last = self._groups(trainer)[0], self._step(trainer) - 1
        was, now = group["lr"], group["initial_lr"] * self.factor(last, self.total_steps, self.warmup_steps)
        jumps = not math.isclose(was, now, rel_tol=1e-3)
        if jumps or self.earlier_steps not in (0, self.total_steps):
            before = f" in place of {self.earlier_steps:,.0f}" if self.earlier_steps else ""
            rate = f"; the rate of step {last:,} was {was:.3g}, and goes on from {now:.3g}" if jumps else ""
            print(f"--lr_decay {self.schedule} now spans {self.total_steps:,.0f} steps{before}{rate}", flush=True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.stands_aside:
            return
        factor = self.factor(self._step(trainer), self.total_steps, self.warmup_steps)
        for group in self._groups(trainer):
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor  # a callback may have added the group

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.schedule != "plateau" or trainer.sanity_checking or not validation_is_scheduled(trainer):
            return
        value = self.sign * float(trainer.callback_metrics[self.monitor])
        if value < self.best:
            self.best, self.rounds_without = value, 0
            return
        self.rounds_without += 1
        if self.rounds_without > self.patience:
            self.plateau_factor, self.rounds_without = self.plateau_factor * self.gamma, 0

    def state_dict(self) -> dict[str, float]:
        return {
            "best": self.best,
            "rounds_without": self.rounds_without,
            "plateau_factor": self.plateau_factor,
            "earlier_steps": self.total_steps,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)

    @staticmethod
    def _groups(trainer: Trainer) -> list[dict[str, Any]]:
        return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]


def onecycle(progress: float, rise: float) -> float:
    """From `ONECYCLE_START` by half a cosine to 1 at progress `rise`, then to 0 at progress 1."""
    if progress < rise:
        return ONECYCLE_START + (1 - ONECYCLE_START) * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
