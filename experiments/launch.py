"""What every experiment shares: the Trainer, the run directory, the test.

    def main(..., **flags):
        fit_and_test("name", model, data, **flags)

    if __name__ == "__main__":
        cli(main)

Functions to call, and nothing to inherit from.
"""

import ctypes
import logging
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from command_line import config
from lr_finder import find_lr as run_lr_finder
from report import RunLogger, finish, num_parameters, write_layout
from runs import check_fits, find_run, is_rank_zero, new_run, read_checkpoint

import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from callbacks import (
    EpochCheckpoint,
    GradientNorms,
    LRDecay,
    MonitorCheck,
    ProgressLine,
    StepCurves,
    Throughput,
    monitor_mode,
    weight_averaging,
)

for _library in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # its tips and device lists; we print our own
for _expected in (
    ".*smaller than the logging interval.*",  # epochs of few steps
    ".*exists and is not empty.*",  # checkpoints of a run that is resumed
    ".*sync_dist=True.*",  # what we log is reduced over the ranks already
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*callbacks used to create the checkpoint.*",  # weight averaging, which `finish` takes out before the test
    ".*Total length of `list` across ranks is zero.*",  # a training without validation
    ".*recommended to use `Trainer\\(devices=1, num_nodes=1\\)`.*",  # our loaders count each sample once on any number
):
    warnings.filterwarnings("ignore", message=_expected)


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h


def _keep_freed_memory() -> None:
    """Lets glibc keep the memory that tensors free, for the next ones.

    As it comes, it returns every large one to the system, which then clears each page again: a third of the time of
    a convolutional network on a CPU.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


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
        resume: run directory or checkpoint file to continue in place.
        doctor: instead of training, look for what may be wrong with data, network and learning rate (see doctor.py).
    """
    if doctor:
        from examination import examine

        _keep_freed_memory()  # as in training, whose time it tells
        examine(name, model, data, flags)  # ends the process
    run, checkpoint = find_run(resume) if resume else (None, None)
    if checkpoint:
        check_fits(checkpoint, model)
    if not checkpoint and not flags.get("fast_dev_run"):
        run = new_run(name, run_dir, model.hparams.get("net", name))
    try:
        return fit_in(run, checkpoint, name, model, data, **flags)
    except ValueError:
        if run and not checkpoint and is_rank_zero() and not any(run.iterdir()):
            run.rmdir()
        raise


def fit_in(
    run: Path | None,
    checkpoint: Path | None,
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
    ema: float = 0.0,
    swa: float = 0.0,
    log_gradients: bool = False,
    channels_last: bool = False,
    compile: bool = False,
    find_lr: bool = False,
    save_every: int = 1,
    **flags: Any,
) -> dict[str, Any]:
    """Trains, tests the best epoch once, writes all of it to the directory `run`, and returns the metrics.

    Args:
        run: None where nothing is to be written.
        checkpoint: where an interrupted run goes on.
        max_epochs: passes over the training split.
        lr_decay: constant, step, linear, cosine, onecycle or plateau.
        warmup_epochs: epochs, or a part of one, in which the learning rate rises; in onecycle, its own rise.
        lr_milestones: when `step` decays, as shares of the run.
        lr_gamma: factor of a decay by `step` or `plateau`.
        lr_patience: validation rounds without improvement that `plateau` waits for.
        early_stopping: stop after that many validation rounds without improvement; 0 is off.
        monitor: validation metric that chooses the best epoch; null: the last epoch is the model.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is then the model; 0 is off.
        swa: share of the run after which the weights are averaged, and the average is the model; 0 is off.
        log_gradients: log the gradient norm of each layer.
        channels_last: keep images and weights with the channels innermost, which convolutions like.
        compile: compile the network with torch.compile.
        find_lr: instead of training, let the learning rate grow, and suggest one from the curve of the loss.
        save_every: epochs from one writing of last.ckpt to the next; the last epoch is written anyway.
    """
    _keep_freed_memory()
    writes = not flags.get("fast_dev_run")
    if monitor is None and (early_stopping or lr_decay == "plateau"):
        raise ValueError(f"early_stopping {early_stopping}, lr_decay {lr_decay}: there is no metric that could decide")
    callbacks = [LRDecay(lr_decay, warmup_epochs, lr_milestones, lr_gamma, lr_patience, monitor or "val/loss")]
    callbacks += [MonitorCheck(monitor)] if monitor else []
    callbacks += [*weight_averaging(ema, swa), Throughput(), StepCurves()]
    callbacks += [GradientNorms()] if log_gradients else []
    callbacks += [EarlyStopping(monitor, mode=monitor_mode(monitor), patience=early_stopping)] if early_stopping else []
    callbacks += [ProgressLine()] if flags.get("enable_progress_bar") is not False else []
    if writes:
        checkpoints = run / "checkpoints"  # the last one after the best: it is to hold the other's state
        callbacks += [EpochCheckpoint(checkpoints, "best", monitor)] if monitor else []
        callbacks += [EpochCheckpoint(checkpoints, "last", every=save_every)]
    trainer = _trainer(run, max_epochs, callbacks, _logger(run, checkpoint) if writes else False, **flags)

    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compile:
        model.net.compile()  # in place, so that checkpoints keep the plain names
    if trainer.is_global_zero:
        _announce(name, model, data, run if writes else None)
        if writes:
            write_config(run)
            write_layout(trainer.logger, model.metrics)
    if find_lr and writes:
        return run_lr_finder(trainer, model, data, run)
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    return finish(trainer, model, data, run if writes else None, {"seed": seed, **config})


def _trainer(
    run: Path | None, max_epochs: int, callbacks: list[Callback], logger: TensorBoardLogger | bool, **flags: Any
) -> Trainer:
    if flags.get("default_root_dir") is None:
        flags["default_root_dir"] = run  # the LR finder keeps the weights there meanwhile
    if flags.get("profiler") is None:
        flags["profiler"] = _NoProfiler()
    try:
        return Trainer(
            max_epochs=max_epochs,
            callbacks=callbacks,
            logger=logger,
            use_distributed_sampler=False,  # our loaders know their rank
            enable_model_summary=False,
            **flags,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ValueError(str(error)) from error


class _NoProfiler(PassThroughProfiler):
    """Lightning enters its profiler some sixty times a step; this one makes that nearly free."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager:
        return self.nothing


def _logger(run: Path, checkpoint: Path | None) -> TensorBoardLogger:
    # What an interrupted run logged beyond its checkpoint is logged again, so the old points are dropped.
    resumed = {"purge_step": read_checkpoint(checkpoint)["global_step"]} if checkpoint else {}
    return RunLogger(run, name="", version="", default_hp_metric=False, **resumed)


def _announce(name: str, model: LightningModule, data: LightningDataModule, run: Path | None) -> None:
    print(f"{name}: {model.hparams.get('net', type(model).__name__)}, {num_parameters(model):,} parameters")
    print(data.describe())
    print(f"run directory: {run}" if run else "a dry run: nothing is written", flush=True)


def write_config(run: Path) -> None:
    """Keeps the flags in config.yaml."""
    unfinished = run / "config.yaml.tmp"
    unfinished.write_text(yaml.safe_dump({k: v for k, v in config.items() if k != "resume"}, sort_keys=False))
    unfinished.replace(run / "config.yaml")
