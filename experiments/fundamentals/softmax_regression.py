"""Softmax regression in raw tensors: the formulas, their gradient by hand, and a step of gradient descent.

Rows are (B, F), logits and probabilities (B, C), labels (B,). The `naive` functions are the formulas as books have
them, right on paper and wrong where the exponential overflows: in float32 beyond exp(88.7).
"""

import torch
from torch import Tensor

from basics.errors import InputError


def naive_softmax(logits: Tensor) -> Tensor:
    powers = logits.exp()
    return powers / powers.sum(1, keepdim=True)


def naive_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nll(naive_softmax(logits).log(), labels)


def softmax(logits: Tensor) -> Tensor:
    """The same with the largest logit subtracted first, which cancels in the fraction: no exponential is above 1."""
    return naive_softmax(logits - logits.amax(1, keepdim=True))


def log_softmax(logits: Tensor) -> Tensor:
    """The logarithm of the softmax, without taking that of a probability that was rounded to 0."""
    logits = logits - logits.amax(1, keepdim=True)
    return logits - logits.exp().sum(1, keepdim=True).log()  # the sum is at least 1


def nll(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood: minus the mean of the labels' log-probabilities."""
    return -log_probabilities[torch.arange(len(labels)), labels].mean()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nll(log_softmax(logits), labels)


def gradients(logits: Tensor, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the mean cross-entropy with respect to weight and bias, (C, F) and (C,).

    If p is the softmax and y the label as a one-hot vector, the loss of a row has the gradient p - y at its logits.
    """
    slopes = softmax(logits)  # (B, C)
    slopes[torch.arange(len(labels)), labels] -= 1
    slopes /= len(labels)
    return slopes.T @ rows, slopes.sum(0)


def sgd_step(weight: Tensor, bias: Tensor, rows: Tensor, labels: Tensor, lr: float) -> Tensor:
    """Moves weight, (C, F), and bias, (C,), in place by one step down the gradient; returns the loss before it."""
    logits = rows @ weight.T + bias
    weight_gradient, bias_gradient = gradients(logits, rows, labels)
    weight -= lr * weight_gradient
    bias -= lr * bias_gradient
    return cross_entropy(logits, labels)


def check_labels(labels: Tensor, num_classes: int, source: str) -> None:
    """Raises InputError at the first label outside 0..num_classes-1: an index below 0 would count from the end."""
    outside = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(outside):
        index = int(outside[0])
        raise InputError(f"{source}: label {labels[index]} at index {index}; labels go from 0 to {num_classes - 1}")
