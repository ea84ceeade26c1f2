"""Several labels for each image, by any network: what is on a picture, whatever else is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lit_modules.label_stages import LabelOptions, LabelStages, check_labels
from lit_modules.means import precise
from lit_modules.nets import build_net
from lit_modules.normalise import Normalise


class ImageTagger(LabelStages):
    """Trains a network to say of each label whether an image has it. All arguments are plain data, in each checkpoint.

    Args:
        net: a name from `lit_modules.nets`.
        input_shape: (C, H, W).
        labels: their names, in the order of the targets' columns.
        mean: of the training pixels, per channel; subtracted from the input, as in `Classifier`.
        std: of the training pixels, per channel; divides the input.
        net_args: options of the network.
        options: those of `LabelOptions`.

    Raises:
        InputError: a name is unknown, a number out of its range, or there are fewer than two labels.
    """

    options_type = LabelOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        labels: Sequence[str],
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        net_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, mean, std, labels = tuple(input_shape), tuple(mean), tuple(std), list(labels)
        check_labels(labels)
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(LabelOptions(**options)))  # those that have their defaults too
        self.net = build_net(net, input_shape, len(labels), **(net_args or {}))
        self.normalise = Normalise(mean, std)
        self.example_input_array = torch.zeros(2, *input_shape)
        self._prepare_labels()
        self.configure_optimizers()  # refuses a wrong option now

    def _logits(self, images: Tensor) -> Tensor:
        """Of images with values in 0..1, (B, C, H, W)."""
        return precise(self.net(self.normalise(images))).unsqueeze(1)  # (B, 1, L)
