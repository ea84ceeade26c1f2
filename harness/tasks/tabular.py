"""Training a network on a table and predicting with it; the flags that house_prices.py and table.py share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from basics.errors import InputError
from datamodules.table_data import TableData
from harness.drawing.pictures import reported
from harness.processes.ranks import is_rank_zero
from harness.runs.invocation import values
from harness.runs.resume import Opened
from harness.tasks.classes import weights_for, with_monitored
from harness.tasks.column_effects import explain_columns
from harness.tasks.launch import fit_and_test
from harness.tasks.table_models import RowModel
from harness.training.fit import Job, Result, fit_in
from harness.training.flags import FitFlags
from harness.training.trainer import NO_EXTRAS, Extras
from lit_modules import Regressor, RowClassifier
from lit_modules.label_stages import LabelOptions
from lit_modules.regressor import RegressorOptions
from lit_modules.row_classifier import RowClassOptions
from lit_modules.row_tagger import RowTagger

BINS = 16  # for piecewise linear embeddings, unless --net_args.bins says otherwise


@dataclass(frozen=True, kw_only=True)
class TabularFlags(RegressorOptions, FitFlags):
    """A network for the rows of a table.

    Args:
        net: name of the network: linear, mlp, tabm, or another of lit_modules/nets.
        net_args: options for the network, such as --net_args.dropout 0.2; for tabm, `bins` is the number of bins.
        batch_size: rows per device and step.
        val_size: size of the validation split: a share below 1, or a number of rows; 0: train on all that are
            not for testing, and test the last epoch.
        class_weights: balanced: in a classification, each class counts as much as any other in the loss; or none.
    """

    net: str = "tabm"
    net_args: dict[str, Any] | None = None
    lr: float = 0.002
    max_epochs: int = 50
    batch_size: int = 128
    val_size: float | None = 0.1
    class_weights: str = "none"


def train_table(
    data: TableData, flags: TabularFlags, fold_run: Path | None = None, theirs: Extras = NO_EXTRAS
) -> Result:
    """Trains a network on `data`, which has been set up.

    Args:
        fold_run: the directory of a fold's run; None makes a new run.
        theirs: the script's own callbacks and loggers.
    """
    seed_everything(data.seed, verbose=False)
    net_args = complete_net_args(data, flags.net, flags.net_args)
    kept: dict[str, Any] = {"preprocessing": data.preprocessing, "net_args": net_args}
    model: RowModel
    if data.classification:
        kept["class_weights"] = weights_for(flags, data.train_labels, len(data.classes))
        options = values(with_monitored(flags), RowClassOptions)
        model = RowClassifier(flags.net, data.input_shape, len(data.classes), **kept, **options)
    elif flags.class_weights != "none":
        what = "has labels" if data.multilabel else "is a number"
        raise InputError(f"class_weights {flags.class_weights}: {data.target!r} {what}, and has no classes")
    elif data.multilabel:
        model = RowTagger(flags.net, data.input_shape, data.labels, **kept, **values(flags, LabelOptions))
    else:
        mean, std = data.target_mean_std()
        options = values(flags, RegressorOptions)
        model = Regressor(flags.net, data.input_shape, mean, std, data.log_target, **kept, **options)
    if fold_run:
        return fit_in(Opened(fold_run, is_fold=True), Job(data.name, model, data), flags, theirs)
    result = fit_and_test(data.name, model, data, flags, *theirs)
    explains = flags.pictures and "test/samples" in result.metrics and is_rank_zero()
    if explains and result.run:
        with reported():
            explain_columns(result.run, data, [model], None)
    return result


def complete_net_args(data: TableData, net: str, net_args: dict[str, Any] | None) -> dict[str, Any] | None:
    """Adds what TabM's embeddings need: how many of its inputs are numbers, and the edges of their bins.

    Of a table without numbers there is nothing to embed.
    """
    net_args = dict(net_args or {})
    embedding = net_args.get("embedding", "none")
    if net != "tabm":
        return net_args
    count = net_args.pop("bins", BINS)
    if embedding == "none":
        return net_args
    if not data.num_numbers:
        return {**net_args, "embedding": "none"}
    if not isinstance(count, int) or count < 1:
        raise InputError(f"net_args bins {count}: must be a number of bins, at least 1")
    bins = {"bins": data.bins(count)} if embedding == "piecewise" else {}
    return {**net_args, "numbers": data.num_numbers, **bins}
