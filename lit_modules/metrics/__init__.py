"""Further metrics of validation and test, found by name: `--metrics macro_f1,top5_acc`.

A file here offers metrics by naming them in its `__all__`: a class or function that is called as `metric(num_outputs)`,
with the number of classes, and returns a `torchmetrics.Metric`. Its `update` gets what the model says of a batch,
(B, num_classes) logits or (B,) numbers, and the targets, (B,); its `compute` gives a single number, which is that of
the whole split on any number of devices. It is known by its own name in lower case.

Loss, accuracy and the errors of a regression need no file: see `means.py`, which is faster.
"""

from functools import cache

from torch import Tensor
from torchmetrics import Metric

from basics.errors import InputError
from basics.offers import Offers, read_offers


@cache
def _files() -> Offers:
    return read_offers(__name__, __path__, "metrics")


def with_top5(names: str, num_classes: int) -> str:
    """The names, and for more than ten classes, of which many are alike, top5_acc."""
    return ",".join(dict.fromkeys([*filter(None, names.split(",")), *["top5_acc"] * (num_classes > 10)]))


def build_metrics(names: str, num_outputs: int) -> dict[str, Metric]:
    """The metrics with these names, which commas separate.

    Raises:
        InputError: there is no such name, its file cannot be imported, or what it makes is no metric.
    """
    return {name: _build(name, num_outputs) for name in (part.strip() for part in names.split(",")) if name}


def _build(name: str, num_outputs: int) -> Metric:
    constructor = _files().choose("metric", name, _files().by_name(), "metrics")
    try:
        metric = constructor(num_outputs)
    except Exception as error:  # anything may happen in somebody's file
        raise InputError(f"metrics {name}: {type(error).__name__}: {error}") from error
    if not isinstance(metric, Metric):
        raise InputError(f"metrics {name}: makes a {type(metric).__name__}; it must make a torchmetrics.Metric")
    return metric


def read(name: str, metric: Metric) -> float:
    """The metric of all samples on all devices, which it then forgets.

    Raises:
        InputError: it is not a single number.
    """
    value = metric.compute()
    metric.reset()
    if isinstance(value, Tensor) and value.numel() != 1:
        raise InputError(f"metrics {name}: its compute gives {value.numel()} numbers; it must give one")
    return float(value)
