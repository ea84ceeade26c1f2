"""Regression by any network: squared or Huber loss on standardised targets or their logarithms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.errors import InputError
from lit_modules.means import precise, total, widest
from lit_modules.nets import build_net, member_outputs
from lit_modules.optimizers import OptimizerOptions
from lit_modules.stages import Batch, Learnt, Stages

LOSSES = ("mse", "huber")


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

    Raises:
        InputError: there is no such loss, or `delta` is not above 0.
    """

    loss: str = "mse"
    delta: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InputError(f"loss {self.loss!r}: no such loss; there are {', '.join(LOSSES)}")
        if self.delta <= 0:
            raise InputError(f"delta {self.delta}: must be above 0")


class Regressor(Stages):
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
        self.metrics = ("loss", "log_rmse", "rmse", "mae", "r2") if log_target else ("loss", "rmse", "mae", "r2")
        self.net = build_net(net, input_shape, 1, **(net_args or {}))
        self.example_input_array = torch.zeros(2, *input_shape)
        self._measure_also(chosen.metrics, 1)
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, rows: Tensor) -> Tensor:
        """Predicted targets, (B,), float64 if the device has it, of preprocessed rows, (B, F)."""
        outputs = precise(member_outputs(self.net, rows)).mean(1).squeeze(1)
        return self._unscale(outputs.to(widest(outputs.device)))

    # Targets such as times in seconds differ by less than float32 resolves: at 1.7e9 its steps are 128.
    def _scale(self, targets: Tensor) -> Tensor:
        targets = targets.to(widest(targets.device))
        targets = targets.log() if self.hparams["log_target"] else targets
        return (targets - self.hparams["mean"]) / self.hparams["std"]

    def _unscale(self, outputs: Tensor) -> Tensor:
        values = outputs * self.hparams["std"] + self.hparams["mean"]
        return values.exp() if self.hparams["log_target"] else values

    def _loss(self, outputs: Tensor, scaled: Tensor, reduction: str = "mean") -> Tensor:
        scaled = scaled.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.hparams["loss"] == "huber":
            return F.huber_loss(outputs, scaled, reduction=reduction, delta=self.hparams["delta"])
        return F.mse_loss(outputs, scaled, reduction=reduction)

    def learn(self, rows: Tensor, targets: Tensor) -> Learnt:
        outputs = precise(member_outputs(self.net, rows)).squeeze(2)  # (B, members)
        loss = self._loss(outputs, self._scale(targets).unsqueeze(1).expand_as(outputs))
        return loss, self._sums(outputs.detach().mean(1), targets, total(loss, targets))

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        rows, targets = batch
        outputs = precise(member_outputs(self.net, rows)).mean(1).squeeze(1)  # (B,)
        loss = self._loss(outputs, self._scale(targets), reduction="sum")
        predicted = self._unscale(outputs.to(widest(outputs.device)))  # (B,)
        self._count(stage, predicted, targets, **self._sums(outputs, targets, loss))
        return predicted

    def _sums(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> dict[str, Tensor]:
        """The sums from which `summarise` makes metrics; targets are relative to their training mean, for precision."""
        outputs, targets = outputs.to(widest(outputs.device)), targets.to(widest(targets.device))
        errors = self._unscale(outputs) - targets
        centred = targets - self._unscale(torch.zeros_like(targets))
        sums = dict(loss=loss, square=errors.square(), mae=errors.abs(), target=centred, variance=centred.square())
        if self.hparams["log_target"]:
            sums["log_square"] = ((outputs - self._scale(targets)) * self.hparams["std"]).square()
        return {name: values.sum() for name, values in sums.items()}

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        variance = means["variance"] - means["target"] ** 2
        metrics = {
            "loss": means["loss"],
            "rmse": means["square"] ** 0.5,
            "mae": means["mae"],
            "r2": 1 - means["square"] / variance if variance > 0 else float("nan"),  # a single row has no variance
        }
        return metrics | ({"log_rmse": means["log_square"] ** 0.5} if self.hparams["log_target"] else {})
