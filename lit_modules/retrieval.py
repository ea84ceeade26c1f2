"""Retrieval by cosine distance: exact, for any number of images, without their matrix of distances.

Embeddings are scaled to length 1 and rounded to multiples of 2^-26. In float64 their products and sums are then exact
(|x||y| <= 1, so every partial sum is a multiple of 2^-52, and fewer than 2^53 of these). Similarities, and all that
follows, are therefore the same, bit for bit, for chunks of any size and any number of threads, devices and processes.
Among equally near images, wrong ones come first, so no figure depends on the order of the gallery.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basics.errors import InputError

CHUNK = 128  # queries at a time: 12 bytes for each pair with the gallery and thread; 92 MB at 60,000
FARTHEST = 2**31 - 2  # the last key of a ranking, for an image of another class
STEPS = 2.0**29  # similarities are ranked to 2e-9, finer than float32 tells them apart


class Retrieval(NamedTuple):
    """For each query, (Q,)."""

    first: np.ndarray  # rank of the nearest image of its class, from 1
    average_precision: np.ndarray  # mean over the images of its class of the precision down to each
    average_precision_at_r: np.ndarray  # the same down to rank R, the number of images of its class

    def sums(self, recall_at: Iterable[int] = ()) -> dict[str, float]:
        """Sums over the queries: divided by their number, the metrics of Musgrave et al. 2020.

        `recall_at_k` is the share of queries with their class among the k nearest, the CMC curve's value at k.
        """
        sums = {"precision_at_1": (self.first == 1).sum()}
        sums |= {f"recall_at_{k}": (self.first <= k).sum() for k in recall_at}
        sums |= {"map": self.average_precision.sum(), "map_at_r": self.average_precision_at_r.sum()}
        return {name: float(value) for name, value in sums.items()}


def retrieve(
    queries: Tensor,
    labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    itself: Tensor | None = None,
    chunk: int = CHUNK,
) -> Retrieval:
    """Ranks the whole gallery, (G, D), for each query, (Q, D), by cosine distance.

    Args:
        itself: if the queries are in the gallery, the row of each, (Q,), which is left out. A query that is alone in
            its class finds nothing, and its precision is 0.

    Raises:
        InputError: a query's class is not in the gallery, or an embedding is not finite.
    """
    wanted, found = labels.cpu().numpy(), gallery_labels.cpu().numpy()
    check_labels(wanted, found)
    rows, everything = _unit(queries).numpy(), _unit(gallery).T.numpy()

    def rank(part: slice) -> Retrieval:
        keys = _distances(rows[part], everything).astype(np.int32)
        keys <<= 1
        keys |= wanted[part, None] == found  # the last bit: among equals, images of another class go first
        if itself is not None:
            keys[np.arange(len(keys)), itself[part]] = FARTHEST
        keys.sort(axis=1)
        return _score((keys & 1).astype(bool))

    parts = list(_in_chunks(rank, len(rows), chunk))
    return Retrieval(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else _NOTHING


_NOTHING = Retrieval(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def check_labels(labels: np.ndarray, gallery_labels: np.ndarray) -> None:
    """Raises InputError if a query's class is not in the gallery."""
    if missing := sorted(set(labels.tolist()) - set(gallery_labels.tolist())):
        row = int((labels == missing[0]).argmax())
        raise InputError(f"label {missing[0]} of query {row}: no image of the gallery has it")


def nearest(queries: Tensor, gallery: Tensor, k: int, chunk: int = CHUNK) -> Tensor:
    """Rows of the k nearest in the gallery, (Q, k), the nearest first; among equals, the lower row first.

    Raises:
        InputError: k is not from 1 to the size of the gallery, or an embedding is not finite.
    """
    check_k(k, len(gallery))
    rows, everything = _unit(queries).numpy(), _unit(gallery).T.numpy()

    def find(part: slice) -> np.ndarray:
        keys = _distances(rows[part], everything).astype(np.int64)
        keys <<= 32
        keys |= np.arange(len(gallery))  # no two are equal
        keys.partition(k - 1, axis=1)
        return np.sort(keys[:, :k], axis=1) & (2**32 - 1)

    parts = list(_in_chunks(find, len(rows), chunk))
    return torch.from_numpy(np.concatenate(parts) if parts else np.zeros((0, k), np.int64))


def check_k(k: int, available: int, flag: str = "") -> None:
    """Raises InputError if there are fewer than k to choose from, or k is below 1."""
    if not 1 <= k <= available:
        raise InputError(f"{flag}k {k}: must be from 1 to {available}, the number of images in the gallery")


def nearest_mean(queries: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    """For each query the class, (Q,), whose mean over the gallery is nearest by cosine distance."""
    rows, classes = _unit(gallery), gallery_labels.cpu()
    means = rows.new_zeros(int(classes.max()) + 1, rows.shape[1]).index_add_(0, classes, rows)  # (C, D)
    alike = _unit(queries) @ _unit(means).T
    return alike.masked_fill(classes.bincount() == 0, -math.inf).argmax(1)  # a number without images is no class


def _unit(embeddings: Tensor) -> Tensor:
    """Rows of length 1, in multiples of 2^-26."""
    if not embeddings.isfinite().all():
        row = int((~embeddings.isfinite().all(1)).nonzero()[0])
        raise InputError(f"embedding {row}: not finite; training may have diverged, try a lower lr")
    return F.normalize(embeddings.cpu().double()).mul_(2**26).round_().div_(2**26)


def _distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Negative similarities of rows, (Q, D), and columns, (D, G), in units of 1 / STEPS; exact."""
    return (queries * -STEPS) @ gallery


def _score(right: np.ndarray) -> Retrieval:
    """The figures of rankings, (Q, G) booleans."""
    rows, columns = np.nonzero(right)  # query by query, the nearest first
    relevant = right.sum(1)  # (Q,): R
    before = np.cumsum(relevant) - relevant  # entries of earlier queries
    precision = (np.arange(len(rows)) - before[rows] + 1) / (columns + 1)
    within = np.where(columns < relevant[rows], precision, 0)
    totals = (np.bincount(rows, weights=values, minlength=len(right)) for values in (precision, within))
    first = np.where(relevant > 0, right.argmax(1) + 1, right.shape[1] + 1)
    return Retrieval(first, *(total / np.maximum(relevant, 1) for total in totals))


def _in_chunks(function: Callable[[slice], object], count: int, chunk: int) -> Iterator:
    """The result of `function` for each part of `count` rows, in order; parts are computed in parallel."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy lets other threads run
        yield from pool.map(function, (slice(start, start + chunk) for start in range(0, count, chunk)))
