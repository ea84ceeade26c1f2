"""Softmax regression from scratch: by hand in raw tensors, step by step beside torch.nn and torch.optim.

    python experiments/from_scratch.py                          1,797 real digits that scikit-learn ships; no download
    python experiments/from_scratch.py --sample false --batch_size 128 --max_epochs 10          MNIST
    python experiments/from_scratch.py --pickle mnist.pkl.gz    a pickle of numpy arrays; none of its code is run

At each of the 1,230 steps, weights, biases and losses of the two differ by less than 1e-6, the rounding of float32.
With --lr 1 steps overshoot, and each magnifies what rounding has left: the two part, by some tenths.
Test accuracy is 96.4, 96.9 and 96.7 % with seeds 0, 1 and 2, and 92.0 % on MNIST (seed 0). The weights look like the
digits. Beyond logits of 88.7 the softmax as books write it is not a number; with the largest logit subtracted first, it
is right for any logits.
"""

import math
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError
from datamodules.pickled_arrays import read_pickled_splits
from experiments.fundamentals.digit_rows import SIDE, Split, check_batch_size, read_digits
from experiments.fundamentals.softmax_regression import check_labels, cross_entropy, sgd_step
from experiments.fundamentals.stability import draw_stability, print_extremes
from harness.command_line.cli import cli
from harness.drawing.figures import COLOURS, new_figure
from harness.tasks.study import Study, StudyFlags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_CLASSES = 10
SPLITS = ("train", "val", "test")
ROUNDING = 1e-5  # differences up to here are float32's rounding, added up over the steps
TRY_NEXT = "--lr 0.01  # a tenth of the rate: how far does it get in as many epochs?"


class Training(NamedTuple):
    """The result of the two trainings, side by side."""

    weight: Tensor  # by hand, (10, 784)
    bias: Tensor  # by hand, (10,)
    curves: dict[str, list[float]]  # by epoch: "hand train loss", "nn val acc", ...
    steps: int
    difference: float  # the largest of weight, bias and loss, at any step


@dataclass(frozen=True, kw_only=True)
class FromScratchFlags(StudyFlags):
    """The training, which is the same by hand and by torch.nn.

    Args:
        lr: learning rate of plain gradient descent.
        batch_size: images per step.
        max_epochs: passes over the training split.
        seed: of the validation split, the initial weights and the order of the images.
        sample: use the embedded digits; false: MNIST.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
        pickle: file like mnist.pkl.gz to train on instead: (images, labels) of train, valid and test, as numpy arrays.
    """

    lr: float = 0.1
    batch_size: int = 32
    max_epochs: int = 30
    seed: int = 0
    sample: bool = True
    data_dir: str = "data"
    pickle: str | None = None


DEFAULTS = FromScratchFlags()


def main(flags: FromScratchFlags = DEFAULTS) -> dict[str, Any]:
    """Trains softmax regression twice, by hand and by torch.nn, and compares the two at each step."""
    started = time.perf_counter()
    for name, value in {"lr": flags.lr, "max_epochs": flags.max_epochs}.items():
        if value <= 0:
            raise InputError(f"{name} {value}: must be above 0")
    splits = _read_splits(flags)
    check_batch_size(flags.batch_size, splits["train"].labels)
    train, val, test = (f"{len(splits[name].labels):,}" for name in ("train", "val", "test"))
    print(f"{train} training, {val} validation and {test} test images")
    print_extremes()
    training = train_side_by_side(splits, flags.lr, flags.batch_size, flags.max_epochs, flags.seed)
    if not all(map(math.isfinite, chain(*training.curves.values()))):
        raise InputError(f"lr {flags.lr:g}: the training diverges")
    study = Study("from_scratch", flags, started, TRY_NEXT)
    test_loss, test_acc = evaluate(splits["test"].rows @ training.weight.T + training.bias, splits["test"].labels)
    metrics = {
        "test/acc": test_acc,
        "test/loss": test_loss,
        "steps": training.steps,
        "largest_difference": training.difference,
        "curves": training.curves,
    }
    print(verdict(training.difference), flush=True)
    curves = _draw_curves(training.curves, verdict(training.difference))
    figures = {"weights": _draw_weights(training.weight), "curves": curves}
    return study.conclude(metrics, figures | {"stability": draw_stability()})


def _read_splits(flags: FromScratchFlags) -> dict[str, Split]:
    return _read_pickle(Path(flags.pickle)) if flags.pickle else read_digits(flags.data_dir, flags.seed, flags.sample)


def _read_pickle(path: Path) -> dict[str, Split]:
    splits = {}
    for name, (source, arrays) in zip(SPLITS, read_pickled_splits(path).items(), strict=True):
        splits[name] = Split(*map(torch.from_numpy, arrays))
        check_labels(splits[name].labels, NUM_CLASSES, f"{path}, {source}")
    return splits


def train_side_by_side(splits: dict[str, Split], lr: float, batch_size: int, max_epochs: int, seed: int) -> Training:
    """Trains by hand and by torch.nn from the same weights on the same batches."""
    generator = torch.Generator().manual_seed(seed)
    rows, labels = splits["train"]
    net = nn.Linear(rows.shape[1], NUM_CLASSES)
    weight = 0.01 * torch.randn(net.weight.shape, generator=generator)  # (10, 784)
    bias = torch.zeros(NUM_CLASSES)
    net.load_state_dict({"weight": weight, "bias": bias})  # copies
    optimizer = torch.optim.SGD(net.parameters(), lr)
    curves: dict[str, list[float]] = {}
    steps, difference = 0, 0.0
    for _ in range(max_epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
            loss = sgd_step(weight, bias, rows[batch], labels[batch], lr)
            loss_of_nn = _nn_step(net, optimizer, rows[batch], labels[batch])
            pairs = ((weight, net.weight.detach()), (bias, net.bias.detach()), (loss, loss_of_nn))
            difference = max(difference, *(float((ours - its).abs().max()) for ours, its in pairs))
            steps += 1
        _add_to_curves(curves, splits, weight, bias, net)
    return Training(weight, bias, curves, steps, difference)


def _nn_step(net: nn.Module, optimizer: torch.optim.Optimizer, rows: Tensor, labels: Tensor) -> Tensor:
    loss = F.cross_entropy(net(rows), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def _add_to_curves(
    curves: dict[str, list[float]], splits: dict[str, Split], weight: Tensor, bias: Tensor, net: nn.Module
) -> None:
    for name in ("train", "val"):
        rows, labels = splits[name]
        for way, logits in {"hand": rows @ weight.T + bias, "nn": net(rows)}.items():
            for metric, value in zip(("loss", "acc"), evaluate(logits, labels), strict=True):
                curves.setdefault(f"{way} {name} {metric}", []).append(value)


def evaluate(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss, and the share of rows whose largest logit is the label's."""
    return float(cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())


def verdict(difference: float) -> str:
    """Whether the two trainings are one, by the largest difference of a weight, a bias or a loss at any step."""
    if difference <= ROUNDING:
        return f"The two trainings are one: no weight, bias or loss differs by more than {difference:.1g}"
    return f"The two trainings part: they differ by up to {difference:.2g}, for steps this large magnify rounding"


def _draw_weights(weight: Tensor) -> "Figure":
    figure, axes = new_figure(2, 5, size=(8, 3.8))
    limit = float(weight.abs().max())
    for digit, (image, place) in enumerate(zip(weight.view(-1, SIDE, SIDE).numpy(), axes.flat, strict=True)):
        shown = place.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set(title=str(digit), xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, label="weight of the pixel", shrink=0.8)
    figure.suptitle("Softmax regression's weights: red pixels speak for the digit, blue ones against it")
    return figure


def _draw_curves(curves: dict[str, list[float]], said: str) -> "Figure":
    figure, axes = new_figure(1, 2, size=(9, 4))
    epochs = range(1, len(curves["hand train loss"]) + 1)
    for metric, place in zip(("loss", "acc"), axes, strict=True):
        for name, colour in zip(("train", "val"), COLOURS, strict=False):
            place.plot(epochs, curves[f"hand {name} {metric}"], color=colour, label=f"{name}, by hand")
            marks = dict(marker="o", markersize=5, fillstyle="none", linestyle="none", markevery=0.1)
            place.plot(epochs, curves[f"nn {name} {metric}"], color=colour, label=f"{name}, torch.nn", **marks)
        place.set(xlabel="epoch", ylabel={"loss": "cross-entropy", "acc": "accuracy"}[metric])
        place.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"{said}\nlines: by hand; circles: torch.nn")
    return figure


if __name__ == "__main__":
    cli(main)
