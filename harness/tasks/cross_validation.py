"""K-fold cross-validation of a table with a logarithmic target; folds run in parallel processes if cores allow.

The run's directory holds one directory for each fold and seed, which TensorBoard shows as runs under one parent. No
fold chooses anything by its held-out rows: its model is that of the last epoch.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

from basics.errors import InputError, writing
from basics.files import replacing
from basics.tags import PICTURES
from basics.versions import git_commit
from datamodules.house_prices import HousePrices
from datamodules.table_data import Fold
from harness.drawing.figures import draw_regression
from harness.processes.pools import cores, in_processes
from harness.runs.directories import write_config
from harness.runs.flag_checks import check_ranges
from harness.runs.invocation import BY_PYTHON, Invocation, kept_by
from harness.runs.layout import CONFIG, METRICS, PREDICTIONS
from harness.runs.names import run_label
from harness.runs.resume import Opened, opened_run
from harness.runs.states import has_results
from harness.tasks.tabular import TabularFlags, predict, train_table
from harness.training.report import log_figures, logged_run, num_parameters, write_json
from harness.training.run_logger import worth_comparing, write_flags
from harness.training.run_texts import write_results
from lit_modules import Regressor

NEVER = 10**9  # epochs between checkpoints: an interrupted fold starts over, so only its end is saved


class FoldResult(NamedTuple):
    """The predictions of a trained fold, in logarithms."""

    rows: np.ndarray  # indices of the held-out rows
    held_out: np.ndarray  # predictions for these
    submission: np.ndarray  # predictions for the rows without a target
    epochs: int
    parameters: int


class Task(NamedTuple):
    """One training."""

    fold: Fold
    seed: int
    run: Path


@dataclass(frozen=True, kw_only=True)
class CrossValidationFlags(TabularFlags):
    """Which folds to train, how often, and how many at a time.

    Args:
        folds: parts of the training file, each held out once; 0 trains once, with a validation and a test split.
        fold_seed: seed of the folds, those of scikit-learn's KFold(folds, shuffle=True, random_state=fold_seed).
        seeds: how often each fold is trained, each time from other initial weights; the predictions are averaged.
        jobs: folds to train at a time, each in its own process; 0: as many as there are cores, or accelerators.
        seed: seed of the first training, for initial weights, order of batches and all random draws.
        resume: run directory to continue in place, or auto; folds that have finished are kept.
    """

    folds: int = 5
    fold_seed: int = 0
    seeds: int = 1
    jobs: int = 0
    seed: int = 0
    resume: str | None = None


def cross_validate(table: Callable[..., HousePrices], flags: CrossValidationFlags) -> dict[str, Any]:
    """Trains each fold with each seed, scores the held-out rows, writes the run directory, and returns the metrics.

    Args:
        table: makes the data module of a fold, from `seed`, `val_size` and `fold`.
    """
    started = time.perf_counter()
    _check_flags(flags)
    data = table(seed=flags.seed, val_size=0, fold=Fold(0, flags.folds, flags.fold_seed))
    data.prepare_data()
    data.setup()
    ids, _ = data.submission_rows()  # checks all files before anything is trained
    label = run_label(flags.net, flags.name, flags.invocation.changed)
    with opened_run(data.name, flags.run_dir, label, flags.resume, kept_by(flags)) as opened:
        assert opened.folder is not None  # it is not a dry run
        tasks = _tasks(flags, opened.folder)
        print(f"{data.name}: {flags.net}, {flags.folds} folds, {flags.seeds} seeds\n{data.describe()}")
        print(f"run directory: {opened.folder}", flush=True)
        results, workers = _train_all(opened, table, flags, tasks)
        chosen = {name: getattr(flags, name) for name in ("folds", "fold_seed", "seeds", "seed", "net")}
        metrics = {**_score(data.targets, tasks, results), **chosen, "jobs": workers}
        metrics["seconds"] = round(time.perf_counter() - started, 2)
        return _finish(opened, data, ids, results, metrics, flags.invocation)


def _tasks(flags: CrossValidationFlags, run: Path) -> list[Task]:
    return [
        Task(
            Fold(number, flags.folds, flags.fold_seed),
            flags.seed + repeat,
            run / f"fold{number}{f'_seed{repeat}' * (flags.seeds > 1)}",
        )
        for repeat in range(flags.seeds)
        for number in range(flags.folds)
    ]


def _train_all(
    opened: Opened, table: Callable[..., HousePrices], flags: CrossValidationFlags, tasks: list[Task]
) -> tuple[list[FoldResult], int]:
    """The tasks' results, and the number of processes; removes a run that is refused before it has trained."""
    run = opened.folder
    assert run is not None and opened.flags is not None  # it is not a dry run
    begins = not (run / CONFIG).exists()
    write_config(run, opened.flags)
    accelerators = 0 if flags.accelerator == "cpu" else torch.cuda.device_count()
    workers = min(flags.jobs or accelerators or cores(), len(tasks))
    train = partial(train_fold, table, flags)
    try:
        if workers == 1:
            return [train(*task) for task in tasks], 1
        return list(in_processes(train, tasks, workers, accelerators)), workers
    except InputError:
        if begins and not has_results(run):
            shutil.rmtree(run)
        raise


def _check_flags(flags: CrossValidationFlags) -> None:
    for name, lowest in {"folds": 2, "seeds": 1, "jobs": 0}.items():
        if getattr(flags, name) < lowest:
            raise InputError(f"{name} {getattr(flags, name)}: must be at least {lowest}")
    for name in ("fast_dev_run", "find_lr", "doctor"):
        if getattr(flags, name):
            raise InputError(f"{name}: is for a single training; add --folds 0")
    check_ranges({"seed": flags.seed + flags.seeds - 1})  # the last seed
    if flags.devices not in ("auto", 1, "1"):
        raise InputError("devices: each fold trains on one; --jobs trains several at a time, --folds 0 on any")


def train_fold(
    table: Callable[..., HousePrices], flags: CrossValidationFlags, fold: Fold, seed: int, run: Path
) -> FoldResult:
    """Trains one fold in the directory `run`, with its output in log.txt, or reads its result if it has finished."""
    started, ended = time.perf_counter(), run / PREDICTIONS
    if ended.exists():
        return _read_result(ended)
    shutil.rmtree(run, ignore_errors=True)  # an interrupted fold starts over
    with writing(run):
        run.mkdir()
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        data = table(seed=seed, val_size=0, fold=fold)
        data.setup()
        alone: dict[str, Any] = {
            "seed": seed,
            "monitor": None,
            "devices": 1,
            "checkpoint_epochs": NEVER,
            "invocation": BY_PYTHON,
        }
        _, model, metrics = train_table(data, replace(flags, **alone), run)
    assert isinstance(model, Regressor)  # prices are numbers
    held_out, submission = (predict(model, rows) for rows in (data.rows[data.test_indices], data.submission_rows()[1]))
    result = FoldResult(
        data.test_indices, np.log(held_out), np.log(submission), metrics["epochs"], num_parameters(model)
    )
    with replacing(ended) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **result._asdict())
    score, seconds = metrics["test/log_rmse"], time.perf_counter() - started
    print(f"{run.name}: log_rmse {score:.4f} on {len(result.rows)} rows, {seconds:.1f} s", flush=True)
    return result


def _read_result(path: Path) -> FoldResult:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return FoldResult(**arrays)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: damaged, or no predictions; remove it to train the fold again") from error


def _pooled(count: int, results: list[FoldResult]) -> np.ndarray:
    """For each row, the mean over seeds of the predictions by models that had not seen it, (N,)."""
    total, times = np.zeros(count), np.zeros(count)
    for result in results:
        total[result.rows] += result.held_out
        times[result.rows] += 1
    return total / times


def _score(true: np.ndarray, tasks: list[Task], results: list[FoldResult]) -> dict[str, Any]:
    """Figures over all rows, each predicted by models that had not seen it."""
    logs = _pooled(len(true), results)
    errors, log_errors = np.exp(logs) - true, logs - np.log(true)
    rows = {task.fold.number: result.rows for task, result in zip(tasks, results, strict=True)}
    of_seed = {
        seed: _pooled(len(true), [result for task, result in zip(tasks, results, strict=True) if task.seed == seed])
        for seed in dict.fromkeys(task.seed for task in tasks)
    }
    return {
        "cv/log_rmse": _root_mean_square(log_errors),
        "cv/fold_log_rmse": [_root_mean_square(log_errors[held_out]) for held_out in rows.values()],
        "cv/seed_log_rmse": [_root_mean_square(logs - np.log(true)) for logs in of_seed.values()],
        "cv/rmse": _root_mean_square(errors),
        "cv/mae": round(float(np.mean(abs(errors))), 6),
        "cv/r2": round(float(1 - np.mean(errors**2) / true.var()), 6),
        "cv/samples": len(true),
    }


def _so_far(true: np.ndarray, predicted: np.ndarray, folds: list[FoldResult]) -> list[float]:
    """The error over the held-out rows of the first fold, of the first two, and so on to all rows."""
    log_errors = np.log(predicted) - np.log(true)
    squares = np.cumsum([np.sum(log_errors[fold.rows] ** 2) for fold in folds])
    return list(np.sqrt(squares / np.cumsum([len(fold.rows) for fold in folds])))


def _root_mean_square(errors: np.ndarray) -> float:
    return round(float(np.sqrt(np.mean(errors**2))), 6)


def _finish(
    opened: Opened,
    data: HousePrices,
    ids: np.ndarray,
    results: list[FoldResult],
    metrics: dict[str, Any],
    invocation: Invocation,
) -> dict[str, Any]:
    """Writes predictions, figures and metrics, prints the scores, and returns the metrics."""
    run = opened.folder
    assert run is not None and opened.flags is not None  # it is not a dry run
    submission = np.exp(np.mean([result.submission for result in results], axis=0))
    predicted = np.exp(_pooled(len(data.targets), results))
    out_of_fold = {data.target: data.targets, "predicted": predicted}
    write_predictions(run / "submission.csv", data.id_column, ids, {data.target: submission})
    write_predictions(run / "out_of_fold.csv", data.id_column, data.ids, out_of_fold)
    metrics |= {
        "submission/lowest": round(float(submission.min()), 2),
        "submission/highest": round(float(submission.max()), 2),
        "epochs": int(results[0].epochs),
        "parameters": int(results[0].parameters),
        "git_commit": git_commit(),
        "torch": torch.__version__,
    }
    write_json(run / METRICS, metrics)
    figures = draw_regression(data.targets, predicted, data.target, run / "figures")
    with logged_run(run, opened.flags, invocation.command) as logger:
        for folds, score in enumerate(_so_far(data.targets, predicted, results[: metrics["folds"]]), 1):
            logger.log_metrics({"cv/log_rmse": score}, step=folds)
        write_results(logger, data.name, {name: its for name, its in metrics.items() if name.startswith("cv/")})
        log_figures(logger, PICTURES, figures)
    write_flags(run, worth_comparing(opened.flags))
    _print_scores(metrics, data.targets, run)
    return metrics


def write_predictions(path: Path, id_column: str, ids: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Writes a CSV file whole or not at all."""
    import pandas as pd

    # Given a name, pandas would expand a ~ to the home directory.
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        pd.DataFrame({id_column: ids, **columns}).to_csv(file, index=False)


def _print_scores(metrics: dict[str, Any], true: np.ndarray, run: Path) -> None:
    print(f"\nlog_rmse {metrics['cv/log_rmse']:.4f} over {metrics['cv/samples']:,} rows, none seen by its model")
    print("by fold  " + "  ".join(f"{value:.4f}" for value in metrics["cv/fold_log_rmse"]))
    if metrics["seeds"] > 1:
        print("by seed  " + "  ".join(f"{value:.4f}" for value in metrics["cv/seed_log_rmse"]))
    print(f"rmse {metrics['cv/rmse']:,.0f}, mae {metrics['cv/mae']:,.0f}, r2 {metrics['cv/r2']:.4f}")
    print(
        f"submission from {metrics['submission/lowest']:,.0f} to {metrics['submission/highest']:,.0f};"
        f" true prices from {true.min():,.0f} to {true.max():,.0f}; {metrics['seconds']:,.1f} s\n{run}"
    )
