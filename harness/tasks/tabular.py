"""Tables: training a network on one, and predicting with it; the flags that house_prices.py and table.py share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything

from basics.errors import InputError
from datamodules.table_data import TableData
from harness.runs.resume import Opened
from harness.training.fit import fit_and_test, fit_in
from lit_modules import Regressor, RowClassifier

BINS = 16  # of piecewise linear embeddings, where --net_args.bins does not say


def train_table(
    data: TableData,
    net: str,
    fold_run: Path | None,
    *,
    net_args: dict[str, Any] | None = None,
    lr: float = 0.002,
    max_epochs: int = 50,
    optimizer: str = "adamw",
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    loss: str = "mse",
    delta: float = 1.0,
    **flags: Any,
) -> tuple[Regressor | RowClassifier, dict[str, Any]]:
    """Trains the network called `net` on `data`, which is set up; returns the model at its best, and the metrics.

    Args:
        fold_run: the directory of a fold's run; None makes a run of its own.
        net_args: options of the network, such as --net_args.dropout 0.2; of tabm, `bins` is their number.
        lr: initial, or with onecycle highest, learning rate.
        max_epochs: passes over the training split.
        optimizer: sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad, adadelta or muon (lit_modules/optimizers.py).
        momentum: of sgd, momentum, nesterov, rmsprop and muon.
        nesterov: whether sgd's momentum is Nesterov's.
        weight_decay: factor of the L2 penalty; of decoupled weight decay with adamw and muon.
        loss: of a regression, mse or huber.
        delta: of huber, standard deviations of the target from which on the loss is linear.
    """
    seed_everything(data.seed, verbose=False)
    options: dict[str, Any] = {
        "preprocessing": data.preprocessing,
        "net_args": complete_net_args(data, net, net_args),
        "lr": lr,
        "optimizer": optimizer,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
    }
    if data.classification:
        model: RowClassifier | Regressor = RowClassifier(net, data.input_shape, len(data.classes), **options)
    else:
        mean, std = data.target_mean_std()
        model = Regressor(net, data.input_shape, mean, std, data.log_target, loss=loss, delta=delta, **options)
    if fold_run:
        return model, fit_in(Opened(fold_run), data.name, model, data, max_epochs=max_epochs, seed=data.seed, **flags)
    return model, fit_and_test(data.name, model, data, max_epochs=max_epochs, seed=data.seed, **flags)


def complete_net_args(data: TableData, net: str, net_args: dict[str, Any] | None) -> dict[str, Any] | None:
    """Tells TabM's embeddings which of its inputs are numbers, and the edges of their bins."""
    net_args = dict(net_args or {})
    embedding = net_args.get("embedding", "none")
    if net != "tabm" or embedding == "none":
        return net_args
    count = net_args.pop("bins", BINS)
    if not isinstance(count, int) or count < 1:
        raise InputError(f"net_args bins {count}: must be a number of bins, at least 1")
    bins = {"bins": data.bins(count)} if embedding == "piecewise" else {}
    return {**net_args, "numbers": data.num_numbers, **bins}


@torch.no_grad()
def predict(model: Regressor | RowClassifier, rows: np.ndarray) -> np.ndarray:
    """What `model.forward` says of preprocessed rows, (N, F), in float64: targets, or log-probabilities of classes."""
    parts = torch.from_numpy(rows).split(4096)  # an ensemble needs memory for each of its members
    model.cpu().float().eval()  # whatever precision it was trained in
    return torch.cat([model(part) for part in parts]).double().numpy()
