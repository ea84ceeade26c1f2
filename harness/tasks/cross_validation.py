"""K-fold cross-validation of a table or of images; folds run in parallel processes if cores allow.

The run's directory holds one directory for each fold and seed, which TensorBoard shows as runs under one parent. No
fold chooses anything by its held-out rows: its model is that of the best epoch by a validation split of its training
rows, or of the last epoch if there is none.
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basics.amounts import amount
from basics.cores import cores
from basics.errors import InputError
from basics.files import write_json
from datamodules.other_rows import OtherRows
from datamodules.table_data import TableData
from datamodules.table_splits import Fold
from harness.drawing.pictures import reported
from harness.processes.engines.engine import Engine, Local, engine_called
from harness.processes.engines.slurm import NAMES
from harness.processes.pools import ProcessKilledError
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.runs.directories import write_config
from harness.runs.flag_checks import check_ranges
from harness.runs.invocation import kept_by
from harness.runs.layout import CONFIG, METRICS, PREDICTIONS
from harness.runs.names import run_label
from harness.runs.resume import Opened, opened_run
from harness.runs.states import has_results, read_metrics
from harness.tasks.column_effects import explain_columns
from harness.tasks.fold_flags import FoldFlags
from harness.tasks.fold_report import (
    facts_of,
    figures_of_all,
    figures_of_others,
    finish,
    print_scores,
    write_submission,
)
from harness.tasks.folds import FoldData, FoldResult, Kind, Task, read_result, train_fold
from harness.tasks.table_models import RowModel
from harness.tasks.trained import load_model
from harness.training.fit import warming_up_in_time
from harness.training.flags import deciding_by_validation
from harness.training.trackers import check_trackers


def cross_validate(kind: Kind, flags: FoldFlags) -> dict[str, Any]:
    """Trains each fold with each seed, scores the held-out rows, writes the run directory, and returns the metrics.

    Args:
        kind: of the samples; see `folds.of_tables` and `classification.classify`.
    """
    started = time.perf_counter()
    _check_flags(flags)
    flags = warming_up_in_time(flags)
    cluster = engine_called(flags.engine, flags.engine_args or {})
    data: FoldData = kind.data(seed=flags.seed, val_size=flags.val_size, fold=Fold(0, flags.folds, flags.fold_seed))
    data.prepare_data()
    data.setup()
    data.check_folds()
    others = data.other_rows()  # checks all files before anything is trained
    label = run_label(flags.net, flags.name, flags.invocation.changed)
    with opened_run(data.name, flags.run_dir, label, flags.resume, kept_by(flags)) as opened:
        run = opened.folder
        assert run is not None  # it is not a dry run
        tasks = _tasks(flags, run)
        _check_same_data(data, others, tasks)
        if (run / METRICS).exists() and all(map(_has_ended, tasks)):
            print(f"{run}: all folds have finished; {METRICS} has their figures", flush=True)
            return read_metrics(run)
        print(f"{data.name}: {flags.net}, {flags.folds} folds, {amount(flags.seeds, 'seed')}\n{data.describe()}")
        print(f"run directory: {run}", flush=True)
        local = _here(flags, tasks)
        earlier = sum(float(read_result(task.run / PREDICTIONS).seconds) for task in tasks if _has_ended(task))
        results = _train_all(opened, partial(train_fold, kind, flags), cluster or local, tasks)
        chosen = {name: getattr(flags, name) for name in ("folds", "fold_seed", "seeds", "seed", "net")}
        metrics = {**figures_of_all(data, tasks, results), **chosen, "jobs": len(tasks) if cluster else local.workers}
        # Those of an earlier call too, as if its folds had kept all jobs busy.
        metrics["seconds"] = round(time.perf_counter() - started + earlier / metrics["jobs"], 2)
        metrics |= {**figures_of_others(data, others, results), **facts_of(tasks, results)}
        if others and others.targets is None:
            write_submission(run / "submission.csv", data, others, results)
        finish(opened, data, results, metrics, flags)
        if flags.pictures and isinstance(data, TableData):
            _explain(run, data, tasks, None if others and others.targets is not None else results)
        write_json(run / METRICS, metrics)  # at last, as a run that has it lacks nothing
        print_scores(metrics, data, run)
        return metrics


def _has_ended(task: Task) -> bool:
    return (task.run / PREDICTIONS).exists()


def _tasks(flags: FoldFlags, run: Path) -> list[Task]:
    return [
        Task(
            Fold(number, flags.folds, flags.fold_seed),
            flags.seed + repeat,
            run / f"fold{number}{f'_seed{repeat}' * (flags.seeds > 1)}",
        )
        for repeat in range(flags.seeds)
        for number in range(flags.folds)
    ]


def _explain(run: Path, data: TableData, tasks: list[Task], results: list[FoldResult] | None) -> None:
    """Draws what columns do to the models' mean on test rows, or to each model on the rows that it held out."""
    with reported():
        models = [load_model(read_checkpoint(find_checkpoint(str(task.run)))) for task in tasks]
        of_rows = [model for model in models if isinstance(model, RowModel)]  # all of them
        explain_columns(run, data, of_rows, [result.rows for result in results] if results else None)


def _check_same_data(data: FoldData, others: OtherRows | None, tasks: list[Task]) -> None:
    """Raises InputError if folds that have finished were trained on other samples."""
    for ended in (task.run / PREDICTIONS for task in tasks if _has_ended(task)):
        result = read_result(ended)
        if others and len(result.submission) != len(others.rows):
            now = f"{len(result.submission):,} {data.samples} then, {len(others.rows):,} now"
            raise InputError(f"{ended}: what no fold has, such as tests, has changed since: {now}; start a new run")
        if others and len(result.others) and not np.array_equal(result.others, others.content):
            raise InputError(f"{ended}: what no fold has, such as tests, has changed since; start a new run")
        content = result.content
        if len(content) and not np.array_equal(content, data.content):
            same = "others" if len(content) == len(data.content) else f"not {len(content):,} any more"
            raise InputError(f"{ended}: the {data.samples} have changed since, and are {same}; start a new run")


def _here(flags: FoldFlags, tasks: list[Task]) -> Local:
    accelerators = 0 if flags.accelerator == "cpu" else torch.cuda.device_count()
    return Local(min(flags.jobs or accelerators or cores(), len(tasks)), accelerators)


def _train_all(opened: Opened, train: Callable[..., FoldResult], engine: Engine, tasks: list[Task]) -> list[FoldResult]:
    """The tasks' results, in their order; removes a run that is refused before it has trained."""
    run = opened.folder
    assert run is not None and opened.flags is not None  # it is not a dry run
    if isinstance(engine, Local) and (queued := run / "engine" / NAMES).exists():
        raise InputError(f"{run}: its jobs may still run; add --engine slurm, or cancel them and remove {queued}")
    begins = not (run / CONFIG).exists()
    write_config(run, opened.flags)
    try:
        results = dict(engine.run(train, tasks, run / "engine"))
        return [results[number] for number in range(len(tasks))]
    except (SystemExit, KeyboardInterrupt):  # by a signal; its number is lost while Ray waits
        print(f"\ninterrupted; continue with --resume {run}", file=sys.stderr, flush=True)
        raise
    except InputError as error:
        killed = isinstance(error, ProcessKilledError)  # the run's logs, which the message names, may say why
        if begins and not killed and not has_results(run):
            shutil.rmtree(run)
        raise


def _check_flags(flags: FoldFlags) -> None:
    for name, lowest in {"folds": 2, "seeds": 1, "jobs": 0}.items():
        if getattr(flags, name) < lowest:
            raise InputError(f"{name} {getattr(flags, name)}: must be at least {lowest}")
    for name in ("fast_dev_run", "find_lr", "doctor"):
        if getattr(flags, name):
            raise InputError(f"{name}: is for a single training; add --folds 0")
    if not flags.val_size and (decides := deciding_by_validation(flags)):
        split = "decides by a validation split; folds have none, and --val_size 0.1 gives them one"
        raise InputError(f"{decides}: {split}")
    if flags.refit:
        raise InputError("--refit: is for a single training; add --folds 0")
    check_ranges({"seed": flags.seed + flags.seeds - 1})  # the last seed
    check_trackers(flags.log_to)
    if flags.engine != "local" and flags.jobs:
        raise InputError(f"jobs {flags.jobs}: is for this machine; {flags.engine} runs as many as it has room for")
    if flags.devices not in ("auto", 1, "1"):
        raise InputError("devices: each fold trains on one; --jobs trains several at a time, --folds 0 on any")
