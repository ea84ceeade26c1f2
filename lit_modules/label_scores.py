"""Figures of predictions with several labels each, exact over samples and devices, as scikit-learn has them.

map          the mean over the labels of the average precision: that of the samples down to each one with the label, the
             likeliest first; the mean over these samples
macro_f1     the mean over the labels of the harmonic mean of precision and recall, from a probability of 0.5 on
micro_f1     the same harmonic mean of all decisions together, which the common labels govern
subset_acc   the share of samples of which every label is right
hamming      the share of decisions that are wrong, over samples and labels

A label that no sample has counts in the last three only. Probabilities and hits are (N, L).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lit_modules.class_scores import ranked

FIGURES = ("map", "macro_f1", "micro_f1", "subset_acc", "hamming")
HALF = 0.5  # from this probability on a sample is said to have the label


class _Counted(NamedTuple):
    """Of each label, (L,): how many samples have it, are said to have it, and both."""

    true: Tensor
    found: Tensor
    right: Tensor

    @property
    def f1(self) -> Tensor:
        return 2 * self.right / (self.true + self.found).clamp(min=1)


def _counted(probabilities: Tensor, hits: Tensor) -> _Counted:
    said = probabilities >= HALF
    return _Counted(*(part.sum(0).double() for part in (hits, said, said & hits)))


def label_scores(probabilities: Tensor, hits: Tensor) -> dict[str, float]:
    """The `FIGURES` by name; those of labels are no number if no sample has any."""
    probabilities, hits = probabilities.cpu(), hits.bool().cpu()
    said, its = probabilities >= HALF, _counted(probabilities, hits)
    _, precisions = ranked(probabilities, hits)
    values = (
        float(precisions.nanmean()),
        float(its.f1[its.true > 0].mean()),
        float(2 * its.right.sum() / (its.true + its.found).sum().clamp(min=1)),
        float((said == hits).all(1).double().mean()),
        float((said != hits).double().mean()),
    )
    return dict(zip(FIGURES, values, strict=True))


def by_label(probabilities: Tensor, hits: Tensor, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average precision, recall, precision and F1 of each label by its name, and how many samples have it.

    Those of a label that no sample has are 0.
    """
    probabilities, hits = probabilities.cpu(), hits.bool().cpu()
    its = _counted(probabilities, hits)
    _, average = ranked(probabilities, hits)
    recall, precision = its.right / its.true.clamp(min=1), its.right / its.found.clamp(min=1)
    columns = torch.stack([average.nan_to_num().double(), recall, precision, its.f1], dim=1)
    names = ("ap", "recall", "precision", "f1", "count")
    rows = zip(columns.tolist(), its.true.tolist(), strict=True)
    values = ([*(round(value, 6) for value in row), int(count)] for row, count in rows)
    return {label: dict(zip(names, its, strict=True)) for label, its in zip(labels, values, strict=True)}
