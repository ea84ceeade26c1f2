"""What every experiment shares: the Trainer, the run directory, the test.

    def main(..., **flags):
        fit_and_test("name", model, data, **flags)

    if __name__ == "__main__":
        cli(main)

Functions to call, and nothing to inherit from.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

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
    Throughput,
    weight_averaging,
)
from callbacks import monitor_mode as direction
from harness.command_line import cli as command_line  # noqa: F401  puts the root on the path
from harness.command_line.flag_checks import check_ranges
from harness.drawing.pictures import draw_round
from harness.processes.exits import watching
from harness.runs.checkpoint_files import remove_previous, remove_unfinished
from harness.runs.checkpoints import check_fits, newest_intact, read_checkpoint, set_aside
from harness.runs.directories import write_config
from harness.runs.resume import Opened, check_same_run, opened_run, run_flags, same_on_all_ranks
from harness.training.compiling import compile_mode
from harness.training.lr_finder import find_lr as run_lr_finder
from harness.training.preflight import (
    check_batches,
    check_flags,
    check_position,
    check_reloads,
    check_room,
    check_shapes,
    check_splits,
)
from harness.training.report import finish, hardware, num_parameters, put_by_metrics
from harness.training.run_logger import open_logger, worth_comparing, write_flags, write_layout
from harness.training.run_texts import write_texts
from harness.training.trainer import build_trainer, keep_freed_memory


def fit_and_test(
    name: str,
    model: LightningModule,
    data: LightningDataModule,
    *,
    run_dir: str = "runs",
    resume: str | None = None,
    doctor: bool = False,
    **flags: Any,
) -> dict[str, Any]:
    """Trains in a run directory, tests the best epoch once, and returns the metrics. The flags are those of `fit_in`.

    Args:
        run_dir: where runs are kept.
        resume: run directory or checkpoint file to continue in place; auto: the newest unfinished run with these flags.
        doctor: instead of training, look for what may be wrong with data, network and learning rate (see doctor.py).
    """
    if doctor:
        from harness.checking.examination import examine

        keep_freed_memory()  # as in training, whose time it tells
        examine(name, model, data, flags)  # ends the process
    label, writes = model.hparams.get("net", name), not flags.get("fast_dev_run")
    kept = run_flags(model, data, {**flags, "resume": resume})
    with opened_run(name, run_dir, label, resume, kept, writes) as opened:
        return fit_in(opened, name, model, data, **flags)


def fit_in(
    opened: Opened,
    name: str,
    model: LightningModule,
    data: LightningDataModule,
    *,
    max_epochs: int = 10,
    seed: int = 0,
    lr_decay: str = "constant",
    warmup_epochs: float = 0.0,
    lr_milestones: list[float] = [0.5, 0.75],  # noqa: B006  read only; jsonargparse shows it in --help
    lr_gamma: float = 0.1,
    lr_patience: int = 5,
    early_stopping: int = 0,
    monitor: str | None = "val/acc",
    monitor_mode: str | None = None,
    ema: float = 0.0,
    swa: float = 0.0,
    log_gradients: bool = False,
    channels_last: bool = False,
    compile: bool | str = False,
    capture: bool | None = None,
    find_lr: bool = False,
    checkpoint_epochs: int = 1,
    checkpoint_every: int = 0,
    checkpoint_minutes: float = 0.0,
    on_nonfinite: str = "stop",
    pictures: bool = True,
    pictures_every: int = 0,
    histograms: bool = False,
    curves_by: str = "step",
    stall_timeout: float = 1800.0,
    **flags: Any,
) -> dict[str, Any]:
    """Trains, tests the best epoch once, writes all of it to the run's directory, and returns the metrics.

    Args:
        opened: the run's directory, and where it goes on.
        max_epochs: passes over the training split.
        lr_decay: constant, step, linear, cosine, onecycle or plateau.
        warmup_epochs: epochs, or a part of one, in which the learning rate rises; in onecycle, its own rise.
        lr_milestones: when `step` decays, as shares of the run.
        lr_gamma: factor of a decay by `step` or `plateau`.
        lr_patience: validation rounds without improvement that `plateau` waits for.
        early_stopping: stop after that many validation rounds without improvement; 0 is off.
        monitor: validation metric that chooses the best epoch; null: the last epoch is the model.
        monitor_mode: min or max, which is better; null: by the metric's name, a loss or an error being better low.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is then the model; 0 is off.
        swa: share of the run after which the weights are averaged, and the average is the model; 0 is off. The best
            epoch is chosen after it.
        log_gradients: log the gradient norm of each layer.
        channels_last: keep images and weights with the channels innermost, which convolutions like; not with fsdp.
        compile: compile the network with torch.compile; true, or one of its modes, such as max-autotune.
        capture: launch each training step as CUDA graphs, with the same results; null: where that can be done.
        find_lr: instead of training, let the learning rate grow, and suggest one from the curve of the loss.
        checkpoint_epochs: epochs from one writing of last.ckpt to the next; the last epoch is written anyway.
        checkpoint_every: steps from one writing of last.ckpt to the next, within epochs; 0 is off.
        checkpoint_minutes: the same in minutes.
        on_nonfinite: stop, or skip the step, where the loss, a gradient or an input is infinite or not a number.
        pictures: draw what was learnt, and where it is wrong, in figures/ and TensorBoard, at the end.
        pictures_every: draw after every that many epochs too, from validation data; 0 is off.
        histograms: add histograms of weights and gradients, by layer, for each epoch.
        curves_by: x-axis of the curves in TensorBoard: step, or epoch, with a point for each.
        stall_timeout: seconds without the end of a batch after which the run ends with an error; 0: never.
    """
    keep_freed_memory()
    if find_lr and opened.checkpoint:
        raise InputError("find_lr: starts from untrained weights; it cannot resume a run")
    run, checkpoint = opened.folder, opened.checkpoint
    kept = opened.flags or run_flags(model, data, {"max_epochs": max_epochs, "seed": seed, **flags})
    writes = not flags.get("fast_dev_run")
    check_ranges({"max_epochs": max_epochs, **flags})  # not all come from a command line
    mode_of_compile = compile_mode(compile)
    if find_lr and not writes:
        raise InputError("find_lr, fast_dev_run: its curve takes more batches than a dry run has; leave one out")
    if monitor is None and (early_stopping or lr_decay == "plateau"):
        raise InputError(f"early_stopping {early_stopping}, lr_decay {lr_decay}: there is no metric that could decide")
    if checkpoint:
        checkpoint = newest_intact(checkpoint)
        check_same_run(checkpoint, model, data)
        check_fits(checkpoint, model)
    mode = direction(monitor, monitor_mode) if monitor else None  # first, so that a wrong one is refused now
    callbacks = [LRDecay(lr_decay, warmup_epochs, lr_milestones, lr_gamma, lr_patience, monitor or "val/loss", mode)]
    callbacks += [MonitorCheck(monitor)] if monitor else []
    if writes and pictures:
        callbacks += [Histograms()] if histograms else []
        callbacks += [Predictions(draw_round, pictures_every)] if pictures_every else []
    callbacks += [*weight_averaging(ema, swa), Throughput(), StepCurves()]
    if capture or (capture is None and torch.cuda.is_available()):  # each callback costs time in every step
        callbacks += [Capture(asked=bool(capture), compiled=bool(compile))]
    callbacks += [GradientNorms()] if log_gradients else []
    callbacks += [EarlyStop(monitor, early_stopping, mode)] if early_stopping else []
    callbacks += [] if find_lr else [FiniteGuard(on_nonfinite, monitor)]  # the finder's rates end in infinity
    callbacks += [ProgressLine()] if flags.get("enable_progress_bar") is not False else []
    interruption = Interruption(run / "checkpoints" / "last.ckpt" if writes else None)
    callbacks += [interruption]
    if writes:
        damaged = opened.checkpoint if checkpoint != opened.checkpoint else None
        callbacks += [] if find_lr else [FirstStep(partial(_begin, run=run, flags=kept, damaged=damaged))]
        checkpoints = run / "checkpoints"  # the last one after the best: it is to hold the other's state
        callbacks += [BestCheckpoint(checkpoints, monitor, mode, swa)] if monitor else []
        callbacks += [LastCheckpoint(checkpoints, checkpoint_epochs, checkpoint_every, checkpoint_minutes)]
    if flags.get("strategy") == "fsdp":
        from harness.training.sharding import fully_sharded  # only here, for its imports take time

        flags["strategy"], channels_last = fully_sharded(ema=ema, swa=swa), False  # it cuts contiguous weights
    logger = open_logger(run, checkpoint, curves_by) if writes else False
    trainer = build_trainer(run, max_epochs, callbacks, logger, **flags)
    check_flags(trainer, monitor, lr_patience)
    check_splits(data, trainer, monitor)
    check_batches(data, trainer)
    check_shapes(model, data, trainer)
    if checkpoint:
        check_position(checkpoint, data, trainer)

    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compile:
        model.net.compile(mode=mode_of_compile)  # in place, so that checkpoints keep the plain names
    if trainer.is_global_zero:
        _announce(name, model, data, run if writes else None, checkpoint)
        if writes:
            check_reloads(model)
            check_room(run, model)
    if find_lr and writes:
        return run_lr_finder(trainer, model, data, run)
    checkpoint = same_on_all_ranks(checkpoint, kept, trainer)
    with watching(trainer, interruption, stall_timeout):
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        interruption.end_training()
        metrics = finish(trainer, model, data, run if writes else None, {"seed": seed, **kept}, pictures)
    if writes and trainer.is_global_zero:
        remove_previous(run / "checkpoints")
    return metrics


def _begin(trainer: Trainer, run: Path, flags: Mapping[str, Any], damaged: Path | None) -> None:
    """Writes what a run's directory has from the start; nothing is left that could refuse the run."""
    if not trainer.is_global_zero:
        return
    if damaged:
        set_aside(damaged)
    remove_unfinished(run / "checkpoints")
    put_by_metrics(run)
    write_config(run, flags)
    trainer.logger.begun = True
    write_layout(trainer.logger, trainer.lightning_module.metrics)
    write_texts(trainer.logger, hardware(trainer), flags)
    write_flags(run, worth_comparing(flags))  # of a resumed run, in place of those of before


def _announce(
    name: str, model: LightningModule, data: LightningDataModule, run: Path | None, checkpoint: Path | None
) -> None:
    print(f"{name}: {model.hparams.get('net', type(model).__name__)}, {num_parameters(model):,} parameters")
    print(data.describe())
    print(f"run directory: {run}" if run else "a dry run: nothing is written", flush=True)
    if checkpoint:
        print(f"goes on after step {read_checkpoint(checkpoint)['global_step']:,}, from {checkpoint.name}", flush=True)
