"""Choosing a weight decay by k-fold cross-validation, then training with it and testing once."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from basics.errors import InputError
from datamodules.table_data import Fold
from experiments.fundamentals.few_images import Settings, prepare, train_all, train_in, validate_fold
from harness.drawing.figures import COLOURS, new_figure
from harness.tasks.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_folds(settings: Settings, folds: int, weight_decays: list[float]) -> None:
    """Raises InputError if the cross-validation could not run to its end."""
    if not 2 <= folds <= settings.images:
        raise InputError(f"folds {folds}: must be from 2 to the number of images, {settings.images}, or 0 for none")
    if not weight_decays or len(set(weight_decays)) < len(weight_decays):
        raise InputError(f"weight_decays {weight_decays}: need some, each once")
    for weight_decay in weight_decays:
        prepare(settings, fold=Fold(0, folds, settings.seed), weight_decay=weight_decay)


def choose_weight_decay(
    study: Study, settings: Settings, folds: int, weight_decays: list[float], jobs: int
) -> dict[str, Any]:
    """Trains with each weight decay on all folds but one, in turn, and with the best of them on all images.

    The best has the lowest mean loss. Each fold is the validation split of its own trainings. The test images are used
    once, at the end.
    """
    weight_decays = sorted(weight_decays)
    tasks = [(value, Fold(number, folds, settings.seed)) for value in weight_decays for number in range(folds)]
    scores = np.array(train_all(partial(validate_fold, settings), tasks, jobs)).reshape(
        len(weight_decays), folds, 2
    )  # loss and accuracy
    means = scores.mean(1)
    errors = scores.std(1, ddof=1) / np.sqrt(folds)  # of the means
    chosen = weight_decays[int(np.argmin(means[:, 0]))]
    _print_scores(weight_decays, means, errors, folds)
    final = train_in(study.run / "chosen", settings, weight_decay=chosen)
    columns = ("loss", "loss_error", "acc", "acc_error")
    rows = np.stack([means[:, 0], errors[:, 0], means[:, 1], errors[:, 1]], axis=1).tolist()
    by_value = {
        f"{value:g}": dict(zip(columns, row, strict=True)) for value, row in zip(weight_decays, rows, strict=True)
    }
    metrics = {"weight_decay": chosen, **final, "folds": folds, "by_weight_decay": by_value}
    return study.conclude(metrics, {"weight_decay": _draw(weight_decays, means, errors, chosen, folds)})


def _print_scores(weight_decays: list[float], means: np.ndarray, errors: np.ndarray, folds: int) -> None:
    print(f"\nweight decay   loss and accuracy on held-out images, means of {folds} folds +- their standard errors")
    for value, (loss, acc), (loss_error, acc_error) in zip(weight_decays, means, errors, strict=True):
        print(f"{value:<15g}{loss:.3f} +- {loss_error:.3f}   {acc:.1%} +- {acc_error:.1%}")
    print()


def _draw(weight_decays: list[float], means: np.ndarray, errors: np.ndarray, chosen: float, folds: int) -> "Figure":
    figure, axes = new_figure(1, 2, size=(9, 4))
    places = range(len(weight_decays))  # evenly spaced, since 0 has no place on a logarithmic axis
    for column, (name, axis) in enumerate(zip(("cross-entropy", "accuracy"), axes, strict=True)):
        axis.errorbar(places, means[:, column], errors[:, column], marker="o", capsize=4)
        axis.axvline(weight_decays.index(chosen), color=COLOURS[1], linestyle="--", label=f"chosen: {chosen:g}")
        axis.set_xticks(places, [f"{value:g}" for value in weight_decays])
        axis.set(xlabel="weight decay", ylabel=f"{name} on held-out images")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"Means of {folds} folds and their standard errors; the lowest cross-entropy is chosen")
    return figure
