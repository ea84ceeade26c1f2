"""House prices: networks on Kaggle's table, from k-fold cross-validation to a submission.

    python experiments/house_prices.py                      five folds: no row is predicted by a model that has seen it
    python experiments/house_prices.py --net linear         one linear layer on one-hot and standardised columns
    python experiments/house_prices.py --folds 0            one training with a validation split
    python experiments/house_prices.py --sample             on a generated table; no download

Log-RMSE over all 1,460 rows, on folds of seed 0, on an AMD EPYC, torch 2.15 (docs/results.md has
two further seeds of each, benchmarks/house_prices.md what was tried):

    --net linear   0.1462   30 s on one core
    --net mlp      0.1240   45 s on one core
    --net tabm     0.1150   49 s on two cores
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from basics.errors import InputError
from datamodules.house_prices import HouseOptions, HousePrices
from harness.command_line.cli import cli
from harness.processes.ranks import is_rank_zero
from harness.runs.invocation import values
from harness.tasks.cross_validation import cross_validate
from harness.tasks.folds import CrossValidationFlags, of_tables
from harness.tasks.launch import by_net
from harness.tasks.prediction_files import write_predictions
from harness.tasks.refit import with_refit
from harness.tasks.table_models import predict
from harness.tasks.tabular import train_table
from harness.training.fit import Result
from harness.training.flags import deciding_by_validation
from lit_modules import Regressor


@dataclass(frozen=True, kw_only=True)
class HousePriceFlags(HouseOptions, CrossValidationFlags):
    """House prices, in folds or with a validation split.

    Args:
        data_dir: folder of house-prices/{train,test}.csv; missing files are downloaded to it.
        sample: use a generated table, which needs no files.
        val_size: with --folds 0, size of the validation split: a share below 1, or a number of rows;
            0: train on all that are not for testing, and test the last epoch.
        monitor: with --folds 0, the validation metric that chooses the best epoch.
        checkpoint_epochs: with --folds 0, epochs between two writes of last.ckpt; the last epoch is always written.
    """

    data_dir: str = "data"
    sample: bool = False
    val_size: float = 0.1
    monitor: str | None = "val/log_rmse"
    checkpoint_epochs: int = 1


# Each net's defaults here; command-line flags override them.
ONECYCLE = HousePriceFlags(max_epochs=60, lr_decay="onecycle")
RECIPES = by_net(
    replace(
        ONECYCLE,
        net="linear",
        lr=0.01,
        batch_size=64,
        optimizer="adam",
        weight_decay=0.03,
        features="plain",
        log1p="none",
        clip=[],
    ),
    replace(ONECYCLE, net="mlp", batch_size=64, weight_decay=0.1, net_args={"widths": [256, 128], "dropout": 0.2}),
    replace(
        ONECYCLE,
        net="tabm",
        weight_decay=0.1,
        loss="huber",
        scale="robust",
        # The few houses of extreme size should stand out: robust scaling bounds them, clipping would level them.
        log1p="none",
        clip=[],
        net_args={"linear_path": True, "widths": [128, 128], "size": 16, "dropout": 0.05},
    ),
)
DEFAULTS = HousePriceFlags()


def main(flags: HousePriceFlags = DEFAULTS) -> dict[str, Any]:
    """Cross-validates a network on house prices, and writes submission.csv from the mean of the folds' log-prices."""
    if flags.folds:
        if flags.refit:
            raise InputError("--refit: folds choose no epoch; --folds 0 does, by a validation split")
        if decides := deciding_by_validation(flags):
            raise InputError(f"{decides}: decides by a validation split, and folds have none; --folds 0 has one")
        return cross_validate(of_tables(_table(flags)), replace(flags, val_size=0.0, monitor=None))
    return with_refit(_train, flags).metrics


def _table(flags: HousePriceFlags) -> Callable[..., HousePrices]:
    """Makes the data module of a training, from what its split takes."""
    return partial(HousePrices, flags.data_dir, flags.batch_size, sample=flags.sample, **values(flags, HouseOptions))


def _train(flags: HousePriceFlags) -> Result:
    """One training, and its submission."""
    data = _table(flags)(seed=flags.seed, val_size=flags.val_size)
    data.prepare_data()
    data.setup()
    ids, rows, *_ = data.other_rows()
    result = train_table(data, flags)
    if result.run and flags.reports and is_rank_zero():
        assert isinstance(result.model, Regressor)  # prices are numbers
        predicted = {data.target: predict(result.model, rows)}
        write_predictions(result.run / "submission.csv", data.id_column, ids, predicted)
    return result


if __name__ == "__main__":
    cli(main, RECIPES)
