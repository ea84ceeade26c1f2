"""Information, entropy, cross-entropy and Kullback-Leibler divergence, by their formulas.

Probabilities are along the last axis, (..., K), in float64, and all results are in nats; divided by `BIT` they are in
bits. Shannon 1948, "A mathematical theory of communication"; Kullback and Leibler 1951, "On information and
sufficiency".
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BIT = math.log(2)  # nats


def information(p: Tensor) -> Tensor:
    """Of an event with this probability: -log p. Two independent events have the sum of their information."""
    return -p.log()


def entropy(p: Tensor) -> Tensor:
    """H(p) = -sum p log p, (...): the mean information of an event; 0 log 0 is 0, its limit."""
    return torch.special.entr(p).sum(-1)


def cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    """H(p, q) = -sum p log q, (...): the same if q is believed and p true; infinite if q excludes what occurs."""
    return -torch.xlogy(p, q).sum(-1)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p, q) = sum p log(p / q), (...): what believing q costs. It is 0 only for q = p, and not symmetric."""
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(-1)


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Labels, (N,), as distributions, (N, classes), of which a share `smoothing` is spread over all classes.

    Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision".
    """
    certain = F.one_hot(labels, classes).double()
    return (1 - smoothing) * certain + smoothing / classes


def floor(smoothing: float, classes: int) -> float:
    """The entropy of a smoothed label, below which no cross-entropy can fall."""
    return float(entropy(smoothed(torch.zeros(1, dtype=torch.long), classes, smoothing))[0])
