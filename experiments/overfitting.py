"""Overfitting: a small network on 300 images, and what helps against it.

    python experiments/overfitting.py                     variants of one network on generated shapes; no download
    python experiments/overfitting.py --variants baseline,augmentation --images 500
    python experiments/overfitting.py --folds 5           chooses the weight decay by cross-validation, then tests once
    python experiments/overfitting.py --sizes 50,100,200,400,800,1600     accuracy by the number of training images
    tensorboard --logdir runs/overfitting/<run>           the curves of all variants on one chart

The first takes 45 s on one core, the folds 80 s, and the sizes 70 s. The folds choose a weight decay of 0.03, with
which 73.2 % of the test images are right. The variants, as means of seeds 0, 1 and 2, with the gap between training and
test images:

                     test accuracy    gap in points    gap in loss
    baseline             65.7 %            34.3            1.87
    l1                   69.2 %            30.8            1.15
    l2                   71.1 %            28.9            0.93
    dropout              70.8 %            27.9            1.12
    augmentation         79.0 %             6.4            0.23
    early_stopping       62.1 %            32.9            1.09
    smaller_net          50.9 %            39.2            2.76
    batch_norm           54.9 %            45.1            1.55
    label_smoothing      62.3 %            37.7            1.15
    too_small            17.0 %            10.3            0.45
    too_much_l2          12.5 %             4.8            0.08

The baseline learns its images by heart. Penalties on the sum of all weights' sizes, which is l1, or of their squares,
which is l2, narrow the gap with every seed, in accuracy and in loss. So does dropout, and augmentation does far more.
Early stopping, batch norm and label smoothing narrow it with every seed in loss, which punishes being wrong with
confidence, but not in accuracy. A smaller network is no remedy: its gap is larger.

The last two underfit. Their gap is small because they do not even learn their training images, of which they get 27 %
and 17 % right. One is far too small, with a single map in each convolution. In the other, the penalty keeps all weights
near zero.

The first remedy is more data. The baseline with --sizes, means of three draws of images and initial weights:

    training images         50        100        200        400        800      1,600
    training           100.0 %    100.0 %    100.0 %     99.3 %     97.2 %     95.0 %
    validation          15.3 %     24.8 %     45.8 %     70.9 %     84.0 %     89.3 %
    gap in points         84.7       75.2       54.2       28.4       13.2        5.6

All took 570 steps. So more images helped, and not a longer training. That 1,600 images are not known by heart after as
many steps closes a part of the gap from above.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basics.amounts import amount
from basics.choose import choose
from basics.errors import InputError
from experiments.fundamentals.few_images import PLAIN_NET, Settings, prepare, read_curves, train_all, train_in
from experiments.fundamentals.learning_curve import check_sizes, learning_curve
from experiments.fundamentals.weight_decay_folds import check_folds, choose_weight_decay
from harness.command_line.cli import cli
from harness.drawing.figures import COLOURS, new_figure
from harness.tasks.study import Study, StudyFlags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What each of them changes in the baseline.
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "l1": dict(l1=1e-3),
    "l2": dict(weight_decay=0.03),
    "dropout": dict(net_args=PLAIN_NET | {"dropout": 0.5}),
    "augmentation": dict(augment="crop:4,flip,vflip"),
    "early_stopping": dict(early_stopping=8),
    "smaller_net": dict(net_args=PLAIN_NET | {"widths": [4, 8, 16]}),
    "batch_norm": dict(net_args=PLAIN_NET | {"batch_norm": True}),
    "label_smoothing": dict(label_smoothing=0.1),
    # Underfitting.
    "too_small": dict(net_args=PLAIN_NET | {"widths": [1, 1, 2]}),
    "too_much_l2": dict(weight_decay=0.1),
}
CURVES = ("train/loss", "val/loss", "train/acc", "val/acc")
TRY_NEXT = "--sizes 50,100,200,400,800,1600  # the first remedy is more data: where does the gap close?"
AFTER_SIZES = "--sizes 400,800,1600 --draws 1 --max_epochs 120  # four times the steps: which accuracies change?"


@dataclass(frozen=True, kw_only=True)
class OverfittingFlags(StudyFlags):
    """The images, and what is tried against learning them by heart.

    Args:
        images: how many to train on.
        variants: which to train; each has a directory of its own below the run's, and TensorBoard shows them together.
        folds: parts of the images that are held out in turn to choose the weight decay; 0: train the variants instead.
        weight_decays: those to choose from.
        sizes: numbers of training images, in ascending order. If there are some, the baseline is trained on each of
            them instead, each set containing the last, and always for as many steps as `max_epochs` passes over
            `images` images: with as many epochs, larger sets would be trained for longer too.
        draws: trainings of each of the `sizes`, which differ in the choice of images and the initial weights.
        max_epochs: passes over the images.
        lr: learning rate.
        batch_size: images per step.
        seed: of the choice of images, the initial weights, the order of batches and all random draws.
        jobs: trainings to run at a time, each in a process; 0: as many as there are cores.
        sample: use the embedded shapes; false: CIFAR-10.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
    """

    images: int = 300
    variants: list[str] = field(default_factory=lambda: list(VARIANTS))
    folds: int = 0
    weight_decays: list[float] = field(default_factory=lambda: [0.0, 0.003, 0.01, 0.03, 0.1])
    sizes: list[int] = field(default_factory=list)
    draws: int = 3
    max_epochs: int = 30
    lr: float = 0.01
    batch_size: int = 16
    seed: int = 0
    jobs: int = 0
    sample: bool = True
    data_dir: str = "data"


DEFAULTS = OverfittingFlags()


def main(flags: OverfittingFlags = DEFAULTS) -> dict[str, Any]:
    """Trains variants of one small network on few images, or on more and more, or chooses its weight decay."""
    if flags.max_epochs < 1:  # -1 has no end elsewhere
        raise InputError(f"max_epochs {flags.max_epochs}: must be at least 1")
    settings = Settings(
        flags.images,
        flags.max_epochs,
        flags.lr,
        flags.batch_size,
        flags.seed,
        flags.sample,
        flags.data_dir,
        flags.invocation,
    )
    if flags.sizes and flags.folds:
        raise InputError("sizes and folds: two studies; use one of them at a time")
    if flags.sizes:
        check_sizes(settings, flags.sizes, flags.draws)
        study = Study("overfitting", flags, try_next=AFTER_SIZES)
        return learning_curve(study, settings, flags.sizes, flags.draws, flags.jobs)
    if flags.folds:
        check_folds(settings, flags.folds, flags.weight_decays)
        study = Study("overfitting", flags, try_next=TRY_NEXT)
        return choose_weight_decay(study, settings, flags.folds, flags.weight_decays, flags.jobs)
    return _compare(flags, settings)


def _compare(flags: OverfittingFlags, settings: Settings) -> dict[str, Any]:
    """Trains the variants, and draws their curves beside each other."""
    if not flags.variants:
        raise InputError("variants []: name at least one")
    chosen = {name: choose("variant", name, VARIANTS) for name in flags.variants}
    data, _ = prepare(settings)
    study = Study("overfitting", flags, try_next=TRY_NEXT)
    print(data.describe(), flush=True)
    tasks = [(name, study.run / name) for name in chosen]
    results = dict(zip(chosen, train_all(partial(_train, settings), tasks, flags.jobs, tells=False), strict=True))
    _print_table(results)
    curves = {name: read_curves(study.run / name, CURVES) for name in chosen}
    _print_crossings(curves)
    figures = {
        "loss": _draw_curves(curves, "loss"),
        "accuracy": _draw_curves(curves, "acc"),
        "gaps": _draw_gaps(results),
    }
    return study.conclude({"images": flags.images, "variants": results}, figures)


def _train(settings: Settings, name: str, run: Path) -> dict[str, float]:
    result = train_in(run, settings, **VARIANTS[name])
    print(f"{name}: {amount(result['epochs'], 'epoch')}", flush=True)
    return result | {
        "acc_gap": result["train/acc"] - result["test/acc"],
        "loss_gap": result["test/loss"] - result["train/loss"],
    }


def _print_table(results: dict[str, dict[str, float]]) -> None:
    print(f"\n{'accuracy, then loss':<20}{'train':>8}{'val':>8}{'test':>8}{'gap':>8}{'train':>11}{'test':>8}{'gap':>8}")
    for name, result in results.items():
        accuracies = "".join(f"{result[column]:>8.1%}" for column in ("train/acc", "val/acc", "test/acc", "acc_gap"))
        losses = "".join(f"{result[column]:>8.3f}" for column in ("train/loss", "test/loss", "loss_gap"))
        print(f"{name:<20}{accuracies}   {losses}")
    print("gap: from training to test, both without dropout, augmentation, label smoothing\n")


def _print_crossings(curves: dict[str, dict[str, list[float]]]) -> None:
    """Says where validation accuracy is above training accuracy for a third of the epochs, and why."""
    above = {name: epochs_above(its["val/acc"], its["train/acc"]) for name, its in curves.items()}
    found = [f"{name} ({count})" for name, count in above.items() if 3 * count > len(curves[name]["val/acc"])]
    if found:
        print(
            f"epochs with validation accuracy above training accuracy: {', '.join(found)}\n"
            "The curves' training accuracy is the mean over an epoch in which the network\n"
            "still improves, with dropout and augmentation at work; the table's is not.\n"
        )


def epochs_above(val: list[float], train: list[float]) -> int:
    return sum(above > below for above, below in zip(val, train, strict=True))


def _draw_curves(curves: dict[str, dict[str, list[float]]], metric: str) -> "Figure":
    """Training and validation of each variant, with the baseline's validation in grey behind them."""
    rows, columns = -(-len(curves) // 3), min(3, len(curves))
    figure, axes = new_figure(rows, columns, (3 * columns, 2.2 * rows + 1), squeeze=False, sharex=True, sharey=True)
    for place in axes.flat[len(curves) :]:
        place.axis("off")
    for (name, its), place in zip(curves.items(), axes.flat, strict=False):
        if "baseline" in curves and name != "baseline":
            place.plot(_epochs(its_val := curves["baseline"][f"val/{metric}"]), its_val, color="0.75", linewidth=3)
        for split, style, colour in (("train", "-", COLOURS[0]), ("val", "--", COLOURS[1])):
            values = its[f"{split}/{metric}"]
            place.plot(_epochs(values), values, style, color=colour, label=split)
        if "early_stopping" in VARIANTS[name]:
            best = chosen_epoch(its["val/loss"])
            place.axvline(best, color="black", linestyle=":")
            where: dict[str, Any] = dict(va="bottom", transform=place.get_xaxis_transform())
            place.text(best, 0.02, f" epoch {best}\n chosen", fontsize=8, **where)
        place.set_title(name.replace("_", " "), fontsize=10)
        place.grid(alpha=0.3)
    for place in axes.flat[max(len(curves) - columns, 0) : len(curves)]:  # the lowest of each column
        place.tick_params(labelbottom=True)
    axes[0, 0].set_yscale("log" if metric == "loss" else "linear")
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel({"loss": "cross-entropy", "acc": "accuracy"}[metric], fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.suptitle(
        "As measured in training, with dropout, augmentation, label smoothing. Grey: validation of the baseline",
        fontsize=9,
        x=0.02,
        ha="left",
    )
    return figure


def chosen_epoch(val_losses: list[float]) -> int:
    """The epoch that early stopping keeps, counted from 1: the first one with the lowest validation loss."""
    return val_losses.index(min(val_losses)) + 1


def _epochs(values: list[float]) -> range:
    return range(1, len(values) + 1)


def _draw_gaps(results: dict[str, dict[str, float]]) -> "Figure":
    """Training and test figures of each variant, joined by a line as long as the gap."""
    figure, axes = new_figure(1, 2, (9, 0.4 * len(results) + 1.6), sharey=True)
    heights = range(len(results), 0, -1)
    for metric, place in zip(("acc", "loss"), axes, strict=True):
        train, test = ([result[f"{split}/{metric}"] for result in results.values()] for split in ("train", "test"))
        place.hlines(heights, train, test, color="0.7", linewidth=3)
        place.plot(train, heights, "o", color=COLOURS[0], label="train")
        place.plot(test, heights, "s", color=COLOURS[1], label="test")
        place.set(xlabel={"loss": "cross-entropy", "acc": "accuracy"}[metric])
        place.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(heights, [name.replace("_", " ") for name in results])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.suptitle("The generalisation gap", x=0.02, ha="left")
    return figure


if __name__ == "__main__":
    cli(main)
