"""Several labels for each row of a table, by any network."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lit_modules.label_stages import LabelOptions, LabelStages, check_labels
from lit_modules.means import precise
from lit_modules.nets import build_net, member_outputs


class RowTagger(LabelStages):
    """Trains a network to say of each label whether a row has it. All arguments are plain data, in each checkpoint.

    The members of an ensemble are trained one by one, and their probabilities averaged to predict. The arguments are
    those of `ImageTagger`, with `preprocessing`, how rows become input, in place of the statistics of pixels.
    """

    options_type = LabelOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        labels: Sequence[str],
        preprocessing: dict[str, Any] | None = None,
        net_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, labels = tuple(input_shape), list(labels)
        check_labels(labels)
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(LabelOptions(**options)))  # those that have their defaults too
        self.net = build_net(net, input_shape, len(labels), **(net_args or {}))
        self.example_input_array = torch.zeros(2, *input_shape)
        self._prepare_labels()
        self.configure_optimizers()  # refuses a wrong option now

    def _logits(self, rows: Tensor) -> Tensor:
        """Of preprocessed rows, (B, F)."""
        return precise(member_outputs(self.net, rows))  # (B, members, L)
