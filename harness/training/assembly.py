"""The callbacks that the flags of a training ask for."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Callback

from basics.errors import InputError
from callbacks import (
    BestCheckpoint,
    Capture,
    EarlyStop,
    FiniteGuard,
    FirstStep,
    GradientNorms,
    Histograms,
    Interruption,
    LastCheckpoint,
    LRDecay,
    MonitorCheck,
    Predictions,
    ProgressLine,
    StepCurves,
    TestOutputs,
    Throughput,
    monitor_mode,
    weight_averaging,
)
from harness.drawing.pictures import draw_round
from harness.training.flags import FitFlags

POINTS = 100  # of the curves by step, at least, where --log_every_n_steps does not say


class Watched(NamedTuple):
    """The callbacks that the run itself deals with: how it begins, and how it is interrupted."""

    first_step: FirstStep
    interruption: Interruption


def assemble(flags: FitFlags, run: Path, watched: Watched) -> list[Callback]:
    """The callbacks, in an order that some of them rely on."""
    mode = monitor_mode(flags.monitor, flags.monitor_mode) if flags.monitor else None  # first: it may be refused
    return [
        *_schedule(flags, mode),
        *_pictures(flags),
        *weight_averaging(flags.ema, flags.swa),
        Throughput(),
        StepCurves(POINTS if flags.log_every_n_steps is None else 0),
        *_step_by_step(flags, mode),
        watched.interruption,
        *([watched.first_step] if flags.reports else []),
        *(_checkpoints(flags, run, mode) if flags.writes else []),
    ]


def _schedule(flags: FitFlags, mode: str | None) -> list[Callback]:
    monitor = flags.monitor or "val/loss"
    milestones: Sequence[float | Fraction] = _every(flags) if flags.lr_step_epochs else flags.lr_milestones
    patience = flags.lr_patience
    decay = LRDecay(
        flags.lr_decay, flags.warmup_epochs, milestones, flags.lr_gamma, patience, monitor, mode, _length(flags)
    )
    return [decay, *([MonitorCheck(flags.monitor)] if flags.monitor else [])]


def _every(flags: FitFlags) -> list[Fraction]:
    """The milestones of a decay every so many epochs, exact shares of the schedule."""
    epochs = flags.lr_epochs or flags.max_epochs
    if flags.lr_decay != "step":
        raise InputError(f"lr_step_epochs {flags.lr_step_epochs}: is for --lr_decay step, not {flags.lr_decay}")
    if epochs < 1 or flags.max_steps != -1:
        raise InputError(f"lr_step_epochs {flags.lr_step_epochs}: counts epochs; set max_epochs, and no max_steps")
    return [Fraction(done, epochs) for done in range(flags.lr_step_epochs, epochs, flags.lr_step_epochs)]


def _length(flags: FitFlags) -> Fraction:
    """How long the schedule is, in lengths of the run."""
    if flags.lr_epochs is None:
        return Fraction(1)
    if flags.lr_epochs < flags.max_epochs or flags.max_epochs < 1 or flags.max_steps != -1:
        raise InputError(
            f"lr_epochs {flags.lr_epochs}: must be max_epochs ({flags.max_epochs}) or more, which must be set, and"
            " max_steps must not"
        )
    return Fraction(flags.lr_epochs, flags.max_epochs)


def _pictures(flags: FitFlags) -> list[Callback]:
    if not (flags.writes and flags.pictures):
        return []
    histograms = [Histograms()] if flags.histograms else []
    rounds = [Predictions(draw_round, flags.pictures_every)] if flags.pictures_every else []
    return [*histograms, *rounds, TestOutputs()]


def _step_by_step(flags: FitFlags, mode: str | None) -> list[Callback]:
    """The callbacks that look at each step. Each costs time there, so none is added without a reason."""
    captures = flags.capture or (flags.capture is None and torch.cuda.is_available())
    return [
        *([Capture(asked=bool(flags.capture), compiled=bool(flags.compile))] if captures else []),
        *([GradientNorms()] if flags.log_gradients else []),
        *([EarlyStop(flags.monitor, flags.early_stopping, mode)] if flags.early_stopping and flags.monitor else []),
        # The learning-rate finder runs on until the loss is infinite.
        *([] if flags.find_lr else [FiniteGuard(flags.on_nonfinite, flags.monitor)]),
        *([] if flags.enable_progress_bar is False else [ProgressLine()]),
    ]


def _checkpoints(flags: FitFlags, run: Path, mode: str | None) -> list[Callback]:
    folder = run / "checkpoints"  # the last one comes after the best, because it saves the other's state
    best = [BestCheckpoint(folder, flags.monitor, mode, flags.swa)] if flags.monitor else []
    every = flags.checkpoint_epochs, flags.checkpoint_every, flags.checkpoint_minutes
    return [*best, LastCheckpoint(folder, *every)]
