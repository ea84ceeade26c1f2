"""Your own table: a network on any CSV file with a column to predict.

    python experiments/table.py --csv my.csv --target price
    python experiments/table.py --csv my.csv --target species --task classification
    python experiments/table.py --sample                    on a small table that scikit-learn ships
    python experiments/predict_table.py runs/table/<run> new_rows.csv

No figure has been measured here yet.
"""

from typing import Any

from datamodules.csv_table import CsvTable
from harness.command_line.cli import cli
from harness.tasks.tabular import train_table

# The flags that each network starts from here; command-line flags override them.
RECIPES: dict[str, dict[str, Any]] = {
    "linear": dict(lr=0.01, batch_size=64, max_epochs=60, lr_decay="onecycle", scale="standard"),
    "mlp": dict(
        lr=0.002, batch_size=64, max_epochs=60, lr_decay="onecycle", weight_decay=0.1,
        net_args={"widths": [256, 128], "dropout": 0.2},
    ),
    "tabm": dict(
        lr=0.002, batch_size=128, max_epochs=60, lr_decay="onecycle", weight_decay=0.1,
        net_args={"widths": [128, 128], "size": 16, "dropout": 0.1},
    ),
}  # fmt: skip


def main(
    net: str = "tabm",
    csv: str = "",
    target: str = "",
    task: str = "regression",
    log_target: bool = False,
    id_column: str = "",
    drop: list[str] = [],  # noqa: B006  read only; jsonargparse shows it in --help
    categories: list[str] = [],  # noqa: B006
    ordinals: dict[str, list[str]] = {},  # noqa: B006
    log1p: str = "none",
    clip: list[float] = [],  # noqa: B006
    scale: str = "quantile",
    rare: int = 3,
    batch_size: int = 128,
    val_size: float = 0.1,
    seed: int = 0,
    sample: bool = False,
    similar_labels: str = "refuse",
    monitor: str | None = "val/loss",
    **flags: Any,
) -> None:
    """Trains a network on a table and tests its best epoch; a tenth of the rows is the test set, the same for any seed.

    Args:
        net: name of the network: linear, mlp, tabm, or another of lit_modules/nets.
        csv: the file, comma-separated, with the names of the columns in its first line.
        target: the column to predict.
        task: regression or classification.
        log_target: in a regression, learn the target's logarithm.
        id_column: a column that only numbers the rows.
        drop: columns to leave out.
        categories: columns whose numbers are only names.
        ordinals: levels of ordered columns, the lowest first, such as '{size: [S, M, L]}'.
        log1p: skewed: take the logarithm of skewed numbers; none: of no numbers.
        clip: quantiles of the training rows that numbers are clipped to, such as [0.005,0.995]; [] for none.
        scale: standard, robust (with a smooth end) or quantile.
        rare: categories with fewer training rows than this share one column, with those never seen.
        batch_size: rows per device and step.
        val_size: size of the validation split: a share below 1, or a number of rows.
        seed: of the validation split, the initial weights, the order of batches and all random draws.
        sample: use a small table that scikit-learn ships, which needs no files.
        similar_labels: in a classification, what to do with labels that differ only in case, outer dots or spaces:
            refuse them; merge them into the most frequent spelling; or keep them as classes of their own.
        monitor: the validation metric that chooses the best epoch.
    """
    for flag, value in {"csv": csv, "target": target}.items():
        if not value and not sample:
            raise ValueError(f"--{flag}: is needed, or --sample")
        if value and sample:
            raise ValueError(f"--{flag} {value}: --sample has a table and a target of its own; leave one of them out")
    data = CsvTable(
        csv, target, task, batch_size, seed, val_size, log_target=log_target, id_column=id_column, drop=drop,
        categories=categories, ordinals=ordinals, log1p=log1p, clip=clip, scale=scale, rare=rare, sample=sample,
        similar_labels=similar_labels,
    )  # fmt: skip
    data.setup()
    train_table(data, net, None, monitor=monitor, **flags)


if __name__ == "__main__":
    cli(main, RECIPES)
