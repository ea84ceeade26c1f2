"""K-fold cross-validation of a table with a logarithmic target: each fold in a process of its own, where cores allow.

The run's directory has one directory for each fold and seed, which TensorBoard shows as runs under one parent. No
fold chooses anything by its held-out rows: the last epoch is its model.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from command_line import config, is_ours
from figures import draw_regression
from launch import write_config
from report import git_commit, log_run, num_parameters, write_json
from runs import new_run
from tabular import predict, train_table

import numpy as np
import torch

from datamodules.house_prices import HousePrices
from datamodules.table_data import Fold


class FoldResult(NamedTuple):
    """What a trained fold says, in logarithms."""

    rows: np.ndarray  # numbers of the held-out ones
    held_out: np.ndarray  # predictions of these
    submission: np.ndarray  # predictions of the rows without a target
    epochs: int
    parameters: int


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
    """
    started = time.perf_counter()
    for name, value, least in (("folds", folds, 2), ("seeds", seeds, 1), ("jobs", jobs, 0)):
        if value < least:
            raise ValueError(f"{name} {value}: must be at least {least}")
    if flags.pop("devices", "auto") not in ("auto", 1, "1"):
        raise ValueError("devices: each fold trains on one; --jobs trains several at a time, --folds 0 on any")
    for check in ("fast_dev_run", "find_lr"):
        if flags.get(check):
            raise ValueError(f"{check}: is for a single training; add --folds 0")
    data = table(seed=seed, val_size=0, fold=Fold(0, folds, fold_seed))
    data.prepare_data()
    data.setup()
    ids, _ = data.submission_rows()  # all files are checked before anything is trained
    run = new_run(data.name, run_dir, net)
    write_config(run)
    tasks = [
        (Fold(number, folds, fold_seed), seed + repeat, run / _name(number, repeat, seeds))
        for repeat in range(seeds)
        for number in range(folds)
    ]
    print(f"{data.name}: {net}, {folds} folds, {seeds} seeds\n{data.describe()}\nrun directory: {run}", flush=True)
    accelerators = 0 if flags.get("accelerator") == "cpu" else torch.cuda.device_count()
    workers = min(jobs or accelerators or _cores(), len(tasks))
    try:
        if workers == 1:
            results = [train_fold(table, net, fold, its_seed, folder, **flags) for fold, its_seed, folder in tasks]
        else:
            results = list(_in_processes(partial(train_fold, table, net, **flags), tasks, workers, accelerators))
    except ValueError:
        if not any(run.rglob("*.ckpt")):  # refused before anything was trained
            shutil.rmtree(run)
        raise
    metrics = _score(data, tasks, results) | {
        "seconds": round(time.perf_counter() - started, 2), "folds": folds, "fold_seed": fold_seed, "seeds": seeds,
        "seed": seed, "epochs": results[0].epochs, "parameters": results[0].parameters, "net": net,
        "jobs": workers, "git_commit": git_commit(), "torch": torch.__version__,
    }  # fmt: skip
    true, predicted = data.targets, np.exp(_pooled(len(data.targets), results))
    drawn = draw_regression(true, predicted, data.target, run / "figures")
    submission = np.exp(np.mean([result.submission for result in results], axis=0))
    write_predictions(run / "submission.csv", data.id_column, ids, {data.target: submission})
    write_predictions(run / "out_of_fold.csv", data.id_column, data.ids, {data.target: true, "predicted": predicted})
    metrics |= {"submission/lowest": round(submission.min(), 2), "submission/highest": round(submission.max(), 2)}
    write_json(run / "metrics.json", metrics)
    log_run(run, config, {"cv/log_rmse": metrics["cv/log_rmse"]}, drawn)
    _print_scores(metrics, true, run)
    return metrics


def _name(number: int, repeat: int, seeds: int) -> str:
    return f"fold{number}" + (f"_seed{repeat}" if seeds > 1 else "")


def train_fold(
    table: Callable[..., HousePrices], net: str, fold: Fold, seed: int, run: Path, **flags: Any
) -> FoldResult:
    """Trains one fold in the directory `run`, whose log.txt gets what it says."""
    started = time.perf_counter()
    run.mkdir()
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        data = table(seed=seed, val_size=0, fold=fold)
        data.setup()
        model, metrics = train_table(data, net, run, monitor=None, devices=1, **flags)
    _, rows = data.submission_rows()
    result = FoldResult(
        data.test_indices, np.log(predict(model, data.rows[data.test_indices])), np.log(predict(model, rows)),
        metrics["epochs"], num_parameters(model),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    print(
        f"{run.name}: log_rmse {metrics['test/log_rmse']:.4f} on {len(result.rows)} rows, {seconds:.1f} s", flush=True
    )
    return result


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    train: Callable[..., FoldResult], tasks: list[tuple], workers: int, accelerators: int
) -> Iterator[FoldResult]:
    """Trains the folds, `workers` at a time.

    Raises:
        ValueError: what a fold's own process refused.
    """
    # A forked process has everything imported; but CUDA does not survive it.
    context = multiprocessing.get_context("spawn" if accelerators or os.name != "posix" else "fork")
    start = max(1, _cores() // workers), accelerators, dict(config), context.Value("i", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, start) as pool:
        for result in pool.map(partial(_guarded, train), tasks):
            if isinstance(result, str):
                raise ValueError(result)
            yield result


def _start_worker(threads: int, accelerators: int, flags: dict[str, Any], counter: Any) -> None:
    """Gives a new process its share of the cores, and one of the accelerators."""
    torch.set_num_threads(threads)
    config.update(flags)
    with counter.get_lock():
        number, counter.value = counter.value, counter.value + 1
    if accelerators:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(accelerators)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % accelerators]  # CUDA starts after this


def _guarded(train: Callable[..., FoldResult], task: tuple) -> FoldResult | str:
    """The result, or the line that bad input is to end with: a traceback would not come through as it was."""
    try:
        return train(*task)
    except (ValueError, OSError) as error:
        if is_ours(error):
            return str(error)
        raise


def _pooled(count: int, results: list[FoldResult]) -> np.ndarray:
    """For each row the mean over seeds of what the model said that had not seen it, (N,)."""
    total, times = np.zeros(count), np.zeros(count)
    for result in results:
        total[result.rows] += result.held_out
        times[result.rows] += 1
    return total / times


def _score(data: HousePrices, tasks: list[tuple], results: list[FoldResult]) -> dict[str, Any]:
    """Figures over all rows, each predicted by models that had not seen it."""
    true, logs = data.targets, _pooled(len(data.targets), results)
    errors, squares = np.exp(logs) - true, (logs - np.log(true)) ** 2
    by_fold = {fold.number: result.rows for (fold, _, _), result in zip(tasks, results, strict=True)}
    by_seed = {
        seed: np.concatenate([
            result.held_out - np.log(true[result.rows])
            for (_, its, _), result in zip(tasks, results, strict=True) if its == seed
        ])
        for seed in dict.fromkeys(seed for _, seed, _ in tasks)
    }  # fmt: skip
    return {
        "cv/log_rmse": _root(squares),
        "cv/fold_log_rmse": [_root(squares[rows]) for rows in by_fold.values()],
        "cv/seed_log_rmse": [_root(errors**2) for errors in by_seed.values()],
        "cv/rmse": round(float(np.sqrt(np.mean(errors**2))), 2),
        "cv/mae": round(float(np.mean(abs(errors))), 2),
        "cv/r2": round(float(1 - np.sum(errors**2) / np.sum((true - true.mean()) ** 2)), 6),
        "cv/samples": len(true),
    }


def _root(squares: np.ndarray) -> float:
    return round(float(np.sqrt(np.mean(squares))), 6)


def write_predictions(path: Path, id_column: str, ids: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Writes a CSV file whole or not at all."""
    import pandas as pd

    unfinished = path.with_name(f".{path.name}.unfinished")
    pd.DataFrame({id_column: ids, **columns}).to_csv(unfinished, index=False, float_format="%.10g")
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
