"""A progress bar that costs next to nothing: one line, redrawn twice a second."""

import re
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from basics.amounts import amount
from basics.terminal import columns, short_number
from callbacks.step_curves import loss_of
from callbacks.throughput import samples_in

REDRAW_SECONDS = 0.5
BAR_WIDTH = 24  # at most; less where the terminal is narrow


class ProgressLine(ProgressBar):
    """Draws epoch, step, loss, samples per second and time left on a terminal, and a line per epoch anywhere.

    A validation within an epoch has a line of its own; an epoch's line shows validation figures only from its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self._redraw_at = 0.0
        self._validated = False  # at the end of the epoch whose line is due

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started, self._first_step = time.perf_counter(), trainer.global_step
        self._draws = self.enabled and sys.stdout.isatty()
        self._start_epoch()  # a resume within an epoch has no on_train_epoch_start
        if self.enabled:
            device = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
            device += f", {trainer.precision}" * (trainer.precision != "32-true")
            epochs = amount(trainer.max_epochs or 0, "epoch") if trainer.max_epochs != -1 else "epochs"
            batches = amount(trainer.num_training_batches, "batch", "batches")
            steps = amount(trainer.estimated_stepping_batches, "step")
            print(f"{steps}: {epochs} of {batches} on {device}", flush=True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The last epoch's metrics are complete only now: the module logs its own after the callbacks.
        self._print_epoch(trainer, trainer.current_epoch)
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._epoch_started, self._epoch_samples = time.perf_counter(), 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print_epoch(trainer, trainer.current_epoch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self._validated = trainer.is_last_batch
        if not self._validated and self.enabled:
            place = f"{_epoch_of(trainer, trainer.current_epoch + 1)}, step {trainer.global_step:,}"
            self._print(place, _metrics(trainer, "val"))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._epoch_samples += samples_in(batch)
        if self._draws and time.perf_counter() >= self._redraw_at:
            self._redraw_at = time.perf_counter() + REDRAW_SECONDS
            self._draw(trainer, loss_of(outputs, trainer), batch_idx + 1)

    def _draw(self, trainer: Trainer, loss: float | None, batches: int) -> None:
        rate = self._epoch_samples * trainer.world_size / (time.perf_counter() - self._epoch_started)
        before = f"{_epoch_of(trainer, trainer.current_epoch + 1)} ["
        after = (
            f"] {batches}/{self.total_train_batches}"
            f"{'' if loss is None else f'  loss {loss:.4f}'}  {rate:,.0f} samples/s  {self._time_left(trainer)}"
        )
        width = shutil.get_terminal_size().columns - 1
        long = max(0, min(BAR_WIDTH, width - len(before) - len(after)))
        bar = "=" * int(long * batches / self.total_train_batches)  # 0 of an epoch of unknown length
        print(f"\r{f'{before}{bar:<{long}}{after}'[:width]:<{width}}", end="", flush=True)

    def _time_left(self, trainer: Trainer) -> str:
        done = trainer.global_step - self._first_step
        missing = trainer.estimated_stepping_batches - trainer.global_step
        if done <= 0 or missing <= 0 or missing == float("inf"):  # a resumed run may have more steps than are asked for
            return ""
        seconds = (time.perf_counter() - self._started) / done * missing
        return f"{timedelta(seconds=round(seconds))} left"

    def _print_epoch(self, trainer: Trainer, epochs_done: int) -> None:
        if not self.enabled or not epochs_done or trainer.global_step == self._first_step:
            return
        metrics = _metrics(trainer, "train", *["val"] * self._validated)
        self._validated = False
        last = _epoch_of(trainer, max(trainer.max_epochs or -1, epochs_done))
        self._print(f"{_epoch_of(trainer, epochs_done):<{len(last)}}", metrics, self._time_left(trainer))

    def _print(self, place: str, metrics: list[str], left: str = "") -> None:
        line = fitted([place, *metrics], left, columns())
        erase = "\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r" if self._draws else ""
        print(f"{erase}{line}", flush=True)


def fitted(parts: Sequence[str], left: str, width: int) -> str:
    """The parts in a line of at most `width` columns; where there is no room, without the time left, and then closer.

    Where that is too long, a stage is named once for all its metrics, and then of the training only the loss is there.
    What is still too long goes on in further lines, which are indented.
    """
    place, *metrics = parts
    brief = [part for part in metrics if not part.startswith("train") or part.startswith(("train/loss", "train_loss"))]
    grouped = [[place, *_by_stage(some)] for some in (metrics, brief)]
    spaced = ["  ".join([*parts, left] if left else parts), "  ".join(parts), " ".join(parts)]
    for line in (*spaced, *map("  ".join, grouped)):
        if len(line) <= width:
            return line
    lines = [place]
    for part in grouped[0][1:]:
        longer = f"{lines[-1]}  {part}"
        lines = [*lines[:-1], longer] if len(longer) <= width else [*lines, f"  {part}"]
    return "\n".join(lines)


def _by_stage(metrics: Sequence[str]) -> list[str]:
    """Such as "val/acc 0.9931 loss 0.0745", a text for each stage."""
    stages: dict[str, list[str]] = {}
    for metric in metrics:
        stage, slash, rest = metric.partition("/")
        stages.setdefault(f"{stage}{slash}", []).append(rest)
    return [f"{stage}{' '.join(its)}" for stage, its in stages.items()]


def _metrics(trainer: Trainer, *stages: str) -> list[str]:
    """The latest metrics of these stages, such as val/loss, or val_loss as others write it; without times."""
    metrics = trainer.callback_metrics
    known = tuple(stage + mark for stage in stages for mark in "/_")
    names = sorted(
        name for name in metrics if name.startswith(known) and "second" not in name and _joined(name) not in metrics
    )
    return [f"{name} {short_number(float(metrics[name]))}" for name in names]


def _joined(name: str) -> str:
    """What Lightning also calls a metric that is logged by step and by epoch, as train_loss is beside train_loss_step.

    Empty for other metrics.
    """
    joined = re.sub(r"_(step|epoch)(?=$|/dataloader_idx_\d+$)", "", name)
    return joined if joined != name else ""


def _epoch_of(trainer: Trainer, number: int) -> str:
    return f"epoch {number}" + (f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else "")
