"""Your own table: a network on any CSV file with a column to predict.

    python experiments/table.py --csv my.csv --target price
    python experiments/table.py --csv my.csv --target species --task classification
    python experiments/table.py --csv my.csv --target rain,wind,hail --task multilabel
    python experiments/table.py --csv my.csv --target price --folds 0              one model instead of five
    python experiments/table.py --csv my.csv --target price --test_csv later.csv   tests on rows of your own
    python experiments/table.py --csv my.csv --target price --group customer       rows of a customer stay together
    python experiments/table.py --sample                    on a small table that scikit-learn ships
    python experiments/predict_table.py runs/table/<run> new_rows.csv

docs/tables.md has a whole example, with its figures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from basics.choose import choose
from basics.errors import InputError
from datamodules.csv_table import CsvOptions, CsvTable
from datamodules.table_splits import Fold
from harness.command_line.cli import cli
from harness.processes.ranks import is_rank_zero
from harness.runs.flag_checks import check_delta, check_sample
from harness.runs.flag_kinds import USUAL_FOLDS, needs_one_training
from harness.runs.invocation import changed, values
from harness.tasks.cross_validation import cross_validate
from harness.tasks.folds import CrossValidationFlags, of_tables
from harness.tasks.launch import by_net
from harness.tasks.refit import with_refit
from harness.tasks.table_sizes import is_open, suited
from harness.tasks.tabular import train_table
from harness.training.fit import Result
from lit_modules import label_stages, number_stages, row_classifier

AUTO = "auto"
# Of each task, the usual one first.
LOSSES = {
    "regression": number_stages.LOSSES,
    "classification": tuple(row_classifier.LOSSES),
    "multilabel": tuple(label_stages.LOSSES),
}


@dataclass(frozen=True, kw_only=True)
class TableFlags(CsvOptions, CrossValidationFlags):
    """A table, and what to predict from it.

    Args:
        csv: the file, with the names of the columns in its first line unless --no_header says otherwise.
        target: the column to predict; of several labels, their columns of 0 and 1 with commas between them, or one
            column of texts such as cat;dog.
        task: regression, classification, or multilabel: several labels for each row.
        loss: auto: mse for a number, ce for classes, bce for several labels; or for a number huber, which is half the
            square up to `delta` and linear beyond, for classes and labels focal, which lets easy rows hardly count.
        folds: parts of the rows that are not for testing; each is held out by one model, and the models predict
            together. 0: one model.
        batch_size: rows per device and step; 0: 32 to 256, the more the more rows there are.
        max_epochs: passes over the training rows; -1: as many as make 1,000 to 3,500 steps, the more the more
            rows there are, and 20 at least.
        net_args: options for the network, such as --net_args.dropout 0.2; of tabm, `size`, `dropout`, `bins`,
            `curves` and `squeeze` follow from the number of rows where they are left out.
        val_size: size of the validation split, which chooses the epoch: a share below 1, or a number of rows, of those
            that are not for testing, or of each fold's training rows; 0: train on all of these, to the last epoch;
            null: 0.1, or 0 with folds.
    """

    csv: str = ""
    target: str = ""
    task: str = "regression"
    loss: str = AUTO
    val_size: float | None = None
    folds: int = USUAL_FOLDS
    batch_size: int = 0
    max_epochs: int = -1
    lr_decay: str = "onecycle"
    monitor: str | None = "val/loss"


# Each net's defaults here; command-line flags override them.
RECIPES = by_net(
    TableFlags(net="linear", lr=0.01, scale="standard"),
    TableFlags(net="mlp", weight_decay=0.1, net_args={"widths": [256, 128], "dropout": 0.2}),
    TableFlags(
        net="tabm",
        weight_decay=0.1,
        scale="robust",
        net_args={
            **{"widths": [128, 128], "linear_path": True},
            **{"embedding": "piecewise", "embedding_size": 8},
        },
    ),
)
DEFAULTS = TableFlags()


def main(flags: TableFlags = DEFAULTS) -> dict[str, Any]:
    """Trains a network for each fold of a table, and tests them together on rows in none; or trains a single one."""
    _check(flags)
    flags = _once_if_need_be(_with_loss(flags))
    if flags.val_size is None:
        flags = changed(flags, val_size=0.0 if flags.folds else 0.1)
    flags = _sized(flags)
    if flags.folds:
        return cross_validate(of_tables(_table(flags)), flags)
    return with_refit(_train, flags).metrics


def _check(flags: TableFlags) -> None:
    """Raises InputError if there is no table, or two."""
    for name in ("csv", "target", "test_csv"):
        value = getattr(flags, name)
        if not value and not flags.sample and name != "test_csv":
            raise InputError(f"--{name}: is required, unless --sample is given")
        if value and flags.sample:
            raise InputError(f"--{name} {value}: --sample has its own table and target; leave one of them out")
    if flags.sample:
        check_sample(flags, ("sep", "encoding", "no_header", "decimal"), "a table")
    if flags.folds not in (0, USUAL_FOLDS) and flags.time:
        raise InputError(f"--time {flags.time}: folds would train on rows later than those held out; add --folds 0")


def _with_loss(flags: TableFlags) -> TableFlags:
    """The flags, with a loss of their task."""
    known = choose("task", flags.task, LOSSES)
    if flags.loss == AUTO:
        flags = changed(flags, loss=known[0])
    choose("loss", flags.loss, dict.fromkeys(known))
    check_delta(flags)
    return flags


def _once_if_need_be(flags: TableFlags) -> TableFlags:
    """The flags, with a single training if some of them are for that, and nobody has asked for folds."""
    reason = needs_one_training(values(flags))
    if not reason:
        return flags
    if is_rank_zero():
        print(f"one training instead of {flags.folds} folds, because of {reason}")
    return changed(flags, folds=0)


def _sized(flags: TableFlags) -> TableFlags:
    """The flags, with what suits the number of rows where they leave it open."""
    if not is_open(flags):
        return flags
    fold = Fold(0, flags.folds, flags.fold_seed) if flags.folds else None
    data = _table(replace(flags, batch_size=1))(seed=flags.seed, val_size=flags.val_size, fold=fold)
    data.setup()
    return suited(len(data.train_indices), flags)


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
