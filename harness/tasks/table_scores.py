"""Figures of predictions for the rows of a table, from numpy arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from basics.digits import rounded
from basics.terminal import figure_text
from lit_modules.class_scores import by_class, class_scores
from lit_modules.label_scores import label_scores


def score(true: np.ndarray, values: np.ndarray, fitted: Mapping[str, Any]) -> dict[str, float]:
    """The figures of predictions, the one to compare models by first.

    Args:
        true: targets, or numbers of classes, (N,), or labels, (N, L).
        values: predictions as they are averaged (see `table_models.to_average`): numbers, (N,), or probabilities,
            (N, C) or (N, L).
        fitted: the preprocessing in a checkpoint.
    """
    if fitted.get("labels"):
        figures = label_scores(torch.from_numpy(values), torch.from_numpy(true))
        return {name: rounded(value) for name, value in figures.items()}
    if fitted["classes"]:
        figures = class_scores(torch.from_numpy(values), torch.from_numpy(true))
        first = {"log_loss": figures["log_loss"], "acc": (values.argmax(1) == true).mean()}
        return {name: rounded(value) for name, value in {**first, **figures}.items()}
    logs = {"log_rmse": _root_mean_square(values - np.log(true))} if fitted["log_target"] else {}
    errors = (np.exp(values) if fitted["log_target"] else values) - true
    variance = true.var()
    return logs | {
        "rmse": _root_mean_square(errors),
        "mae": rounded(np.mean(abs(errors))),
        "r2": rounded(1 - np.mean(errors**2) / variance) if variance > 0 else float("nan"),
    }


def scores_of_classes(true: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy and macro F1 of two classes, from the numbers of true and said ones, (N,)."""
    its = by_class(torch.from_numpy(said), torch.from_numpy(true), 2)
    figures = {"acc": (said == true).mean(), "balanced_acc": its.balanced_acc, "macro_f1": its.macro_f1}
    return {name: rounded(value) for name, value in figures.items()}


def _root_mean_square(errors: np.ndarray) -> float:
    return rounded(np.sqrt(np.mean(errors**2)))


def as_text(figures: Mapping[str, float], names: Iterable[str] | None = None) -> str:
    """The figures in a line, such as "rmse 1,234, r2 0.9012"; all, or those with these names."""
    return ", ".join(f"{name} {figure_text(name, figures[name])}" for name in names or figures)
