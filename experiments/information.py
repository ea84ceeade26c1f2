"""Information, entropy, cross-entropy and divergence: coins, dice, and the loss of a classifier.

    python experiments/information.py                                     1,797 real digits that scikit-learn ships
    python experiments/information.py --label_smoothing 0,0.3
    python experiments/information.py --sample false --epochs 5           MNIST

The figures show three quantities. The information of an event is minus the logarithm of its probability p. Entropy is
the mean information, and is highest for a fair coin and a fair die. Cross-entropy is that mean for somebody who
believes in probabilities q where p is true. It is lowest where q equals p, and then it is the entropy.

The loss of a classifier is such a cross-entropy. At each step of a training in float64 it equals, within 1e-12, the
entropy of the labels plus the divergence of Kullback and Leibler, which says how far the net's beliefs are from them.
The entropy of the labels is 0 if they are certain, 0.5003 nats if a tenth of each label is spread over the ten digits,
and 1.1765 nats if three tenths are. The loss cannot fall below that, however well the net learns; what falls is the
divergence. With seed 0 the three losses end at 0.019, 0.564 and 1.235, and the net gives its label a probability of
0.98, 0.87 and 0.68. Where labels are smoothed, this tends to 0.91 and 0.73, the shares that the label has kept.

The last figure is about the logarithm of a probability that is rounded to 0. Where the net is wrong by 89 nats and
more, the slope of log(softmax) is not a number in float32. An epsilon of 1e-7 within the logarithm makes it a number.
But the slope is halved where the net is wrong by 16 nats, which is the logarithm of 1e-7, and is soon 0. So the net
learns nothing from its worst mistakes. With an epsilon of 1e-3 that begins at 7 nats. log_softmax has the right slope
everywhere.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from basics.errors import InputError
from experiments.fundamentals.digit_rows import as_float64, check_batch_size, read_digits
from experiments.fundamentals.entropies import BIT, cross_entropy, divergence, entropy, floor
from experiments.fundamentals.information_figures import coin, die, draw_coins, draw_epsilons, draw_floors
from experiments.fundamentals.log_of_zero import curve_of, half_slope, losses
from experiments.fundamentals.smoothed_training import CLASSES, Course, Trainee
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

TRY_NEXT = "--label_smoothing 0.9  # where is the floor, and does the net still learn the digits?"


@dataclass(frozen=True, kw_only=True)
class InformationFlags(StudyFlags):
    """The trainings, and the epsilons.

    Args:
        label_smoothing: shares of the label that are spread over all classes; a training for each.
        epsilons: what is added to a softmax before its logarithm is taken.
        width: units of the net's hidden layer.
        lr: learning rate of plain gradient descent.
        batch_size: images per step.
        epochs: passes over the training split.
        seed: of the validation split, the initial weights and the order of the images.
        sample: use the embedded digits; false: MNIST.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
    """

    label_smoothing: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.3])
    epsilons: list[float] = field(default_factory=lambda: [1e-7, 1e-3])
    width: int = 64
    lr: float = 0.1
    batch_size: int = 32
    epochs: int = 30
    seed: int = 0
    sample: bool = True
    data_dir: str = "data"


DEFAULTS = InformationFlags()


def main(flags: InformationFlags = DEFAULTS) -> dict[str, Any]:
    """Draws coins and dice, trains on smoothed labels and takes the loss apart, and puts epsilons into a logarithm."""
    started = time.perf_counter()
    _check(flags.label_smoothing, flags.epsilons, flags.lr)
    splits = as_float64(read_digits(flags.data_dir, flags.seed, flags.sample))
    check_batch_size(flags.batch_size, splits["train"].labels)
    torch.set_num_threads(1)  # matrices this small gain nothing from a second thread, and lose much on a busy machine
    courses = {}
    for smoothing in flags.label_smoothing:
        trainee = Trainee(flags.width, smoothing, flags.lr, flags.seed)
        courses[smoothing] = trainee.train(splits["train"], splits["val"], flags.batch_size, flags.epochs)
        print(f"label smoothing {smoothing:g}: trained for {flags.epochs} epochs", flush=True)
        if not math.isfinite(courses[smoothing].parts[-1].loss):
            raise InputError(f"lr {flags.lr:g}: the training diverges")
    study = Study("information", flags, started=started, try_next=TRY_NEXT)
    _print_beliefs()
    _print_courses(courses)
    z = torch.linspace(-120, 20, 1401)
    curves = {name: curve_of(loss, z) for name, loss in losses(flags.epsilons).items()}
    print("\nlogits (z, 0): the slope is half of what it should be, less, or not a number from")
    for name, curve in curves.items():
        print(f"{name:<24}{_place(half_slope(curve, z)):>8}")
    print()
    figures = {"coins": draw_coins(), "floors": draw_floors(courses), "epsilons": draw_epsilons(z, curves)}
    return study.conclude(_metrics(courses), figures)


def _check(label_smoothing: list[float], epsilons: list[float], lr: float) -> None:
    if not label_smoothing:
        raise InputError("label_smoothing []: name at least one share")
    if min(epsilons, default=1) <= 0:
        raise InputError(f"epsilons {epsilons}: must be above 0")
    if lr <= 0:
        raise InputError(f"lr {lr:g}: must be above 0")


def _print_beliefs() -> None:
    """Prints what it costs, in bits, to believe in one coin or die where another is thrown."""
    probabilities = torch.tensor([0.5, 0.9, 1 / 6, 0.5], dtype=torch.float64)
    (fair, loaded), (fair_die, loaded_die) = coin(probabilities[:2]), die(probabilities[2:])
    pairs = {
        "a fair coin, believed fair": (fair, fair),
        "a fair coin, believed 0.9": (fair, loaded),
        "a coin of 0.9, believed fair": (loaded, fair),
        "a fair die, believed 6 in half": (fair_die, loaded_die),
        "a die of 6 in half, believed fair": (loaded_die, fair_die),
    }
    print(f"\n{'bits':<36}{'H(p)':>10}{'KL(p, q)':>10}{'H(p, q)':>10}")
    for name, (p, q) in pairs.items():
        parts = "".join(f"{float(part) / BIT:>10.4f}" for part in (entropy(p), divergence(p, q), cross_entropy(p, q)))
        print(f"{name:<36}{parts}")


def _place(z: float) -> str:
    return f"{z:.1f}" if math.isfinite(z) else "nowhere"


def _print_courses(courses: dict[float, Course]) -> None:
    print(f"\n{'nats, at the end':<18}{'H(p, q)':>10}{'H(p)':>10}{'KL(p, q)':>10}{'P(label)':>10}{'val acc':>10}")
    for smoothing, course in courses.items():
        numbers = (*course.parts[-1], course.confidence[-1], course.accuracy[-1])
        print(f"smoothing {smoothing:<8g}" + "".join(f"{number:>10.4f}" for number in numbers))


def _metrics(courses: dict[float, Course]) -> dict[str, Any]:
    metrics: dict[str, Any] = {"largest_gap": max(course.largest_gap for course in courses.values())}
    for smoothing, course in courses.items():
        metrics[f"smoothing{smoothing:g}/loss"] = course.parts[-1].loss
        metrics[f"smoothing{smoothing:g}/floor"] = floor(smoothing, CLASSES)
        metrics[f"smoothing{smoothing:g}/acc"] = course.accuracy[-1]
    return metrics


if __name__ == "__main__":
    cli(main)
