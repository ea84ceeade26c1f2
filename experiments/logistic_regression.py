"""Logistic regression: one neuron on two classes, what it can separate, and where to put the threshold.

    python experiments/logistic_regression.py                     all of what follows
    python experiments/logistic_regression.py --problem blobs     one sigmoid output beside two softmax outputs
    python experiments/logistic_regression.py --problem xor       what one layer cannot separate, and two can
    python experiments/logistic_regression.py --problem table     diabetes: is progression above the median?
    python experiments/logistic_regression.py --csv my.csv --target bought --drop name,address

blobs: two normal clouds, whose best boundary is known: w = (2, 1.5), b = -3.125. A sigmoid with binary cross-entropy
and a softmax over two outputs with cross-entropy start equal and predict the same at each step, to 14 decimal places,
if the softmax has half the learning rate: only the difference of its logits counts, and a step moves both, in opposite
directions.

xor: a single layer, whose boundary is a straight line, gets about half of the points right; a network with 8 hidden
units over 99 %.

table: the area under the ROC curve is 0.75 on the 89 test rows (seed 0). The weights are those of scikit-learn's
LogisticRegression without a penalty. The diabetes data were chosen over the breast-cancer data, which scikit-learn
ships too, because the latter are nearly separable: their curves lie in the corner, almost any threshold will do, and
weights without a penalty grow without limit.

A CSV file is read as in table.py: numbers are standardised by the training rows, categories become columns of 0 and 1.
A fifth of the rows is the test set, and a fifth chooses the threshold. Class 1 is the second one in alphabetical order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import nn

from basics.errors import InputError
from experiments.fundamentals.two_class import Problem, linear_pair, predict, score, smoothness, to_the_minimum, train
from experiments.fundamentals.two_class_figures import draw_boundaries, draw_curves, draw_equality, draw_weights
from experiments.fundamentals.two_class_problems import CENTRES, blobs, read_table, xor
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 20  # generated points: four to choose a threshold by, and four to test on
XOR_STEPS, XOR_RATE = 400, 0.05  # of Adam
TRY_NEXT = "--problem xor --hidden 2  # how few units tell XOR's corners apart?"

Result = tuple[dict[str, Any], dict[str, "Figure"]]


@dataclass(frozen=True, kw_only=True)
class TwoClassFlags(StudyFlags):
    """The problems, and how they are solved.

    Args:
        problem: blobs, two clouds; xor, four clouds at the corners of a square; table, a file or the diabetes data.
        csv: a file to use instead of the diabetes data; the problem is then table.
        target: the column of the file with the two classes.
        drop: columns of the file to leave out, such as name,address.
        points: how many to generate for blobs and for xor; three fifths are for training.
        hidden: units between the two layers of the network that solves xor.
        lr: rate of gradient descent on the blobs; by default the inverse of the largest curvature of the loss.
        steps: of gradient descent on the blobs.
        seed: of generated points, the validation rows of a table, and initial weights.
    """

    problem: Literal["all", "blobs", "xor", "table"] = "all"
    csv: str = ""
    target: str = ""
    drop: list[str] = field(default_factory=list)
    points: int = 1000
    hidden: int = 8
    lr: float | None = None
    steps: int = 400
    seed: int = 0


DEFAULTS = TwoClassFlags()


def main(flags: TwoClassFlags = DEFAULTS) -> dict[str, Any]:
    """Separates two classes, and shows boundaries, curves and thresholds."""
    _check(flags)
    problem = "table" if flags.csv else flags.problem
    table = read_table(flags.csv, flags.target, flags.seed, flags.drop) if problem in ("all", "table") else None
    study = Study("logistic_regression", flags, try_next=TRY_NEXT)
    metrics: dict[str, Any] = {}
    figures: dict[str, Figure] = {}
    seed_everything(flags.seed, verbose=False)
    solvers: dict[str, Callable[[], Result]] = {
        "blobs": lambda: solve_blobs(blobs(flags.points, flags.seed), flags.lr, flags.steps),
        "xor": lambda: solve_xor(xor(flags.points, flags.seed), flags.hidden),
    }
    if table:
        solvers["table"] = partial(solve_table, *table)
    for name, solve in solvers.items():
        if problem in ("all", name):
            its_metrics, its_figures = solve()
            metrics, figures = metrics | its_metrics, figures | its_figures
    return study.conclude(metrics, figures)


def _check(flags: TwoClassFlags) -> None:
    csv = flags.csv
    if flags.points < FEWEST:
        raise InputError(f"--points {flags.points}: must be at least {FEWEST}")
    if flags.lr is not None and flags.lr <= 0:
        raise InputError(f"--lr {flags.lr}: must be above 0")
    if bool(csv) != bool(flags.target):
        raise InputError(f"--{'target' if csv else 'csv'}: is needed with --{'csv' if csv else 'target'}")
    if csv and flags.problem not in ("all", "table"):
        raise InputError(f"--csv {csv}: --problem {flags.problem} reads no file")
    if flags.drop and not csv:
        raise InputError(f"--drop {','.join(flags.drop)}: is only for a file; name it by --csv")


def solve_blobs(problem: Problem, lr: float | None, steps: int) -> Result:
    """One output beside two, from the same start, and the boundary beside the best possible one."""
    rate = lr or 1 / smoothness(problem.train.features)
    one, two = linear_pair(2)
    _, same_rate = linear_pair(2)
    same_rate.load_state_dict(two.state_dict())
    # Only the difference of softmax's logits counts. A step moves both by equal and opposite amounts, so the difference
    # would move twice as far as sigmoid's one logit, if the rate were not halved.
    models = {
        "sigmoid": train(one, partial(torch.optim.SGD, lr=rate), problem.train, steps),
        "softmax, half the rate": train(two, partial(torch.optim.SGD, lr=rate / 2), problem.train, steps),
        "softmax, the same rate": train(same_rate, partial(torch.optim.SGD, lr=rate), problem.train, steps),
    }
    model = models["sigmoid"]
    gaps = {name: _largest_gaps(other.probabilities, model.probabilities) for name, other in models.items()}
    metrics = score(model, problem) | {"blobs/largest_gap": float(gaps["softmax, half the rate"].max())}
    (w1, w2), (b,) = one.weight[0].tolist(), one.bias.tolist()
    metrics |= {"blobs/w1": w1, "blobs/w2": w2, "blobs/b": b}
    best = (
        CENTRES[1] - CENTRES[0],
        (CENTRES[0] @ CENTRES[0] - CENTRES[1] @ CENTRES[1]) / 2,
    )  # the best boundary between normal clouds, by Bayes
    figures = {
        "blobs_equality": draw_equality({name: torch.stack(m.losses).numpy() for name, m in models.items()}, gaps),
        "blobs_boundary": draw_boundaries({"one neuron": model}, problem, metrics["blobs/threshold"], best),
        "blobs_curves": draw_curves(model, problem, metrics["blobs/threshold"]),
    }
    return metrics, figures


def _largest_gaps(some: list[torch.Tensor], others: list[torch.Tensor]) -> np.ndarray:
    """The largest difference at each step, over the training rows."""
    return (torch.stack(some) - torch.stack(others)).abs().amax(1).numpy()


def solve_xor(problem: Problem, hidden: int) -> Result:
    """A single layer beside two."""
    nets = {
        "one layer": nn.Linear(2, 1),
        f"{hidden} hidden units": nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1)),
    }
    adam = partial(torch.optim.Adam, lr=XOR_RATE)
    models = {name: train(net, adam, problem.train, XOR_STEPS) for name, net in nets.items()}
    accuracies = {}
    for key, model in zip(("one_layer", "two_layers"), models.values(), strict=True):
        labels, probabilities = predict(model, problem.test)
        accuracies[f"xor/{key}/acc"] = float(np.mean((probabilities >= 0.5) == labels))
    return accuracies, {"xor_boundaries": draw_boundaries(models, problem)}


def solve_table(problem: Problem, features: list[str]) -> Result:
    """Weights at the minimum of the cross-entropy, without a penalty, and the test rows' scores."""
    net = nn.Linear(len(features), 1)
    model = train(net, to_the_minimum, problem.train, 1)
    metrics: dict[str, Any] = {**score(model, problem)}
    labels, probabilities = predict(model, problem.train)
    if ((probabilities >= 0.5) == labels).all():
        print(
            "the training rows are separable: weights without a penalty have no limit; these are where training stopped"
        )
    weights = net.weight[0].detach().numpy()
    metrics |= {"table/weights": dict(zip(features, weights.tolist(), strict=True)), "table/bias": net.bias.item()}
    figures = {
        "table_curves": draw_curves(model, problem, metrics["table/threshold"]),
        "table_weights": draw_weights(features, weights, problem.positive),
    }
    return metrics, figures


if __name__ == "__main__":
    cli(main)
