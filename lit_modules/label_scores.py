"""Figures of predictions with several labels each, exact over samples and devices, as scikit-learn has them.

map          the mean over the labels of the average precision: that of the samples down to each one with the label, the
             likeliest first; the mean over these samples
macro_f1     the mean over the labels of the harmonic mean of precision and recall, from a probability of 0.5 on
micro_f1     the same harmonic mean of all decisions together, which the common labels govern
subset_acc   the share of samples of which every label is right
hamming      the share of decisions that are wrong, over samples and labels

A label that no sample has counts in the last two only. Probabilities and hits are (N, L).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_modules.class_scores import ranked

FIGURES = ("map", "macro_f1", "micro_f1", "subset_acc", "hamming")
HALF = 0.5  # from this probability on a sample is said to have the label


def label_scores(probabilities: Tensor, hits: Tensor) -> dict[str, float]:
    """The `FIGURES` by name; those of labels are no number if no sample has any."""
    hits = hits.bool()
    said, there = probabilities >= HALF, hits.any(0)
    right, true, found = ((part.sum(0).double()) for part in (said & hits, hits, said))  # (L,)
    _, precisions = ranked(probabilities, hits)
    f1 = 2 * right / (true + found).clamp(min=1)
    values = (
        float(precisions.nanmean()),
        float(f1[there].mean()),
        float(2 * right.sum() / (true + found).sum().clamp(min=1)),
        float((said == hits).all(1).double().mean()),
        float((said != hits).double().mean()),
    )
    return dict(zip(FIGURES, values, strict=True))


def by_label(probabilities: Tensor, hits: Tensor, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average precision, recall, precision and F1 of each label by its name, and how many samples have it.

    Those of a label that no sample has are 0.
    """
    hits = hits.bool()
    said = probabilities >= HALF
    right, true, found = ((part.sum(0).double()) for part in (said & hits, hits, said))
    _, average = ranked(probabilities, hits)
    shares = (average.nan_to_num(), right / true.clamp(min=1), right / found.clamp(min=1))
    columns = torch.stack([*(share.double() for share in shares), 2 * right / (true + found).clamp(min=1)], dim=1)
    names = ("ap", "recall", "precision", "f1", "count")
    rows = zip(columns.tolist(), true.tolist(), strict=True)
    values = ([*(round(value, 6) for value in row), int(count)] for row, count in rows)
    return {label: dict(zip(names, its, strict=True)) for label, its in zip(labels, values, strict=True)}
