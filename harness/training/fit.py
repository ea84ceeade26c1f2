"""One training in a run's directory: first the checks, then the training, then the test of its best epoch."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from basics.errors import InputError
from basics.files import write_csv
from basics.lean_trainer import lean_steps
from basics.lightning_internals import epochs_processed
from basics.trainer_parts import datamodule_of
from callbacks import EarlyStop, FirstStep, Interruption
from datamodules.batch_module import BatchModule, made_in_place
from datamodules.column_report import as_frame
from datamodules.table_data import TableData
from harness.processes.exits import watching
from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoint_files import remove_previous, remove_unfinished
from harness.runs.checkpoints import (
    Checkpoint,
    check_fits,
    find_checkpoint,
    newest_intact,
    read_checkpoint,
    set_aside,
)
from harness.runs.directories import write_config
from harness.runs.flag_checks import check_ranges
from harness.runs.invocation import Invocation, changed, kept_by, values
from harness.runs.layout import COLUMNS, METRICS
from harness.runs.resume import Opened, check_same_run, follow_move, same_on_all_ranks
from harness.runs.states import read_metrics
from harness.training.assembly import Watched, assemble
from harness.training.compiling import compile_mode
from harness.training.elastic import for_present_machines
from harness.training.flags import FitFlags, deciding_by_validation
from harness.training.lr_finder import find_lr
from harness.training.own_parts import own_parts
from harness.training.preflight import (
    check_batches,
    check_flags,
    check_position,
    check_reloads,
    check_room,
    check_shapes,
    check_splits,
    check_states,
    check_validation,
)
from harness.training.report import finish, hardware, num_parameters, put_by_metrics, throughput_of
from harness.training.run_logger import open_logger, run_logger_of, worth_comparing, write_flags
from harness.training.run_texts import write_texts
from harness.training.silence import hearing_of_ranks
from harness.training.trackers import Logged, check_trackers, trackers_for, trackers_of
from harness.training.trainer import NO_EXTRAS, Extras, build_trainer, keep_freed_memory, showing_profile

FlagsT = TypeVar("FlagsT", bound=FitFlags)


class Result(NamedTuple):
    """What a training leaves.

    Attributes:
        run: its directory; None for a dry run.
        model: the model, with the weights of its best epoch.
        metrics: the content of metrics.json.
    """

    run: Path | None
    model: LightningModule
    metrics: dict[str, Any]


class Job(NamedTuple):
    """What is trained, and the name of the experiment."""

    name: str
    model: LightningModule
    data: LightningDataModule


def warming_up_in_time(flags: FlagsT) -> FlagsT:
    """The flags; a warm-up that a recipe makes as long as a new run takes a fifth of it instead."""
    epochs, (given, _, asked) = flags.lr_epochs or flags.max_epochs, flags.invocation
    if not 0 < epochs <= flags.warmup_epochs or not given or "warmup_epochs" in asked:
        return flags
    if flags.resume not in (None, "auto"):  # it has one of its own
        return flags
    shorter = epochs / 5
    if is_rank_zero():
        usual = f"the recipe's {flags.warmup_epochs:g} would be the whole run"
        print(f"note: warmup_epochs {shorter:g}, as {usual}", flush=True)
    return changed(flags, warmup_epochs=shorter)


def fit_in(opened: Opened, job: Job, flags: FitFlags, theirs: Extras = NO_EXTRAS) -> Result:
    """Trains, tests the best epoch once, and writes everything to the run's directory.

    Args:
        opened: the run's directory, and the checkpoint that it continues from.
        theirs: the script's own callbacks and loggers.

    Raises:
        InputError: the flags contradict each other, or do not fit the model, the data or the resumed run. In that case
            nothing of the run has been written.
    """
    keep_freed_memory()
    flags = for_present_machines(flags, job.data)
    _check(flags, bool(opened.checkpoint))
    resumed = _read_resumed(opened, job)
    kept = opened.flags or kept_by(flags, getattr(job.data, "hparams", {}), job.model.hparams)
    run = opened.folder if flags.writes else None
    damaged = opened.checkpoint if resumed and resumed.path != opened.checkpoint else None
    begin = FirstStep(partial(_begin, run=run, kept=kept, invocation=flags.invocation, damaged=damaged))
    interruption = Interruption(run / "checkpoints" / "last.ckpt" if run else None)
    theirs = theirs.joined(own_parts(flags, run))
    if run:
        at = resumed.content["global_step"] if resumed else None
        logged = Logged(run, job.name, at, opened.is_fold)
        theirs = theirs.joined(Extras(loggers=trackers_for(flags.log_to, logged)))
    trainer = _trainer(flags, run, Watched(begin, interruption), theirs, resumed)
    _preflight(job, flags, trainer, resumed)
    if resumed and run and _has_ended(run, resumed, flags):
        return _as_it_ended(run, job, epochs_processed(resumed.content))
    if resumed:
        _check_length(resumed, trainer)
    if trainer.is_global_zero:
        _announce(job, run, resumed)
        if run:
            check_reloads(job.model)
            check_states(theirs.callbacks)
            check_room(run, job.model, bool(flags.ema or flags.swa))
    if flags.find_lr and run:
        return Result(run, job.model, find_lr(trainer, job.model, job.data, run))
    checkpoint = same_on_all_ranks(resumed.path if resumed else None, flags.resume, trainer)
    with watching(trainer, interruption, flags.stall_timeout), hearing_of_ranks(job.model):
        with showing_profile(), lean_steps(trainer, job.model, made_in_place(job.data, job.model)):
            trainer.fit(job.model, job.data, ckpt_path=checkpoint, weights_only=True)
        interruption.end_training()
        metrics = finish(trainer, job.model, job.data, run, kept)
    if run and trainer.is_global_zero:
        remove_previous(run / "checkpoints")
    return Result(trainer.strategy.broadcast(run), job.model, metrics)  # each process has dated a directory of its own


def _check(flags: FitFlags, resumes: bool) -> None:
    """Raises InputError if flags contradict each other."""
    check_ranges(values(flags))  # not all of them come from a command line
    check_trackers(flags.log_to)
    if flags.writes and flags.enable_checkpointing is False:
        raise InputError(
            "enable_checkpointing false: a run needs checkpoints for its best epoch, and to be resumed;"
            " --fast_dev_run writes none"
        )
    if flags.find_lr and resumes:
        raise InputError("find_lr: starts from untrained weights; it cannot resume a run")
    if flags.fast_dev_run and resumes:
        raise InputError("fast_dev_run: a dry run starts from untrained weights; it cannot resume a run")
    if flags.find_lr and not flags.writes:
        raise InputError("find_lr, fast_dev_run: the curve needs more batches than a dry run has; leave one out")
    if flags.monitor is None and (decides := deciding_by_validation(flags)):
        raise InputError(f"{decides}: needs a metric to decide by, but --monitor is null")


def _read_resumed(opened: Opened, job: Job) -> Checkpoint | None:
    """The checkpoint to continue from, once it is known to fit this model and these data; None for a new run."""
    if not opened.checkpoint:
        return None
    resumed = newest_intact(opened.checkpoint)
    if "loops" not in resumed.content:  # such as export.py's small ones
        raise InputError(f"{resumed.path}: has weights only, and no state to go on from; --init_from starts with them")
    check_same_run(resumed, job.model, job.data)
    check_fits(resumed, job.model)
    if opened.folder:
        follow_move(resumed, opened.folder)
    return resumed


def _has_ended(run: Path, resumed: Checkpoint, flags: FitFlags) -> bool:
    """Whether the run has been tested, and is as long already as the flags ask for."""
    epochs, steps = epochs_processed(resumed.content), resumed.content["global_step"]
    long_enough = 0 < flags.max_epochs <= epochs or 0 < flags.max_steps <= steps
    may_stop = epochs >= (flags.min_epochs or 0) and steps >= (flags.min_steps or 0)
    has_ended = long_enough or (may_stop and _has_stopped(resumed, flags.early_stopping))
    return has_ended and (run / METRICS).is_file()


def _check_length(resumed: Checkpoint, trainer: Trainer) -> None:
    """Raises InputError if the run has had more epochs than are asked for."""
    had, asked = epochs_processed(resumed.content), trainer.max_epochs
    if asked is not None and 0 <= asked < had:
        raise InputError(f"max_epochs {asked}: the run has had {had}; with --max_epochs {had} it is tested as it is")


def _has_stopped(resumed: Checkpoint, patience: int) -> bool:
    """Whether early stopping with this patience has ended the run."""
    states = resumed.content.get("callbacks", {}).items()
    waited = [its["wait_count"] for key, its in states if key.startswith(EarlyStop.__name__)]
    return 0 < patience <= max(waited, default=0)


def _as_it_ended(run: Path, job: Job, epochs: int) -> Result:
    """The result of a finished run, without testing it again."""
    best = read_checkpoint(find_checkpoint(str(run)))
    job.model.load_state_dict(best.content["state_dict"])
    if is_rank_zero():
        after = f"finished after {epochs} epoch{'s' * (epochs != 1)}"
        print(f"{run}: {after}; {METRICS} has its figures, and a higher --max_epochs trains further", flush=True)
    return Result(run, job.model, read_metrics(run))


def _trainer(
    flags: FitFlags, run: Path | None, watched: Watched, theirs: Extras, resumed: Checkpoint | None
) -> Trainer:
    callbacks = assemble(flags, run or Path(), watched)
    if flags.strategy == "fsdp":
        from harness.training.sharding import fully_sharded  # imported here because its own imports take time

        whole = {name: getattr(flags, name, 0) for name in ("ema", "swa", "histograms", "l1")}
        flags = replace(flags, strategy=fully_sharded(**whole))
    loggers = [open_logger(run, resumed, flags.curves_by)] if run else []
    return build_trainer(flags, flags.max_epochs, run, Extras(callbacks, loggers), theirs, resumed)


def _preflight(job: Job, flags: FitFlags, trainer: Trainer, resumed: Checkpoint | None) -> None:
    """Finds whatever can be found wrong before the first step; puts the network into the form it is trained in."""
    check_flags(trainer, flags.monitor, flags.lr_patience)
    check_validation(job.model, job.data, flags.monitor)
    check_splits(job.data, trainer, flags.monitor)
    check_batches(job.data, trainer)
    check_shapes(job.model, job.data, trainer)
    if resumed:
        check_position(resumed, job.data, trainer)
    if flags.strategy == "fsdp":
        from harness.training.sharding import check_sharded  # imported here because its own imports take time

        check_sharded(job.model)
    mode = compile_mode(flags.compile)
    if flags.channels_last and flags.strategy != "fsdp":  # fsdp needs contiguous weights
        job.model.to(memory_format=torch.channels_last)
    if flags.compile:
        getattr(job.model, "net", job.model).compile(mode=mode)  # in place, so that checkpoints keep the plain names


def _begin(
    trainer: Trainer, run: Path | None, kept: Mapping[str, Any], invocation: Invocation, damaged: Path | None
) -> None:
    """Writes what a run's directory holds from the start. By now nothing can refuse the run any more."""
    if not trainer.is_global_zero:
        return
    started = time.perf_counter()
    assert run is not None  # a dry run does not have this callback
    logger = run_logger_of(trainer)
    if damaged:
        set_aside(damaged)
    remove_unfinished(run / "checkpoints")
    put_by_metrics(run)
    write_config(run, kept)
    if isinstance(data := datamodule_of(trainer), TableData):
        write_csv(run / COLUMNS, as_frame(data.columns))
    logger.begun = True
    write_texts(logger, hardware(trainer), kept, invocation.command)
    for tracker in trackers_of(trainer):
        tracker.begin(kept)
    write_flags(run, worth_comparing(kept))  # in a resumed run they replace the earlier ones
    throughput_of(trainer).leave_out(time.perf_counter() - started)


def _announce(job: Job, run: Path | None, resumed: Checkpoint | None) -> None:
    model = job.model
    print(f"{job.name}: {model.hparams.get('net', type(model).__name__)}, {num_parameters(model):,} parameters")
    if isinstance(job.data, BatchModule):
        print(job.data.describe())
    print(f"run directory: {run}" if run else "a dry run: nothing is written", flush=True)
    if resumed:
        print(f"continues after step {resumed.content['global_step']:,}, from {resumed.path.name}", flush=True)
