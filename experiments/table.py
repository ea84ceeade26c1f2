"""Your own table: a network on any CSV file with a column to predict.

    python experiments/table.py --csv my.csv --target price
    python experiments/table.py --csv my.csv --target species --task classification
    python experiments/table.py --sample                    on a small table that scikit-learn ships
    python experiments/predict_table.py runs/table/<run> new_rows.csv

No figure has been measured here yet.
"""

from dataclasses import dataclass, replace

from basics.errors import InputError
from datamodules.csv_table import CsvOptions, CsvTable
from harness.command_line.cli import cli
from harness.runs.invocation import values
from harness.tasks.launch import by_net
from harness.tasks.refit import with_refit
from harness.tasks.tabular import TabularFlags, train_table
from harness.training.fit import Result


@dataclass(frozen=True, kw_only=True)
class TableFlags(CsvOptions, TabularFlags):
    """A table, and what to predict from it.

    Args:
        csv: the file, with the names of the columns in its first line unless --no_header says otherwise.
        target: the column to predict.
        task: regression or classification.
    """

    csv: str = ""
    target: str = ""
    task: str = "regression"
    monitor: str | None = "val/loss"


# Each net's defaults here; command-line flags override them.
ONECYCLE = TableFlags(max_epochs=60, lr_decay="onecycle")
RECIPES = by_net(
    replace(ONECYCLE, net="linear", lr=0.01, batch_size=64, scale="standard"),
    replace(ONECYCLE, net="mlp", batch_size=64, weight_decay=0.1, net_args={"widths": [256, 128], "dropout": 0.2}),
    replace(ONECYCLE, net="tabm", weight_decay=0.1, net_args={"widths": [128, 128], "size": 16, "dropout": 0.1}),
)
DEFAULTS = TableFlags()


def main(flags: TableFlags = DEFAULTS) -> None:
    """Trains a network on a table and tests its best epoch on a tenth of the rows, the same for any seed."""
    for name in ("csv", "target"):
        value = getattr(flags, name)
        if not value and not flags.sample:
            raise InputError(f"--{name}: is required, unless --sample is given")
        if value and flags.sample:
            raise InputError(f"--{name} {value}: --sample has its own table and target; leave one of them out")
    with_refit(_train, flags)


def _train(flags: TableFlags) -> Result:
    what = flags.csv, flags.target, flags.task
    data = CsvTable(*what, flags.batch_size, flags.seed, flags.val_size, **values(flags, CsvOptions))
    data.setup()
    return train_table(data, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
