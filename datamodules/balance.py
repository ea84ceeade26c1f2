"""Classes that are not equally frequent: how often each is drawn in an epoch, and how much each counts."""

from collections.abc import Callable

import numpy as np


def balanced_draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many positions as there are labels, (N,), in random order, with equally many of each class that occurs.

    What is left of N goes to some classes, one more each. Of a class that is drawn more often than it has samples, each
    sample is drawn equally often, give or take one; of a common class, each at most once.
    """
    classes = rng.permutation(np.unique(labels))
    whole, rest = divmod(len(labels), len(classes))
    drawn = [_draw(np.flatnonzero(labels == its), whole + (place < rest), rng) for place, its in enumerate(classes)]
    return rng.permutation(np.concatenate(drawn))


def _draw(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    times, rest = divmod(count, len(places))
    return np.concatenate([np.tile(places, times), rng.permutation(places)[:rest]])


def balanced_weights(labels: np.ndarray, num_classes: int) -> list[float]:
    """n / (K n_k) for each class, 0 for one that does not occur, as scikit-learn's `balanced`; the samples' mean is 1.

    King and Zeng 2001, "Logistic regression in rare events data", section 4.2, with equal shares as those wanted.
    """
    counts = np.bincount(labels, minlength=num_classes)
    equal = len(labels) / np.count_nonzero(counts)
    return [float(equal / count) if count else 0.0 for count in counts]


# From the labels of the training split, (N,), and the number of classes.
WEIGHTS: dict[str, Callable[[np.ndarray, int], list[float] | None]] = {
    "none": lambda labels, num_classes: None,
    "balanced": balanced_weights,
}
