"""Regression of images: a number for each, such as an age or a count."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lit_modules.means import precise
from lit_modules.nets import build_net
from lit_modules.normalise import Normalise
from lit_modules.number_stages import NumberStages
from lit_modules.regressor import RegressorOptions


class ImageRegressor(NumberStages):
    """Trains a network to predict a number from an image. All arguments are plain data, kept in each checkpoint.

    Args:
        net: a name from `lit_modules.nets`.
        input_shape: (C, H, W).
        mean: of the training pixels, per channel; subtracted from the input, as in `Classifier`.
        std: of the training pixels, per channel; divides the input.
        target_mean: of the training targets.
        target_std: their standard deviation.
        target: what the number is called; kept for predictions.
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
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        target_mean: float = 0.0,
        target_std: float = 1.0,
        target: str = "number",
        net_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, mean, std = tuple(input_shape), tuple(mean), tuple(std)
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(RegressorOptions(**options)))  # those that have their defaults too
        self.net = build_net(net, input_shape, 1, **(net_args or {}))
        self.normalise = Normalise(mean, std)
        self.example_input_array = torch.zeros(2, *input_shape)
        self._prepare_numbers(target_mean, target_std, log_target=False)
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, images: Tensor) -> Tensor:
        """Predicted numbers, (B,), float64 if the device has it, of images with values in 0..1, (B, C, H, W)."""
        return self._unscale(self._scaled_outputs(images).squeeze(1))

    def _scaled_outputs(self, images: Tensor) -> Tensor:
        return precise(self.net(self.normalise(images)))  # (B, 1)
