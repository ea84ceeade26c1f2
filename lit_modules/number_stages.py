"""What the regressions of rows and of images share: losses of standardised targets, and errors of the targets."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_modules.means import total, widest
from lit_modules.stages import Batch, Learnt, Stages

LOSSES = ("mse", "huber")


class NumberStages(Stages, ABC):
    """Learns (target - mean) / std, or the same of the target's logarithm, and predicts the target itself.

    Logs `loss` of the standardised target, and `rmse`, `mae`, `r2` and, with `log_target`, `log_rmse` of the target,
    exact over samples. Its hyperparameters are those of `RegressorOptions` too.
    """

    def _prepare_numbers(self, mean: float, std: float, log_target: bool) -> None:
        """Takes the mean and the standard deviation of the training targets, or of their logarithms."""
        self.centre, self.spread, self.log_target = mean, std, log_target
        self.metrics = ("loss", "log_rmse", "rmse", "mae", "r2") if log_target else ("loss", "rmse", "mae", "r2")
        self._measure_also(self.hparams["metrics"], 1)

    @abstractmethod
    def _scaled_outputs(self, inputs: Tensor) -> Tensor:
        """What the network says of the standardised target, by each member of an ensemble, (B, members)."""

    # Targets such as times in seconds differ by less than float32 resolves: at 1.7e9 its steps are 128.
    def _scale(self, targets: Tensor) -> Tensor:
        targets = targets.to(widest(targets.device))
        targets = targets.log() if self.log_target else targets
        return (targets - self.centre) / self.spread

    def _unscale(self, outputs: Tensor) -> Tensor:
        values = outputs.to(widest(outputs.device)) * self.spread + self.centre
        return values.exp() if self.log_target else values

    def _loss(self, outputs: Tensor, scaled: Tensor, reduction: str = "mean") -> Tensor:
        scaled = scaled.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.hparams["loss"] == "huber":
            return F.huber_loss(outputs, scaled, reduction=reduction, delta=self.hparams["delta"])
        return F.mse_loss(outputs, scaled, reduction=reduction)

    def learn(self, inputs: Tensor, targets: Tensor) -> Learnt:
        outputs = self._scaled_outputs(inputs)  # (B, members)
        loss = self._loss(outputs, self._scale(targets).unsqueeze(1).expand_as(outputs))
        return loss, self._sums(outputs.detach().mean(1), targets, total(loss, targets))

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        inputs, targets = batch
        outputs = self._scaled_outputs(inputs).mean(1)  # (B,)
        loss = self._loss(outputs, self._scale(targets), reduction="sum")
        predicted = self._unscale(outputs)  # (B,)
        self._count(stage, predicted, targets, **self._sums(outputs, targets, loss))
        return predicted

    def _sums(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> dict[str, Tensor]:
        """The sums from which `summarise` makes metrics; targets are relative to their training mean, for precision."""
        outputs, targets = outputs.to(widest(outputs.device)), targets.to(widest(targets.device))
        errors = self._unscale(outputs) - targets
        centred = targets - self._unscale(torch.zeros_like(targets))
        sums = dict(loss=loss, square=errors.square(), mae=errors.abs(), target=centred, variance=centred.square())
        if self.log_target:
            sums["log_square"] = ((outputs - self._scale(targets)) * self.spread).square()
        return {name: values.sum() for name, values in sums.items()}

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        variance = means["variance"] - means["target"] ** 2
        metrics = {
            "loss": means["loss"],
            "rmse": means["square"] ** 0.5,
            "mae": means["mae"],
            "r2": 1 - means["square"] / variance if variance > 0 else float("nan"),  # a single sample has no variance
        }
        return metrics | ({"log_rmse": means["log_square"] ** 0.5} if self.log_target else {})
