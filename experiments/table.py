"""Your own table: a network on any CSV file with a column to predict.

    python experiments/table.py --csv my.csv --target price
    python experiments/table.py --csv my.csv --target species --task classification
    python experiments/table.py --csv my.csv --target price --folds 5              each row is held out once
    python experiments/table.py --csv my.csv --target price --test_csv later.csv   on test rows of your own
    python experiments/table.py --csv my.csv --target price --group customer       rows of a customer stay together
    python experiments/table.py --sample                    on a small table that scikit-learn ships
    python experiments/predict_table.py runs/table/<run> new_rows.csv

No figure has been measured here yet.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from basics.errors import InputError
from datamodules.csv_table import CsvOptions, CsvTable
from harness.command_line.cli import cli
from harness.runs.invocation import values
from harness.tasks.cross_validation import cross_validate
from harness.tasks.folds import CrossValidationFlags, of_tables
from harness.tasks.launch import by_net
from harness.tasks.refit import with_refit
from harness.tasks.tabular import train_table
from harness.training.fit import Result


@dataclass(frozen=True, kw_only=True)
class TableFlags(CsvOptions, CrossValidationFlags):
    """A table, and what to predict from it.

    Args:
        csv: the file, with the names of the columns in its first line unless --no_header says otherwise.
        target: the column to predict.
        task: regression or classification.
        val_size: size of the validation split, which chooses the epoch: a share below 1, or a number of rows, of those
            that are not for testing, or of each fold's training rows; 0: train on all of these, to the last epoch.
    """

    csv: str = ""
    target: str = ""
    task: str = "regression"
    val_size: float = 0.1
    folds: int = 0
    monitor: str | None = "val/loss"


# Each net's defaults here; command-line flags override them.
ONECYCLE = TableFlags(max_epochs=60, lr_decay="onecycle")
RECIPES = by_net(
    replace(ONECYCLE, net="linear", lr=0.01, batch_size=64, scale="standard"),
    replace(ONECYCLE, net="mlp", batch_size=64, weight_decay=0.1, net_args={"widths": [256, 128], "dropout": 0.2}),
    replace(ONECYCLE, net="tabm", weight_decay=0.1, net_args={"widths": [128, 128], "size": 16, "dropout": 0.1}),
)
DEFAULTS = TableFlags()


def main(flags: TableFlags = DEFAULTS) -> dict[str, Any]:
    """Trains a network on a table and tests its best epoch on rows held out, or cross-validates it in folds."""
    _check(flags)
    if flags.folds:
        return cross_validate(of_tables(_table(flags)), flags)
    return with_refit(_train, flags).metrics


def _check(flags: TableFlags) -> None:
    """Raises InputError if there is no table, or two, or if its folds are to be split otherwise too."""
    for name in ("csv", "target", "test_csv"):
        value = getattr(flags, name)
        if not value and not flags.sample and name != "test_csv":
            raise InputError(f"--{name}: is required, unless --sample is given")
        if value and flags.sample:
            raise InputError(f"--{name} {value}: --sample has its own table and target; leave one of them out")
    if flags.folds and flags.test_size not in (0, DEFAULTS.test_size):
        raise InputError(
            f"--test_size {flags.test_size:g}: folds hold out each row once; leave it out, or add --folds 0"
        )
    if flags.folds and flags.time:
        raise InputError(f"--time {flags.time}: folds would train on rows later than those held out; add --folds 0")


def _table(flags: TableFlags) -> Callable[..., CsvTable]:
    """Makes the data module of a training, from what its split takes."""
    what = flags.csv, flags.target, flags.task, flags.batch_size
    return partial(CsvTable, *what, **values(flags, CsvOptions))


def _train(flags: TableFlags) -> Result:
    data = _table(flags)(seed=flags.seed, val_size=flags.val_size)
    data.setup()
    return train_table(data, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
