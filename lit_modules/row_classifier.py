"""Classification of a table's rows by any network: cross-entropy or focal loss, and accuracy."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.choose import choose
from lit_modules import class_losses
from lit_modules.class_stages import ClassStages
from lit_modules.means import precise, total
from lit_modules.nets import build_net, member_outputs
from lit_modules.regressor import RowOptions
from lit_modules.stages import Batch, Learnt

# Each of logarithms of probabilities, (B, num_classes), and labels, (B,).
LOSSES: dict[str, Callable[..., Tensor]] = {"ce": F.nll_loss, "focal": class_losses.focal}


@dataclass(frozen=True, kw_only=True)
class RowClassOptions(RowOptions):
    """What classes of rows are learnt by.

    Args:
        loss: ce, or focal: cross-entropy that counts hard rows most (lit_modules/class_losses.py).

    Raises:
        InputError: there is no such loss.
    """

    loss: str = "ce"

    def __post_init__(self) -> None:
        choose("loss", self.loss, LOSSES)


class RowClassifier(ClassStages):
    """Trains a network to tell classes apart. All arguments are plain data, kept in each checkpoint.

    The members of an ensemble are trained one by one, and their probabilities averaged to predict. (`Classifier` is
    for images, which it normalises by channel.) The arguments are those of `Regressor`, with `class_weights` as in
    `Classifier`, and the options those of `RowClassOptions`.
    """

    options_type = RowClassOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        num_classes: int,
        preprocessing: dict[str, Any] | None = None,
        net_args: dict[str, Any] | None = None,
        class_weights: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape = tuple(input_shape)
        self.save_hyperparameters(logger=False)
        chosen = RowClassOptions(**options)
        self.loss = chosen.loss
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.net = build_net(net, input_shape, num_classes, **(net_args or {}))
        self.example_input_array = torch.zeros(2, *input_shape)
        self._prepare_classes(num_classes, chosen.metrics, class_weights)
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, rows: Tensor) -> Tensor:
        """Logarithms of the classes' probabilities, (B, num_classes), of preprocessed rows, (B, F)."""
        return self._averaged(precise(member_outputs(self.net, rows)))

    @staticmethod
    def _averaged(logits: Tensor) -> Tensor:
        """Logarithms of the members' mean probabilities, (B, num_classes), of logits, (B, members, num_classes)."""
        return logits.log_softmax(2).logsumexp(1) - math.log(logits.shape[1])

    def predicted(self, outputs: Tensor) -> Tensor:
        """Probabilities, (B, num_classes)."""
        return outputs.exp()

    def learn(self, rows: Tensor, labels: Tensor) -> Learnt:
        logits = precise(member_outputs(self.net, rows))  # (B, members, num_classes)
        each = labels.unsqueeze(1).expand(logits.shape[:2]).flatten()  # (B * members,)
        loss = partial(class_losses.LOSSES[self.loss], logits.flatten(0, 1), each)
        right = (self._averaged(logits.detach()).argmax(1) == labels).sum()
        mean = loss() if self.class_weights is None else self.weighted(loss(reduction="none"), each)
        return mean, {"loss": total(mean, labels), "acc": right}

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        rows, labels = batch
        logs = self(rows)
        loss = LOSSES[self.loss](logs, labels, reduction="sum")
        self._count(stage, logs, labels, loss=loss, acc=(logs.argmax(1) == labels).sum())
        return logs
