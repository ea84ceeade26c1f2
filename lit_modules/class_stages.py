"""What the classifications of images and of rows share: weights of the classes, and figures by class."""

from abc import ABC
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from basics.errors import InputError
from lit_modules.class_scores import Said, best_threshold, by_class, class_scores
from lit_modules.metrics import with_top5
from lit_modules.stages import Stages


class ClassStages(Stages, ABC):
    """Logs, besides what each stage does, the figures of `class_scores` for a final validation and for a test.

    During a training they are only measured if `--metrics` names them. Of two classes, a validation also chooses the
    probability from which on a sample is said to be of the second one, and a test that follows has the accuracy and
    the balanced accuracy with it, as `acc_at_threshold` and `balanced_acc_at_threshold`.

    Attributes:
        by_class: after a test, recall, precision, f1 and count of each class by its name.
        class_weights: by which factor a training sample of each class counts, (C,); None: all count alike.
    """

    metrics = ("loss", "acc")
    class_weights: Tensor | None

    def _prepare_classes(self, num_classes: int, metrics: str, weights: Sequence[float] | None) -> None:
        self._measure_also(with_top5(metrics, num_classes), num_classes)
        self.said = {stage: Said() for stage in ("val", "test")}
        self.by_class: dict[str, dict[str, float]] = {}
        self.threshold: float | None = None
        self.final = False  # whether this evaluation is no part of a training
        if weights is not None and (len(weights) != num_classes or min(weights) < 0):
            raise InputError(f"class_weights {list(weights)}: must be {num_classes} numbers that are not negative")
        chosen = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("class_weights", chosen, persistent=False)  # the hyperparameters keep them

    def weighted(self, losses: Tensor, labels: Tensor) -> Tensor:
        """The mean of the samples' losses, (B,), each times the weight of its class.

        torch's losses divide by the sum of the batch's weights, which makes a batch of rare samples count as little as
        one of common samples; here the mean over batches and devices is that over all samples.
        """
        assert self.class_weights is not None
        return (self.class_weights[labels] * losses).mean()

    def on_validation_start(self) -> None:
        self.final = self.trainer.state.fn == TrainerFn.VALIDATING

    def on_test_start(self) -> None:
        self.final = True

    def _count(self, stage: str, outputs: Tensor, targets: Tensor, **sums: Tensor) -> None:
        super()._count(stage, outputs, targets, **sums)
        if self.final:
            self.said[stage].to(targets.device).update(self.exact_predictions(outputs), targets)

    def _measured(self, stage: str) -> dict[str, float]:
        further = super()._measured(stage)
        if not self.final:
            return further
        probabilities, labels = self.said[stage].compute()
        labels = labels.reshape(-1)  # torchmetrics squeezes that of a single sample
        probabilities = probabilities.reshape(len(labels), -1)
        self.said[stage].reset()
        if stage == "test":
            counts = by_class(probabilities.argmax(1), labels, probabilities.shape[1])
            self.by_class = counts.rows(self.class_names)
        two = self._with_threshold(stage, probabilities[:, 1], labels == 1) if probabilities.shape[1] == 2 else {}
        return class_scores(probabilities, labels) | two | further

    def _with_threshold(self, stage: str, scores: Tensor, hits: Tensor) -> dict[str, float]:
        """What a threshold other than 0.5 gives, from probabilities of the second class, (N,), and which are of it."""
        if stage == "val":
            self.threshold = best_threshold(scores, hits) if hits.any() and not hits.all() else None
        if (threshold := self.threshold) is None:
            return {}
        said = scores >= threshold
        balanced = by_class(said.long(), hits.long(), 2).balanced_acc
        right = float((said == hits).cpu().double().mean())
        figures = {"balanced_acc_at_threshold": balanced, "acc_at_threshold": right}
        if stage == "val":
            return figures | {"threshold": threshold}
        self.threshold = None  # the next test may be of other weights
        return figures

    @property
    def class_names(self) -> list[str]:
        names: Any = self.hparams.get("classes") or (self.hparams.get("preprocessing") or {}).get("classes")
        return [str(name) for name in names or range(self.hparams["num_classes"])]
