"""Accuracy by the number of training images: one recipe on ever larger sets, each of which contains the last.

All networks take the same number of steps, not of epochs. With equal epochs, four times the images would mean four
times the steps too, and one could not tell whether the images or the longer training had helped. With equal steps each
image of a small set is seen more often. Whether those of the largest were seen often enough, its training accuracy
tells.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import seed_everything

from basics.amounts import amount
from basics.errors import InputError
from experiments.fundamentals.few_images import (
    VAL_IMAGES,
    FewImages,
    Settings,
    measure,
    new_model,
    prepare,
    train_all,
    training_batches,
)
from harness.drawing.figures import COLOURS, new_figure
from harness.tasks.study import Study, quiet_trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = dict[int, dict[str, list[float]]]  # by size and name, the figure of each draw
SPLITS = ("train", "val", "test")
MOST_TICKS = 8  # numbers below an axis that do not touch


class NestedImages(FewImages):
    """The first images in an order in which every beginning has each class's share.

    The images to validate are those of `FewImages`, the same for all draws.

    Args:
        draw: the number of the order.
    """

    def __init__(self, settings: Settings, draw: int) -> None:
        super().__init__(settings)
        self.draw = draw

    def _draw(self, others: np.ndarray, labels: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.draw))
        return others[balanced_order(labels[others], rng)[: self.images]]


def balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of samples with these labels, (N,), whose every beginning has each class in proportion.

    No class has a second sample before each has one.
    """
    order = rng.permutation(len(labels))
    turns = np.empty(len(labels))  # 0 for the first of a class, towards 1 for its last
    for number in np.unique(labels):
        its = np.flatnonzero(labels[order] == number)
        turns[its] = np.arange(len(its)) / len(its)
    return order[np.argsort(turns, kind="stable")]


def check_sizes(settings: Settings, sizes: list[int], draws: int) -> None:
    """Raises InputError if there could be no learning curve."""
    if draws < 1:
        raise InputError(f"draws {draws}: must be at least 1")
    if len(sizes) < 2 or sizes != sorted(set(sizes)):
        raise InputError(f"sizes {sizes}: need two or more, in ascending order")
    data, _ = prepare(settings)
    least, most = max(data.num_classes, settings.batch_size), len(data.arrays.train_labels) - VAL_IMAGES
    if not least <= sizes[0] <= sizes[-1] <= most:
        raise InputError(
            f"sizes {sizes}: must be from {least}, for {data.num_classes} classes and batches of"
            f" {settings.batch_size}, to {most:,}, besides {VAL_IMAGES} to validate"
        )


def learning_curve(study: Study, settings: Settings, sizes: list[int], draws: int, jobs: int) -> dict[str, Any]:
    """Trains the plain network on each number of images, `draws` times, and draws its accuracies.

    Each training has as many steps as `settings.max_epochs` passes over `settings.images` images.
    """
    steps = settings.max_epochs * len(prepare(settings)[0].train_dataloader())
    data = nested(settings, sizes[-1], draw=0)
    print(f"{data.describe()}\n{amount(steps, 'step')} for each number of images", flush=True)
    tasks = [(size, draw) for size in sizes for draw in range(draws)]
    of_task = dict(zip(tasks, train_all(partial(train_on, settings, steps), tasks, jobs), strict=True))
    scores: Scores = {
        size: {name: [of_task[size, draw][name] for draw in range(draws)] for name in of_task[size, 0]}
        for size in sizes
    }
    _print_table(scores)
    gaps = {f"gap/{size}": round(float(np.mean(its["gap"])), 4) for size, its in scores.items()}
    metrics = {"steps": steps, **gaps, "by_size": {str(size): its for size, its in scores.items()}}
    return study.conclude(metrics, {"sizes": draw_curve(scores, steps, 1 / data.num_classes)})


def nested(settings: Settings, size: int, draw: int) -> NestedImages:
    """The data of a training, ready for use."""
    data = NestedImages(settings._replace(images=size), draw)
    data.prepare_data()
    data.setup()
    return data


def train_on(settings: Settings, steps: int, size: int, draw: int) -> dict[str, float]:
    """The accuracy on each split after training on so many images, and the gap between training and validation."""
    data = nested(settings, size, draw)
    seed_everything(settings.seed + draw, verbose=False)  # networks of one draw start from the same weights
    model = new_model(settings, data)
    # Nothing is chosen on the validation split, so it is not looked at before the end.
    quiet_trainer(max_steps=steps, limit_val_batches=0).fit(model, data)
    batches = (training_batches(data), data.val_dataloader(), data.test_dataloader())
    accuracies = {f"{split}/acc": measure(model, its)[1] for split, its in zip(SPLITS, batches, strict=True)}
    print(f"{amount(size, 'image')}, draw {draw}: {accuracies['val/acc']:.1%} of the validation images", flush=True)
    return accuracies | {"gap": accuracies["train/acc"] - accuracies["val/acc"]}


def _print_table(scores: Scores) -> None:
    print(f"\n{'accuracy':<12}{'train':>9}{'val':>9}{'test':>9}{'gap':>9}")
    for size, its in scores.items():
        means = "".join(f"{np.mean(its[name]):>9.1%}" for name in ("train/acc", "val/acc", "test/acc", "gap"))
        print(f"{size:<12,}{means}")
    print("means of the draws; gap: between training and validation\n")


def draw_curve(scores: Scores, steps: int, chance: float) -> "Figure":
    """Training and validation accuracy by the number of images, and the gap between them."""
    from matplotlib.ticker import PercentFormatter

    draws = len(next(iter(scores.values()))["gap"])
    figure, (left, right) = new_figure(1, 2, size=(9, 4))
    _draw_range(left, scores, "train/acc", color=COLOURS[0], marker="o", label="training")
    _draw_range(left, scores, "val/acc", color=COLOURS[1], marker="s", linestyle="--", label="validation")
    left.axhline(chance, color="0.5", linestyle=":", label="chance")
    left.set(ylabel="accuracy", ylim=(0, 1.03))
    _draw_range(right, scores, "gap", color=COLOURS[2], marker="D")
    right.axhline(0, color="0.5", linewidth=1)
    right.set(ylabel="training minus validation (points)")
    for axes, symbol in ((left, "%"), (right, "")):
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=symbol))
        _number_images(axes, list(scores))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    spread = f" Means of {draws} draws of images and weights, and their range" if draws > 1 else ""
    figure.suptitle(f"The same network, {steps:,} steps on each set of images.{spread}", fontsize=10)
    return figure


def _draw_range(axes: "Axes", scores: Scores, name: str, **style: Any) -> None:
    """A line through the means of the draws, and a band from the least to the greatest."""
    sizes, values = list(scores), np.array([its[name] for its in scores.values()])  # (sizes, draws)
    axes.plot(sizes, values.mean(1), **style)
    axes.fill_between(sizes, values.min(1), values.max(1), color=style["color"], alpha=0.2, linewidth=0)


def _number_images(axes: "Axes", sizes: list[int]) -> None:
    axes.set(xscale="log", xlabel="training images")
    ticks = sizes[:1]
    for size in sizes[1:]:
        if size / ticks[-1] >= (sizes[-1] / sizes[0]) ** (1 / MOST_TICKS):
            ticks.append(size)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
