"""The perceptron: Rosenblatt's threshold unit and rule, how often it has to correct itself, and when it never ends.

    python experiments/perceptron.py                            all of what follows
    python experiments/perceptron.py --gap 0.01                 points closer to the line: more updates
    python experiments/perceptron.py --noise 0.02               four wrong labels of 200 are enough

rule: on 200 points that a line separates, the rule stops after 11 updates, all in its first pass (seed 0). Any line
between the classes will do, and it takes the first one that it comes to; logistic regression puts its line in the
middle. With 10 % of the labels wrong, no line separates the points: the rule corrects itself for ever, and where it is
stopped is chance, from 26 to 96 points wrong. Logistic regression has a minimum there, at which 20 are wrong.

bound: Novikoff (1962) proved that there are at most (R / margin)^2 updates, where R is the norm of the longest point
and margin that of the best line. 120 sets of points stay below it, by a factor of three where the points keep away
from the line and of some dozens where they do not.

bias: the boundary w . x + b = 0 is at the distance -b / |w| from the origin, in the direction of w. Without a bias
the rule has only lines through the origin, and none of those separates these points.

What one threshold unit cannot do at all, XOR, is in logistic_regression.py.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import nn

from basics.errors import InputError
from experiments.fundamentals.perceptron_figures import draw_bias, draw_bound, draw_errors, draw_rule
from experiments.fundamentals.threshold_unit import Points, answers, flipped, learn, most_updates, separable
from experiments.fundamentals.two_class import Rows, to_the_minimum, train
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

FEWEST = 20  # points
GAPS, SETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), 20  # distances from the line, and sets of points for each
ENOUGH = 100_000  # passes, for points that are known to be separable

TRY_NEXT = "--gap 0.01  # how many updates now, and how many does the bound allow?"


@dataclass(frozen=True, kw_only=True)
class PerceptronFlags(StudyFlags):
    """The points, and how long the rule may go on.

    Args:
        points: how many, half of them on either side of the line.
        gap: least distance of a point from the line; the square that holds the points has sides of 2.
        noise: share of the labels that are wrong in the second set.
        epochs: passes over the points that no line separates, after which the rule is stopped.
        seed: of the points and of their order in each pass.
    """

    points: int = 200
    gap: float = 0.1
    noise: float = 0.1
    epochs: int = 50
    seed: int = 0


DEFAULTS = PerceptronFlags()


def main(flags: PerceptronFlags = DEFAULTS) -> dict[str, Any]:
    """Separates points by Rosenblatt's rule, with and without noise and bias, and counts its updates."""
    _check(flags)
    study = Study("perceptron", flags, try_next=TRY_NEXT)
    seed_everything(flags.seed, verbose=False)
    rng = np.random.default_rng(flags.seed)
    clean = separable(flags.points, flags.gap, rng)
    noisy = flipped(clean, flags.noise, rng)
    sets = {"separable": clean, _name_of(flags.noise): noisy}
    courses = [learn(clean, ENOUGH, rng), learn(noisy, flags.epochs, rng)]
    logistic = [logistic_weights(points) for points in sets.values()]
    unbiased = learn(clean, flags.epochs, rng, bias=False)
    counts = {gap: count_updates(flags.points, gap, rng) for gap in GAPS}
    figures = {
        "rule": draw_rule(sets, courses, logistic),
        "errors": draw_errors(sets, courses, logistic),
        "bound": draw_bound(counts),
        "bias": draw_bias(clean, courses[0].weights[-1], unbiased.weights[-1]),
    }
    metrics = {
        "updates": courses[0].updates,
        "most_updates": most_updates(clean),
        "passes": len(courses[0].wrong),
        "noisy/updates": courses[1].updates,
        "noisy/wrong": int(courses[1].wrong[-1]),
        "noisy/wrong_by_logistic": _wrong(logistic[1], noisy),
        "without_bias/wrong": _wrong(unbiased.weights[-1], clean),
        "largest_share_of_bound": max(updates / bound for pairs in counts.values() for bound, updates in pairs),
        "bounds_and_updates": {f"{gap:g}": pairs for gap, pairs in counts.items()},
    }
    return study.conclude(metrics, figures)


def _name_of(noise: float) -> str:
    return f"{100 * noise:.2g} % wrong labels"


def _check(flags: PerceptronFlags) -> None:
    if flags.points < FEWEST:
        raise InputError(f"points {flags.points}: must be at least {FEWEST}")
    if not 0.001 <= flags.gap <= 0.5:
        raise InputError(f"gap {flags.gap:g}: must be from 0.001, which takes hundreds of passes, to 0.5")
    if not 0 <= flags.noise <= 0.5:
        raise InputError(f"noise {flags.noise:g}: must be from 0 to 0.5, where labels are chance")


def logistic_weights(points: Points) -> np.ndarray:
    """Weights and bias, (3,), of logistic regression without a penalty.

    Separable points give the cross-entropy no minimum: the weights grow for ever, but their line comes to rest.
    """
    net = nn.Linear(2, 1)
    train(net, to_the_minimum, Rows(torch.from_numpy(points.x), torch.from_numpy(points.y > 0).long()), 1)
    return np.append(net.weight.detach()[0].numpy(), net.bias.item())


def count_updates(count: int, gap: float, rng: np.random.Generator) -> list[tuple[float, int]]:
    """Novikoff's bound, and the updates that the rule took, for `SETS` sets of points."""
    sets = [separable(count, gap, rng) for _ in range(SETS)]
    return [(most_updates(points), learn(points, ENOUGH, rng).updates) for points in sets]


def _wrong(weights: np.ndarray, points: Points) -> int:
    return int((answers(weights, points) != points.y).sum())


if __name__ == "__main__":
    cli(main)
