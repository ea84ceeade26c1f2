"""K-fold cross-validation of a table with a logarithmic target: each fold in a process of its own, where cores allow.

The run's directory has one directory for each fold and seed, which TensorBoard shows as runs under one parent. No
fold chooses anything by its held-out rows: the last epoch is its model.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

from basics.errors import InputError, writing
from datamodules.house_prices import HousePrices
from datamodules.table_data import Fold
from harness.command_line.cli import config
from harness.command_line.flag_checks import check_ranges
from harness.drawing.figures import draw_regression
from harness.processes.pools import ProcessKilledError, cores, in_processes
from harness.runs.directories import write_config
from harness.runs.resume import Opened, opened_run, plain
from harness.tasks.tabular import predict, train_table
from harness.training.report import git_commit, log_run, num_parameters, write_json

PREDICTIONS = "predictions.npz"  # of a fold that has ended
NEVER = 10**9  # epochs: an interrupted fold begins again, so that only its end is saved


class FoldResult(NamedTuple):
    """What a trained fold says, in logarithms."""

    rows: np.ndarray  # numbers of the held-out ones
    held_out: np.ndarray  # predictions of these
    submission: np.ndarray  # predictions of the rows without a target
    epochs: int
    parameters: int


class Task(NamedTuple):
    """One training."""

    fold: Fold
    seed: int
    run: Path


def cross_validate(
    table: Callable[..., HousePrices],
    net: str,
    *,
    folds: int,
    fold_seed: int,
    seeds: int,
    jobs: int,
    seed: int,
    run_dir: str,
    resume: str | None,
    **flags: Any,
) -> dict[str, Any]:
    """Trains each fold with each seed, scores the held-out rows, writes the run directory, and returns the metrics.

    Args:
        table: makes the data module of a fold, from `seed`, `val_size` and `fold`.
        folds: parts that the rows are cut into, each held out once.
        fold_seed: of the cut, which is that of scikit-learn's KFold(folds, shuffle=True, random_state=fold_seed).
        seeds: how often each fold is trained, from other initial weights; their predictions are averaged.
        jobs: folds at a time, each in a process; 0: as many as there are cores, or accelerators.
        seed: of the first training.
        run_dir: where runs are kept.
        resume: run directory of an interrupted run, whose finished folds are kept; or auto, see `resume.py`.
    """
    started = time.perf_counter()
    _check_flags({"folds": (folds, 2), "seeds": (seeds, 1), "jobs": (jobs, 0)}, flags)
    check_ranges({"seed": seed + seeds - 1})  # the last one's
    if flags.pop("devices", "auto") not in ("auto", 1, "1"):
        raise InputError("devices: each fold trains on one; --jobs trains several at a time, --folds 0 on any")
    data = table(seed=seed, val_size=0, fold=Fold(0, folds, fold_seed))
    data.prepare_data()
    data.setup()
    ids, _ = data.submission_rows()  # all files are checked before anything is trained
    given = {"net": net, "folds": folds, "fold_seed": fold_seed, "seeds": seeds, "seed": seed, **flags}
    kept = plain({**(config or given), "resume": resume})
    with opened_run(data.name, run_dir, net, resume, kept) as opened:
        run = opened.folder
        tasks = [
            Task(Fold(number, folds, fold_seed), seed + repeat, run / f"fold{number}{f'_seed{repeat}' * (seeds > 1)}")
            for repeat in range(seeds)
            for number in range(folds)
        ]
        print(f"{data.name}: {net}, {folds} folds, {seeds} seeds\n{data.describe()}\nrun directory: {run}", flush=True)
        results, workers = _train_all(opened, table, net, tasks, jobs, **flags)
        metrics = {**_score(data.targets, tasks, results), "folds": folds, "fold_seed": fold_seed, "seeds": seeds}
        metrics |= {"seed": seed, "net": net, "jobs": workers, "seconds": round(time.perf_counter() - started, 2)}
        return _finish(opened, data, ids, results, metrics)


def _train_all(
    opened: Opened, table: Callable[..., HousePrices], net: str, tasks: list[Task], jobs: int, **flags: Any
) -> tuple[list[FoldResult], int]:
    """The tasks' results, and the number of processes; a run that is refused before it has trained is removed."""
    run = opened.folder
    begins = not (run / "config.yaml").exists()
    write_config(run, opened.flags)
    accelerators = 0 if opened.flags.get("accelerator") == "cpu" else torch.cuda.device_count()
    workers = min(jobs or accelerators or cores(), len(tasks))
    try:
        if workers == 1:
            return [train_fold(table, net, fold, its_seed, folder, **flags) for fold, its_seed, folder in tasks], 1
        return list(in_processes(partial(train_fold, table, net, **flags), tasks, workers, accelerators)), workers
    except ProcessKilledError:
        raise  # `--resume` goes on with the folds that are left
    except InputError:
        if begins and not any(run.rglob("*.ckpt")):
            shutil.rmtree(run)
        raise


def _check_flags(least: dict[str, tuple[int, int]], flags: dict[str, Any]) -> None:
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"{name} {value}: must be at least {lowest}")
    for check in ("fast_dev_run", "find_lr", "doctor"):
        if flags.get(check):
            raise InputError(f"{check}: is for a single training; add --folds 0")


def train_fold(
    table: Callable[..., HousePrices], net: str, fold: Fold, seed: int, run: Path, **flags: Any
) -> FoldResult:
    """Trains one fold in the directory `run`, whose log.txt gets what it says; reads what it said if it has ended."""
    started, ended = time.perf_counter(), run / PREDICTIONS
    if ended.exists():
        return _read_result(ended)
    shutil.rmtree(run, ignore_errors=True)  # what was interrupted begins again
    with writing(run):
        run.mkdir()
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        data = table(seed=seed, val_size=0, fold=fold)
        data.setup()
        model, metrics = train_table(data, net, run, monitor=None, devices=1, checkpoint_epochs=NEVER, **flags)
    held_out, submission = (predict(model, rows) for rows in (data.rows[data.test_indices], data.submission_rows()[1]))
    result = FoldResult(
        data.test_indices, np.log(held_out), np.log(submission), metrics["epochs"], num_parameters(model)
    )
    unfinished = ended.with_suffix(".tmp")
    with writing(ended):
        with unfinished.open("wb") as file:
            np.savez(file, **result._asdict())
        unfinished.replace(ended)
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
    """For each row the mean over seeds of what the model said that had not seen it, (N,)."""
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


def _root_mean_square(errors: np.ndarray) -> float:
    return round(float(np.sqrt(np.mean(errors**2))), 6)


def _finish(
    opened: Opened, data: HousePrices, ids: np.ndarray, results: list[FoldResult], metrics: dict[str, Any]
) -> dict[str, Any]:
    """Writes predictions, figures and metrics, prints the scores, and returns the metrics."""
    run = opened.folder
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
    write_json(run / "metrics.json", metrics)
    figures = draw_regression(data.targets, predicted, data.target, run / "figures")
    log_run(run, opened.flags, {"cv/log_rmse": metrics["cv/log_rmse"]}, figures)
    _print_scores(metrics, data.targets, run)
    return metrics


def write_predictions(path: Path, id_column: str, ids: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Writes a CSV file whole or not at all."""
    import pandas as pd

    unfinished = path.with_name(f".{path.name}.unfinished")
    with writing(path):
        # By name, pandas would take a ~ for the home directory.
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            pd.DataFrame({id_column: ids, **columns}).to_csv(file, index=False)
        unfinished.replace(path)


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
