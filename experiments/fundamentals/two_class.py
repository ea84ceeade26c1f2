"""Two classes: rows with labels, models that give the probability of class 1, and their scores."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harness.tasks.study import quiet_trainer

MakeOptimizer = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]

# Finds the minimum of a convex problem to many digits, in one step of up to 500 iterations over all rows.
to_the_minimum: MakeOptimizer = partial(
    torch.optim.LBFGS, max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-15, line_search_fn="strong_wolfe"
)


class Rows(NamedTuple):
    """Features, (N, F), float64, and labels, (N,), 0 or 1."""

    features: Tensor
    labels: Tensor


class Problem(NamedTuple):
    """Rows to train on, to choose the threshold by, and to test on once."""

    name: str
    train: Rows
    val: Rows
    test: Rows
    positive: str  # what class 1 is


class TwoClass(LightningModule):
    """The probability of class 1: the sigmoid of a net's one output, or the softmax of its two.

    Trained with the cross-entropy over all rows; records the loss and the training rows' probabilities at each step.
    """

    def __init__(self, net: nn.Module, make_optimizer: MakeOptimizer) -> None:
        super().__init__()
        self.net, self.make_optimizer = net.double(), make_optimizer
        self.losses: list[Tensor] = []
        self.probabilities: list[Tensor] = []

    def forward(self, features: Tensor) -> Tensor:
        return _probability(self.net(features))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        features, labels = batch
        logits = self.net(features)  # (N, 1) or (N, 2)
        if logits.shape[1] == 1:
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], labels.double())
        else:
            loss = F.cross_entropy(logits, labels)
        self.losses.append(loss.detach())
        self.probabilities.append(_probability(logits.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameters())


def _probability(logits: Tensor) -> Tensor:
    """The probability of class 1, (N,)."""
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1]


def train(net: nn.Module, make_optimizer: MakeOptimizer, rows: Rows, steps: int) -> TwoClass:
    """Trains a network for `steps` steps, each over all rows."""
    model = TwoClass(net, make_optimizer)
    everything = [slice(None)]  # each batch is all rows, taken as a slice and not gathered row by row
    quiet_trainer(max_epochs=1).fit(
        model, DataLoader(TensorDataset(*rows), batch_size=None, sampler=everything * steps)
    )
    return model.eval()


def linear_pair(inputs: int) -> tuple[nn.Linear, nn.Linear]:
    """A layer with one output and one with two, whose probabilities are the same.

    The softmax of two logits is the sigmoid of their difference: e^b / (e^a + e^b) = 1 / (1 + e^(a - b)).
    """
    one, two = (nn.Linear(inputs, outputs, dtype=torch.float64) for outputs in (1, 2))
    with torch.no_grad():
        for single, double in zip(one.parameters(), two.parameters(), strict=True):
            single.copy_((double[1] - double[0]).view_as(single))
    return one, two


def smoothness(features: Tensor) -> float:
    """An upper bound on the eigenvalues of the cross-entropy's Hessian in weights and bias.

    The Hessian is the mean of p (1 - p) x x^T, with a 1 appended to x, and p (1 - p) is at most 1/4.
    """
    with_one = F.pad(features, (0, 1), value=1.0)  # (N, F + 1)
    return float(torch.linalg.eigvalsh(with_one.T @ with_one / len(features))[-1]) / 4


@torch.no_grad()
def predict(model: TwoClass, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities, (N,) each."""
    return rows.labels.numpy(), model(rows.features).numpy()


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the highest F1, the harmonic mean of precision and recall; rows at it count as class 1."""
    scores, thresholds = scores_by_threshold(labels, probabilities)
    return float(thresholds[np.argmax(scores["F1"])])


def scores_by_threshold(labels: np.ndarray, probabilities: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Precision, recall and F1 at each threshold, and the thresholds, (T,) each."""
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    precision, recall = precision[:-1], recall[:-1]  # the last point belongs to no threshold
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {"precision": precision, "recall": recall, "F1": f1}, thresholds


def score(model: TwoClass, problem: Problem) -> dict[str, float]:
    """Scores on the test rows, at threshold 0.5 and at the one that the validation rows choose."""
    threshold = best_threshold(*predict(model, problem.val))
    labels, probabilities = predict(model, problem.test)
    scores = {
        "roc_auc": roc_auc_score(labels, probabilities),
        "average_precision": average_precision_score(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "threshold": threshold,
    }
    metrics = {"acc": accuracy_score, "precision": precision_score, "recall": recall_score, "f1": f1_score}
    for place, limit in (("at_half", 0.5), ("at_threshold", threshold)):
        decisions = (probabilities >= limit).astype(int)
        for name, metric in metrics.items():
            options = {} if name == "acc" else {"zero_division": 0.0}
            scores[f"{place}/{name}"] = metric(labels, decisions, **options)
    return {f"{problem.name}/{name}": float(value) for name, value in scores.items()}
