"""Regression by any network: squared or Huber loss on standardised targets or their logarithms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from lit_modules.means import precise
from lit_modules.metrics.of_classes import refuse_for
from lit_modules.nets import build_net, member_outputs
from lit_modules.number_stages import LOSSES, NumberStages
from lit_modules.optimizers import OptimizerOptions


@dataclass(frozen=True, kw_only=True)
class RowOptions(OptimizerOptions):
    """The optimizer of a network for tables, and what is measured.

    Args:
        metrics: further metrics of validation and test, such as macro_f1 (lit_modules/metrics).
    """

    lr: float = 0.001
    optimizer: str = "adamw"
    metrics: str = ""


@dataclass(frozen=True, kw_only=True)
class RegressorOptions(RowOptions):
    """What a regression learns by.

    Args:
        loss: of a regression, mse, or huber, which is half the square up to `delta` and linear beyond.
        delta: of huber, standard deviations of the target from which on the loss is linear.
        metrics: none: rmse, mae and r2 are always measured.

    Raises:
        InputError: there is no such loss, `delta` is not above 0, or a metric is for classes.
    """

    loss: str = "mse"
    delta: float = 1.0

    def __post_init__(self) -> None:
        choose("loss", self.loss, dict.fromkeys(LOSSES))
        if self.delta <= 0:
            raise InputError(f"delta {self.delta}: must be above 0")
        refuse_for(self.metrics, "numbers have rmse, mae and r2")


class Regressor(NumberStages):
    """Trains a network to predict a number. All arguments are plain data, kept in each checkpoint.

    The network learns (target - mean) / std, or the same of the target's logarithm; `forward` gives the target itself.
    The members of an ensemble are trained one by one, and their outputs averaged to predict. Logs `loss` of the
    standardised target, and `rmse`, `mae`, `r2` and, with `log_target`, `log_rmse` of the target, exact over samples.

    Args:
        net: a name from `lit_modules.nets`.
        input_shape: shape of one row, (F,).
        mean: of the training targets, or of their logarithms.
        std: their standard deviation.
        log_target: learn the logarithm.
        preprocessing: how rows become input, as plain data; kept for predictions.
        net_args: options of the network.
        options: those of `RegressorOptions`.

    Raises:
        InputError: a name is unknown or a number out of its range.
    """

    options_type = RegressorOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        mean: float = 0.0,
        std: float = 1.0,
        log_target: bool = False,
        preprocessing: dict[str, Any] | None = None,
        net_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape = tuple(input_shape)
        self.save_hyperparameters(logger=False)
        chosen = RegressorOptions(**options)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.net = build_net(net, input_shape, 1, **(net_args or {}))
        self.example_input_array = torch.zeros(2, *input_shape)
        self._prepare_numbers(mean, std, log_target)
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, rows: Tensor) -> Tensor:
        """Predicted targets, (B,), float64 if the device has it, of preprocessed rows, (B, F)."""
        return self._unscale(self._scaled_outputs(rows).mean(1))

    def _scaled_outputs(self, rows: Tensor) -> Tensor:
        return precise(member_outputs(self.net, rows)).squeeze(2)  # (B, members)
