"""House prices: our networks beside boosted trees, on the same folds, in one run.

    python benchmarks/house_prices.py
    python benchmarks/house_prices.py --nets [linear,mlp,tabm] --seeds 3

The trees are scikit-learn's HistGradientBoosting and, if installed, XGBoost and CatBoost, on the plain columns and on
the engineered ones. Each model learns the log-prices of its training rows only. With `--sample true` it is short,
and the figures mean nothing.
"""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jsonargparse import auto_cli

from benchmarks.peers import installed, numbered
from datamodules.house_prices import FEATURES, HousePrices
from datamodules.preprocessing import columns_of
from datamodules.table_data import Fold
from experiments import house_prices


def main(
    nets: list[str] = ["linear", "tabm"],  # noqa: B006
    folds: int = 5,
    fold_seed: int = 0,
    seeds: int = 1,
    data_dir: str = "data",
    run_dir: str = "runs",
    sample: bool = False,
) -> None:
    """Cross-validates networks by their recipes, then trees, and prints a table.

    Args:
        nets: names of networks.
        folds: number of parts of the table, each held out once.
        fold_seed: seed of the folds.
        seeds: how often each fold of a network is trained; the predictions are averaged.
        data_dir: folder of the files, which are downloaded if missing.
        run_dir: folder that holds all runs.
        sample: use the generated table, for two epochs.
    """
    short = dict(max_epochs=2) if sample else {}
    print("| model | features | log-RMSE | by fold | seconds |\n| --- | --- | ---: | --- | ---: |")
    for net in nets:
        recipe = house_prices.RECIPES.get(net, replace(house_prices.DEFAULTS, net=net))
        places = dict(data_dir=data_dir, run_dir=run_dir, sample=sample)
        flags = replace(recipe, folds=folds, fold_seed=fold_seed, seeds=seeds, **places, **short)
        with contextlib.redirect_stdout(io.StringIO()):
            scores = house_prices.main(flags)
        by_fold = scores["cv/fold_log_rmse"]
        _print_row(net, flags.features, scores["cv/log_rmse"], by_fold, scores["seconds"])
    for build in installed():
        for features in FEATURES:
            started = time.perf_counter()
            errors = held_out_errors(build, features, folds, fold_seed, data_dir, sample)
            by_fold = [_rmse(part) for part in errors]
            score, seconds = _rmse(np.concatenate(errors)), time.perf_counter() - started
            _print_row(build.__name__, features, score, by_fold, seconds)


def held_out_errors(
    build: Callable[[bool], Any], features: str, folds: int, fold_seed: int, data_dir: str, sample: bool
) -> list[np.ndarray]:
    """For each fold, the errors in its log-prices of a model that was fitted to the other folds."""
    errors = []
    for number in range(folds):
        data = HousePrices(data_dir, val_size=0, fold=Fold(number, folds, fold_seed), features=features, sample=sample)
        data.prepare_data()
        data.setup()
        columns = numbered(columns_of(data.read(), data.preprocessing["recipe"], data.besides), data.train_indices)
        logs, train, test = np.log(data.targets), data.train_indices, data.test_indices
        model = build(False).fit(columns[train], logs[train])
        errors.append(model.predict(columns[test]) - logs[test])
    return errors


def _rmse(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _print_row(name: str, features: str, score: float, by_fold: list[float], seconds: float) -> None:
    parts = ", ".join(f"{value:.4f}" for value in by_fold)
    print(f"| {name} | {features} | {score:.4f} | {parts} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    auto_cli(main)
