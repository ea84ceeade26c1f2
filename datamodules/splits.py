"""Splits of a classification: each class has its share in every part.

The rule: each class gives its share of the `count` samples to hold out, rounded by largest remainder. A class of two or
more gives at least one and keeps at least one, and a class of one keeps it. So if a test and then a validation split
are held out, every class of three or more is in all parts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

NAMED = 5  # classes in a message at most


class TooFewError(ValueError):
    """So many samples are to be held out that a class would keep none."""


def hold_out(labels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which of the samples with these `labels` are held out, and which are kept; both sorted.

    More than `count` are held out only if more classes than that have two or more samples; for 0, none are.

    Raises:
        TooFewError: so many are wanted that a class would keep none.
    """
    if count == 0:
        return np.empty(0, np.int64), np.arange(len(labels))
    taken = _taken(np.bincount(labels), count)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, in the generator's order
    held = _places(labels[order]) < taken[labels[order]]
    return np.sort(order[held]), np.sort(order[~held])


def lacking(parts: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """A line on the classes that are too small for each part to have them; "" if there are none.

    Args:
        parts: the labels of the samples in each part, by its name.
    """
    counts = {name: np.bincount(labels, minlength=len(classes)) for name, labels in parts.items() if len(labels)}
    sizes = np.sum(list(counts.values()), axis=0)
    small = np.flatnonzero(np.min(list(counts.values()), axis=0) == 0)
    small = small[np.argsort(sizes[small], kind="stable")]
    named = []
    for number in small[:NAMED]:
        without = " and ".join(name for name, count in counts.items() if not count[number])
        named.append(f"{classes[number]!r} ({sizes[number]:,}, none for {without})")
    more = f" and {len(small) - NAMED:,} more" if len(small) > NAMED else ""
    return f"classes too small for every split: {', '.join(named)}{more}" if named else ""


def _taken(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many each class of these `sizes` gives, (C,)."""
    least, most = np.minimum(np.maximum(sizes - 1, 0), 1), np.maximum(sizes - 1, 0)
    if count > most.sum():
        raise TooFewError(f"takes {count:,} of {sizes.sum():,}; each class has to keep one, so at most {most.sum():,}")
    low, high = 0.0, 1.0
    for _ in range(60):  # bisects for the share at which the classes give `count` in all, to a float's precision
        share = (low + high) / 2
        below = np.clip(share * sizes, least, most).sum() < count
        low, high = (share, high) if below else (low, share)
    quotas = np.clip(high * sizes, least, most)
    taken = np.floor(quotas + 1e-9).astype(np.int64)
    rest = max(count - taken.sum(), 0)
    taken[np.argsort(taken - quotas, kind="stable")[:rest]] += 1
    return taken


def _places(sorted_labels: np.ndarray) -> np.ndarray:
    """The position of each sample among those of its class, from 0."""
    sizes = np.bincount(sorted_labels)
    return np.arange(len(sorted_labels)) - (np.cumsum(sizes) - sizes)[sorted_labels]
