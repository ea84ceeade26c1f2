"""A classifier trained on smoothed labels, whose loss is taken apart at each step: H(p, q) = H(p) + KL(p, q)."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.fundamentals.digit_rows import Split
from experiments.fundamentals.entropies import divergence, entropy, smoothed
from lit_modules.nets.mlp import MLP

CLASSES = 10


class Parts(NamedTuple):
    """The mean loss on some rows and what it is made of, in nats."""

    loss: float  # as torch computes it
    entropy: float  # of the labels
    divergence: float  # of the predictions from the labels

    def gap(self) -> float:
        """By how much loss = entropy + divergence is missed."""
        return abs(self.loss - self.entropy - self.divergence)


@dataclass
class Course:
    """What is noted of a training: before it, after each epoch, and in `largest_gap` at each step too."""

    parts: list[Parts] = field(default_factory=list)  # on all training rows
    confidence: list[float] = field(default_factory=list)  # mean probability of the label, on the same rows
    accuracy: list[float] = field(default_factory=list)  # on the validation rows
    largest_gap: float = 0.0


def parts_of(logits: Tensor, labels: Tensor, smoothing: float) -> Parts:
    """The loss at these logits, (N, 10), by torch, and its parts by their formulas."""
    p, q = smoothed(labels, CLASSES, smoothing), logits.softmax(1)
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return Parts(float(loss), float(entropy(p).mean()), float(divergence(p, q).mean()))


class Trainee:
    """An MLP with one hidden layer, in float64, and plain descent on labels of which a share is smoothed."""

    def __init__(self, width: int, smoothing: float, lr: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.net: nn.Module = MLP((784,), CLASSES, widths=[width]).double()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr)
        self.smoothing = smoothing

    def train(self, train: Split, val: Split, batch_size: int, epochs: int) -> Course:
        """Trains on batches that the seed shuffles."""
        course = Course()
        self._note(course, train, val)
        for _ in range(epochs):
            for batch in torch.randperm(len(train.labels)).split(batch_size):
                gap = self._step(train.rows[batch], train.labels[batch])
                course.largest_gap = max(course.largest_gap, gap)
            self._note(course, train, val)
        return course

    def _step(self, rows: Tensor, labels: Tensor) -> float:
        """One step of descent; returns the gap between the loss and the sum of its parts before it."""
        logits = self.net(rows)
        self.optimizer.zero_grad()
        F.cross_entropy(logits, labels, label_smoothing=self.smoothing).backward()
        self.optimizer.step()
        return parts_of(logits.detach(), labels, self.smoothing).gap()

    @torch.no_grad()
    def _note(self, course: Course, train: Split, val: Split) -> None:
        logits = self.net(train.rows)
        course.parts.append(parts_of(logits, train.labels, self.smoothing))
        course.confidence.append(float(logits.softmax(1).gather(1, train.labels[:, None]).mean()))
        course.accuracy.append(float((self.net(val.rows).argmax(1) == val.labels).double().mean()))
        course.largest_gap = max(course.largest_gap, course.parts[-1].gap())
