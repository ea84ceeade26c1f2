"""Rosenblatt's threshold unit and its rule, points that a line separates, and Novikoff's bound on the updates.

A point x, (F,), is extended by a 1, so that the bias is a weight like the others: z = (x, 1), v = (w, b). The unit
answers +1 where v . z > 0, and -1 elsewhere. Where the answer to a point with the label y is wrong, the rule adds y z
to v (Rosenblatt 1958, "The perceptron: a probabilistic model"). The size of that step is of no account: from v = 0 it
multiplies v, and changes no answer.

If some v separates the points, with y (v . z) / |v| at least `margin` at all of them, and no |z| is above R, then there
are at most (R / margin)^2 updates, in whatever order the points come (Novikoff 1962, "On convergence proofs on
perceptrons"). The largest margin of all v gives the lowest bound.
"""

from typing import NamedTuple

import numpy as np

NORMAL, OFFSET = np.array([0.8, 0.6]), 0.25  # the line that separates the points: NORMAL . x + OFFSET = 0, |NORMAL| = 1


class Points(NamedTuple):
    """Points, (N, 2), with labels, (N,), -1 or 1."""

    x: np.ndarray
    y: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """The points extended by a 1, (N, 3)."""
        return np.column_stack([self.x, np.ones(len(self.x))])


class Course(NamedTuple):
    """What the rule did."""

    weights: np.ndarray  # (updates + 1, 3): v at the start, and after each update
    epochs: np.ndarray  # (updates,): in which pass over the points each update fell, from 0
    wrong: np.ndarray  # (passes,): points that v has wrong after each pass

    @property
    def updates(self) -> int:
        return len(self.epochs)


def separable(count: int, gap: float, rng: np.random.Generator) -> Points:
    """Points drawn from the square [-1, 1]^2, none within `gap` of the line, as many on either side."""
    sides: dict[int, list[np.ndarray]] = {-1: [], 1: []}
    wanted = {-1: count // 2, 1: count - count // 2}
    while any(len(sides[side]) < wanted[side] for side in sides):
        point = rng.uniform(-1, 1, 2)
        distance = float(NORMAL @ point + OFFSET)
        side = 1 if distance > 0 else -1
        if abs(distance) >= gap and len(sides[side]) < wanted[side]:
            sides[side].append(point)
    labels = np.repeat([-1, 1], [wanted[-1], wanted[1]])
    order = rng.permutation(count)
    return Points(np.stack(sides[-1] + sides[1])[order], labels[order])


def flipped(points: Points, share: float, rng: np.random.Generator) -> Points:
    """The same points, with this share of the labels turned round."""
    labels = points.y.copy()
    labels[rng.choice(len(labels), round(share * len(labels)), replace=False)] *= -1
    return Points(points.x, labels)


def answers(weights: np.ndarray, points: Points) -> np.ndarray:
    """-1 or 1 for each point, (N,), by the unit with these weights, (3,)."""
    return np.where(points.z @ weights > 0, 1, -1)


def learn(points: Points, epochs: int, rng: np.random.Generator, bias: bool = True) -> Course:
    """Rosenblatt's rule from v = 0 until a pass finds no point wrong, or for so many passes, each in a new order."""
    z = points.z * [1, 1, bias]
    weights, fell, wrong = [np.zeros(3)], [], []
    for epoch in range(epochs):
        for index in rng.permutation(len(z)):
            if points.y[index] * (z[index] @ weights[-1]) <= 0:
                weights.append(weights[-1] + points.y[index] * z[index])
                fell.append(epoch)
        wrong.append(int((answers(weights[-1], points) != points.y).sum()))
        if epoch not in fell[-1:]:  # the pass has changed nothing
            break
    return Course(np.stack(weights), np.array(fell, dtype=int), np.array(wrong))


def largest_margin(points: Points) -> float:
    """The largest margin that any v has on extended points that a line separates, found by a support vector machine.

    Such a machine has a bias of its own, which has to be 0 here: it is if each point also stands on the other side of
    the origin, with the other label.
    """
    from sklearn.svm import SVC  # here, because its import takes a second

    z = points.z * points.y[:, None]  # all on one side of v
    machine = SVC(kernel="linear", C=1e9, tol=1e-8).fit(np.concatenate([z, -z]), np.repeat([1, -1], len(z)))
    v = machine.coef_[0]
    return float((z @ v).min() / np.linalg.norm(v))


def most_updates(points: Points) -> float:
    """Novikoff's bound, (R / margin)^2, with the largest margin."""
    return float(np.square(points.z).sum(1).max() / largest_margin(points) ** 2)
