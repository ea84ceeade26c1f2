"""House prices: networks on Kaggle's table, from k-fold cross-validation to a submission.

    python experiments/house_prices.py --folds 5            each row predicted by a model that has not seen it
    python experiments/house_prices.py --net linear         one linear layer on one-hot and standardised columns
    python experiments/house_prices.py --folds 0            one training with a validation split
    python experiments/house_prices.py --sample             on a generated table; no download

Log-RMSE over all 1,460 rows, seed 0, on two cores of an AMD EPYC, torch 2.15 (benchmarks/house_prices.md has more):

    --net linear   0.1462    6 s
    --net mlp      0.1240   18 s
    --net tabm     0.1151   35 s
"""

from functools import partial
from pathlib import Path
from typing import Any

from datamodules.house_prices import HousePrices
from harness.command_line.cli import cli
from harness.processes.ranks import is_rank_zero
from harness.tasks.cross_validation import cross_validate, write_predictions
from harness.tasks.tabular import predict, train_table

# The flags that each network starts from here; command-line flags override them.
RECIPES: dict[str, dict[str, Any]] = {
    "linear": dict(
        lr=0.01,
        batch_size=64,
        max_epochs=60,
        lr_decay="onecycle",
        optimizer="adam",
        weight_decay=0.03,
        features="plain",
        log1p="none",
        clip=[],
    ),
    "mlp": dict(
        lr=0.002,
        batch_size=64,
        max_epochs=60,
        lr_decay="onecycle",
        weight_decay=0.1,
        net_args={"widths": [256, 128], "dropout": 0.2},
    ),
    "tabm": dict(
        lr=0.002,
        batch_size=128,
        max_epochs=60,
        lr_decay="onecycle",
        weight_decay=0.1,
        loss="huber",
        scale="robust",
        # The few houses of extreme size should stay so: robust scaling bounds them, clipping would level them.
        log1p="none",
        clip=[],
        net_args={"linear_path": True, "widths": [128, 128], "size": 16, "dropout": 0.05},
    ),
}


def main(
    net: str = "tabm",
    folds: int = 5,
    fold_seed: int = 0,
    seeds: int = 1,
    jobs: int = 0,
    seed: int = 0,
    batch_size: int = 128,
    val_size: float = 0.1,
    features: str = "engineered",
    log1p: str = "skewed",
    clip: list[float] = [0.005, 0.995],  # noqa: B006  read only; jsonargparse shows it in --help
    scale: str = "standard",
    rare: int = 1,
    data_dir: str = "data",
    sample: bool = False,
    monitor: str | None = "val/log_rmse",
    run_dir: str = "runs",
    resume: str | None = None,
    checkpoint_epochs: int = 1,
    **flags: Any,
) -> dict[str, Any]:
    """Cross-validates a network on house prices, and writes submission.csv from the mean of the folds' log-prices.

    Args:
        net: name of the network: linear, mlp, tabm, or another of lit_modules/nets.
        folds: parts of the training file, each held out once; 0 trains once, with a validation and a test split.
        fold_seed: of the folds, which are those of scikit-learn's KFold(folds, shuffle=True, random_state=fold_seed).
        seeds: how often each fold is trained, from different initial weights; the log-prices are averaged.
        jobs: folds to train at a time, each in a process; 0: as many as there are cores or accelerators.
        seed: of the first training's initial weights, order of batches and all random draws.
        batch_size: rows per device and step.
        val_size: with --folds 0, size of the validation split: a share below 1, or a number of rows.
        features: engineered: quality scales as numbers, and areas, ages and baths summed up; plain: neither.
        log1p: skewed: take the logarithm of skewed numbers; none: of no numbers.
        clip: quantiles of the training rows that numbers are clipped to; [] for none.
        scale: standard, robust (with a smooth end) or quantile.
        rare: categories with fewer training rows than this share one column.
        data_dir: folder that holds house-prices/{train,test}.csv; what is missing is downloaded to it.
        sample: use a generated table, which needs no files.
        monitor: with --folds 0, the validation metric that chooses the best epoch.
        run_dir: where runs are kept.
        resume: run directory to continue in place, or auto; folds that have finished are kept.
        checkpoint_epochs: with --folds 0, epochs from one writing of last.ckpt to the next; the last one is written.
    """
    table = partial(
        HousePrices, data_dir, batch_size, features=features, log1p=log1p, clip=clip, scale=scale, rare=rare,
        sample=sample,
    )  # fmt: skip
    if folds:
        return cross_validate(
            table, net, folds=folds, fold_seed=fold_seed, seeds=seeds, jobs=jobs, seed=seed, run_dir=run_dir,
            resume=resume, **flags,
        )  # fmt: skip
    data = table(seed=seed, val_size=val_size)
    data.prepare_data()
    data.setup()
    ids, rows = data.submission_rows()
    model, metrics = train_table(
        data, net, None, monitor=monitor, run_dir=run_dir, resume=resume, checkpoint_epochs=checkpoint_epochs, **flags
    )
    if is_rank_zero() and not flags.get("fast_dev_run") and not flags.get("find_lr"):
        run, prices = Path(model.trainer.default_root_dir), predict(model, rows)
        write_predictions(run / "submission.csv", data.id_column, ids, {data.target: prices})
    return metrics


if __name__ == "__main__":
    cli(main, RECIPES)
