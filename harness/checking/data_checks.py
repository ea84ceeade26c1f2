"""What may be wrong with labelled data before any network sees them: labels, classes, and duplicates."""

import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from datamodules import ImageData
from datamodules.batch_module import BatchModule
from datamodules.table_data import TableData
from harness.checking.findings import Finding

NONE: Mapping[str, bool] = {}
BALANCE = 3  # commonest to rarest class, above which accuracy says little about the rarest
MISSED = 10  # expected samples of a class that cannot all be missing by chance (e^-10)
CHANCE = 4  # times the distance between class shares that chance explains


class Split(NamedTuple):
    """The samples of a split, as fingerprints of their inputs, and their labels or targets."""

    keys: np.ndarray  # uint64, (N,)
    labels: np.ndarray  # (N,)


def splits_of(data: BatchModule) -> dict[str, Split]:
    """The splits of a data module that is set up; there may be no validation split."""
    if isinstance(data, ImageData):
        arrays = data.arrays
        keys, labels = fingerprints(arrays.train_images), arrays.train_labels
        test = Split(fingerprints(arrays.test_images), arrays.test_labels)
    else:
        assert isinstance(data, TableData)  # there is no third kind
        keys, labels = fingerprints(data.rows), data.targets
        test = Split(keys[data.test_indices], labels[data.test_indices])
    train, val = (Split(keys[rows], labels[rows]) for rows in (data.train_indices, data.val_indices))
    others = {"validation": val, "test": test}
    return {"training": train, **{name: split for name, split in others.items() if len(split.labels)}}


def fingerprints(samples: np.ndarray) -> np.ndarray:
    """A number for each of the samples, (N, ...), equal only for equal samples: 64 bits of BLAKE2."""
    digests = b"".join(blake2b(sample.tobytes(), digest_size=8).digest() for sample in samples)
    return np.frombuffer(digests, np.uint64)  # (N,)


def check_data(data: BatchModule, classes: Sequence[str], remedies: Mapping[str, bool] = NONE) -> Iterator[Finding]:
    """Findings about the whole data set; `classes` is empty if targets are numbers.

    It ends early if there are labels outside the classes, because nothing can be computed with them.

    Args:
        remedies: flags that help where classes are of unequal sizes, and whether they are given.
    """
    splits = splits_of(data)
    if classes:
        labels = check_labels(splits, len(classes))
        yield labels
        if not labels.ok:
            return
        yield check_classes(splits, classes)
        if len(splits) > 1:
            yield check_shares(splits, len(classes))
        yield check_balance(splits["training"].labels, classes, remedies)
    yield check_duplicates(splits, data.samples)
    if classes:
        yield check_contradictions(splits, data.samples)


def check_labels(splits: dict[str, Split], num_classes: int) -> Finding:
    labels = np.concatenate([split.labels for split in splits.values()])
    wrong = int(((labels < 0) | (labels >= num_classes)).sum())
    found = f"{labels.min()} to {labels.max()}" + (f", {wrong:,} of them no class" if wrong else "")
    return Finding("labels", not wrong, found, f"0 to {num_classes - 1}")


def check_classes(splits: dict[str, Split], classes: Sequence[str]) -> Finding:
    """Whether a split lacks a class that others have, except rare ones that a small split lacks by chance."""
    shares = _shares(splits["training"].labels, len(classes))
    lacks = []
    for name, split in splits.items():
        present = np.bincount(split.labels, minlength=len(classes)) > 0
        missing = ~present & ((shares * len(split.labels) > MISSED) | (name == "training"))
        lacks += [f"{classes[number]} is missing in {name}" for number in np.flatnonzero(missing).tolist()]
    found = f"{len(classes)} in each split of " + ", ".join(f"{len(split.labels):,}" for split in splits.values())
    return Finding("classes", not lacks, _first(lacks) or found, "each class in training, validation and test")


def check_shares(splits: dict[str, Split], num_classes: int) -> Finding:
    """Whether validation and test have the class shares of training, by total variation distance."""
    shares = _shares(splits["training"].labels, num_classes)
    apart, limits = {}, {}
    for name in [name for name in splits if name != "training"]:
        labels = splits[name].labels
        apart[name] = abs(_shares(labels, num_classes) - shares).sum() / 2
        deviations = np.sqrt(2 / math.pi * shares * (1 - shares) / len(labels))  # mean absolute deviations of a sample
        limits[name] = CHANCE * deviations.sum() / 2
    found = ", ".join(f"{value:.1%} in {name}" for name, value in apart.items())
    expected = "at most " + ", ".join(f"{limit:.1%}" for limit in limits.values())
    return Finding("shares of classes", all(apart[n] <= limits[n] for n in apart), f"other by {found}", expected)


def check_balance(labels: np.ndarray, classes: Sequence[str], remedies: Mapping[str, bool] = NONE) -> Finding:
    """Whether the classes are of similar sizes, or something is done about it."""
    counts = np.bincount(labels, minlength=len(classes))
    rare, common = int(np.argmin(counts)), int(np.argmax(counts))
    ratio = counts[common] / max(1, counts[rare])
    found = f"{counts[rare]:,} ({classes[rare]}) to {counts[common]:,} ({classes[common]}), 1 to {ratio:.1f}"
    if ratio <= BALANCE:
        return Finding("class balance", True, found, f"at most 1 to {BALANCE}")
    given = [flag for flag in remedies if remedies[flag]]
    helps = f", or {' or '.join(remedies)}; --monitor val/balanced_acc chooses by all classes alike" if remedies else ""
    with_it = f", with {' and '.join(given)}" if given else ""
    return Finding("class balance", bool(given), f"{found}{with_it}", f"at most 1 to {BALANCE}{helps}")


def check_duplicates(splits: dict[str, Split], samples: str) -> Finding:
    """Samples of one split that are in another one too, value for value."""
    pairs = [("test", "training"), ("test", "validation"), ("validation", "training")]
    counts = {
        f"{one} in {other}": int(_isin(splits[one].keys, splits[other].keys).sum())
        for one, other in pairs
        if one in splits and other in splits
    }
    found = ", ".join(f"{count:,} of {name}" for name, count in counts.items() if count)
    total = sum(len(split.keys) for split in splits.values())
    return Finding("duplicates", not found, found or f"0 among {total:,} {samples}", "no sample in two splits")


def check_contradictions(splits: dict[str, Split], samples: str) -> Finding:
    """Equal samples with different labels, in all splits together."""
    pairs = np.stack([np.concatenate(part).astype(np.uint64) for part in zip(*splits.values(), strict=True)], axis=1)
    kinds, counts = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)  # labels of each kind of sample
    several = int(_isin(pairs[:, 0], kinds[counts > 1]).sum())
    return Finding("contradictions", not several, f"{several:,} equal {samples} of different labels", "none")


def _isin(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """np.isin by sorting: the other method of numpy 2.0, for narrow ranges, fails for unsigned 64-bit integers."""
    return np.isin(keys, others, kind="sort")


def _shares(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=num_classes) / len(labels)  # (num_classes,)


def _first(texts: list[str], most: int = 3) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
