"""What the predictions of several labels at once share, of images and of rows: a yes or no for each label."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from lit_modules.class_losses import FOCUS
from lit_modules.class_scores import Said
from lit_modules.label_scores import FIGURES, HALF, by_label, label_scores
from lit_modules.means import total
from lit_modules.metrics.of_classes import refuse_for
from lit_modules.optimizers import OptimizerOptions
from lit_modules.stages import Batch, Learnt, Stages


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, each times (1 - p)^2, p being the probability of what is true (Lin et al. 2017, eq. 4)."""
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (1 - (-losses).exp()) ** FOCUS * losses


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "focal": focal}  # each (..., L) -> (..., L)


@dataclass(frozen=True, kw_only=True)
class LabelOptions(OptimizerOptions):
    """What several labels are learnt by.

    Args:
        loss: bce, or focal, which lets easy decisions hardly count.
        metrics: further metrics, of one's own, which get logits and targets, (B, L) each (lit_modules/metrics).

    Raises:
        InputError: there is no such loss, or a metric is for classes.
    """

    loss: str = "bce"
    metrics: str = ""

    def __post_init__(self) -> None:
        choose("loss", self.loss, LOSSES)
        refuse_for(self.metrics, f"each epoch of labels has {', '.join(FIGURES)}")


class LabelStages(Stages, ABC):
    """Logs `loss`, the mean of the labels' losses, and of validation and test the figures of `label_scores` too.

    Its hyperparameters have `labels`, their names, and are those of `LabelOptions` too.

    Attributes:
        by_label: after a test, ap, recall, precision, f1 and count of each label by its name.
    """

    metrics = ("loss", *FIGURES)

    def _prepare_labels(self) -> None:
        self.names: list[str] = self.hparams["labels"]
        self._measure_also(self.hparams["metrics"], len(self.names))
        self.said = {stage: Said() for stage in ("val", "test")}
        self.by_label: dict[str, dict[str, float]] = {}

    @abstractmethod
    def _logits(self, inputs: Tensor) -> Tensor:
        """Those of each label by each member of an ensemble, (B, members, L)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits of the members' mean probabilities, (B, L)."""
        return self._averaged(self._logits(inputs))

    @staticmethod
    def _averaged(logits: Tensor) -> Tensor:
        if logits.shape[1] == 1:
            return logits.squeeze(1)
        return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)

    def predicted(self, outputs: Tensor) -> Tensor:
        """The probability of each label, (B, L)."""
        return outputs.sigmoid()

    def learn(self, inputs: Tensor, targets: Tensor) -> Learnt:
        logits = self._logits(inputs)
        each = targets.to(logits.dtype).unsqueeze(1).expand_as(logits)  # (B, members, L)
        loss = LOSSES[self.hparams["loss"]](logits, each).mean()
        return loss, {"loss": total(loss, targets), **self._decided(self._averaged(logits.detach()), targets)}

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        inputs, targets = batch
        logits = self(inputs)
        losses = LOSSES[self.hparams["loss"]](logits, targets.to(logits.dtype)).mean(1)  # (B,)
        self._count(stage, logits, targets, loss=losses.sum())
        self.said[stage].to(targets.device).update(self.exact_predictions(logits), targets)
        return logits

    @staticmethod
    def _decided(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        wrong = (logits.sigmoid() >= HALF) != targets.bool()  # (B, L)
        return {"subset_acc": (~wrong).all(1).sum(), "hamming": wrong.to(logits.dtype).mean(1).sum()}

    def _measured(self, stage: str) -> dict[str, float]:
        probabilities, targets = (part.reshape(-1, len(self.names)) for part in self.said[stage].compute())
        self.said[stage].reset()
        if stage == "test":
            self.by_label = by_label(probabilities, targets, self.names)
        return label_scores(probabilities, targets) | super()._measured(stage)


def check_labels(labels: Any) -> None:
    """Raises InputError unless there are two or more names."""
    if len(set(labels)) < 2:
        raise InputError(f"labels {list(labels)}: must be two or more names")


@torch.no_grad()
def chance_level(name: str) -> tuple[float, str]:
    """The loss of a network that knows nothing, its logits all 0, and the formula for it."""
    loss = LOSSES[name](torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    return float(loss), {"bce": "ln 2", "focal": "(1 - 1/2)^2 ln 2"}[name]
