"""Figures of a classification in which a common class does not hide a rare one, exact over samples and devices.

balanced_acc   the mean of the classes' recalls (Brodersen et al. 2010, "The balanced accuracy and its posterior
               distribution"): whoever always names the commonest of ten classes gets 10 %
macro_f1       the mean over the classes of the harmonic mean of precision and recall
roc_auc        the chance that a sample of a class gets a higher probability of it than one of another class does,
               where equal ones count half; the mean over the classes
ap             average precision: that of the samples down to each one of a class, the likeliest first; the mean over
               these samples, and then over the classes
log_loss       minus the logarithm of the true class's probability; the mean over the samples

All are of the classes that occur, and as scikit-learn has them, which takes probabilities below 2e-16 for 2e-16.
Probabilities are (N, C), and labels (N,).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_modules.means import widest

FIGURES = ("balanced_acc", "macro_f1", "roc_auc", "ap", "log_loss")


class Said(Metric):
    """Keeps the probabilities and labels of all samples, on all devices: none of the figures is a mean of batches'."""

    full_state_update = False
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        self.probabilities.append(probabilities)
        self.labels.append(labels)

    def compute(self) -> tuple[Tensor, Tensor]:
        """The probabilities, (N, C), and the labels, (N,)."""
        return dim_zero_cat(self.probabilities), dim_zero_cat(self.labels)


class OneFigure(Said):
    """One of the `FIGURES`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def compute(self) -> Tensor:  # type: ignore[override]  # a number, as of other metrics
        return torch.tensor(class_scores(*super().compute())[self.name])


class ByClass(NamedTuple):
    """Of each class, (C,): what share of its samples is found, what share of those called so is right, and counts."""

    recall: Tensor
    precision: Tensor
    f1: Tensor
    true: Tensor  # samples of the class
    said: Tensor  # samples called so

    @property
    def balanced_acc(self) -> float:
        return float(self.recall[self.true > 0].mean())

    @property
    def macro_f1(self) -> float:
        return float(self.f1[self.true + self.said > 0].mean())

    def rows(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """The figures of each class, by its name."""
        names = ("recall", "precision", "f1", "count")
        shares, counts = torch.stack([self.recall, self.precision, self.f1], dim=1).tolist(), self.true.tolist()
        rows = ([*(round(its, 6) for its in row), int(count)] for row, count in zip(shares, counts, strict=True))
        return {name: dict(zip(names, row, strict=True)) for name, row in zip(classes, rows, strict=True)}


def by_class(predicted: Tensor, labels: Tensor, num_classes: int) -> ByClass:
    """From the numbers of the predicted classes, (N,), and of the true ones, (N,); what cannot be divided is 0."""
    predicted, labels = predicted.cpu(), labels.cpu()
    parts = labels[predicted == labels], labels, predicted
    right, true, said = (torch.bincount(part, minlength=num_classes).double() for part in parts)
    recall, precision = right / true.clamp(min=1), right / said.clamp(min=1)
    return ByClass(recall, precision, 2 * right / (true + said).clamp(min=1), true, said)


def class_scores(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """The `FIGURES` by name; roc_auc is no number where only one class occurs."""
    its = by_class(probabilities.argmax(1), labels, probabilities.shape[1])
    hits = labels.unsqueeze(1) == torch.arange(probabilities.shape[1], device=labels.device)  # (N, C)
    aucs, precisions = ranked(probabilities, hits)
    true = (probabilities / probabilities.sum(1, keepdim=True)).gather(1, labels.unsqueeze(1))
    losses = -true.clamp(min=torch.finfo(true.dtype).tiny).log()  # finite, even where a probability is rounded to 0
    values = [its.balanced_acc, its.macro_f1, *(float(each.nanmean()) for each in (aucs, precisions, losses))]
    return dict(zip(FIGURES, values, strict=True))


def ranked(scores: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
    """ROC-AUC and average precision of each column, (C,) each; no number where all samples are of the class, or none.

    Args:
        scores: how likely each sample is of the class, (N, C).
        hits: whether it is, (N, C).
    """
    scores, order = scores.sort(0, descending=True)
    hits = hits.gather(0, order)
    # Counts, as the cumulative sum of numbers that are not whole is not deterministic on a GPU.
    found, wrong = hits.cumsum(0), (~hits).cumsum(0)  # (N, C), from the highest score down to each
    first, last = _ends_of_ties(scores)
    wrong_above, wrong_here = (wrong - (~hits).long()).gather(0, first), wrong.gather(0, last)
    lower = wrong[-1] - (wrong_above + wrong_here).to(widest(scores.device)) / 2  # and half of those with equal scores
    auc = (hits * lower).sum(0) / (found[-1] * wrong[-1])
    precision = found.gather(0, last).to(lower.dtype) / (last + 1)
    return auc, (hits * precision).sum(0) / found[-1]


def _ends_of_ties(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last row with the same score as each, (N, C), where each column is sorted."""
    rows = torch.arange(len(scores), device=scores.device).unsqueeze(1).expand_as(scores)
    new = torch.ones_like(scores, dtype=torch.bool)
    new[1:] = scores[1:] != scores[:-1]
    first = torch.where(new, rows, 0).cummax(0).values
    ends = torch.where(new.roll(-1, 0), rows, len(scores) - 1)  # the row above a new score; the first one is new
    return first, ends.flip(0).cummin(0).values.flip(0)


def decided(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """The number of the class that each sample is said to be of, (N,), from probabilities, (N, C).

    Args:
        threshold: of two classes, the probability of the second one from which on it is said; None: the likeliest.
    """
    return probabilities.argmax(1) if threshold is None else (probabilities[:, 1] >= threshold).astype(np.int64)


def best_threshold(scores: Tensor, hits: Tensor) -> float:
    """From which probability on a sample should be said to be of a class, for the highest balanced accuracy.

    Youden 1950, "Index for rating diagnostic tests". It lies halfway between two scores; of equally good ones, it is
    the nearest to 0.5.

    Args:
        scores: the probabilities of the class, (N,).
        hits: whether each sample is of it, (N,); some are, and some are not.
    """
    scores, order = scores.cpu().double().sort(descending=True)
    hits = hits.cpu()[order].double()
    index = hits.cumsum(0) / hits.sum() - (1 - hits).cumsum(0) / (1 - hits).sum()  # recall - false-positive rate
    between = (scores[:-1] + scores[1:]) / 2
    usable = scores[:-1] > scores[1:]
    if not usable.any():
        return 0.5
    index, between = index[:-1][usable], between[usable]
    best = between[index >= index.max() - 1e-12]
    return float(best[(best - 0.5).abs().argmin()])
