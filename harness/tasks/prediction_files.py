"""Predictions as CSV files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basics.files import write_csv
from harness.tasks.decisions import LIKELIEST, Decision
from lit_modules.label_scores import HALF


def write_predictions(path: Path, id_column: str, ids: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    """Writes a CSV file whole or not at all."""
    import pandas as pd

    write_csv(path, pd.DataFrame({id_column: ids, **columns}))


def predicted_columns(
    name: str, values: np.ndarray, fitted: Mapping[str, Any], decision: Decision = LIKELIEST
) -> list[tuple[str, np.ndarray]]:
    """Columns with their names, from predictions as they are averaged (see `table_models.to_average`).

    Args:
        name: of the column of numbers, of the most probable classes, or of the labels that are at least as probable as
            not.
        fitted: the preprocessing in a checkpoint.
        decision: how a class follows from probabilities.
    """
    if labels := fitted.get("labels"):
        return [(name, np.array(likely_labels(labels, values), dtype=object)), *_shares(labels, values)]
    if not fitted["classes"]:
        return [(name, np.exp(values) if fitted["log_target"] else values)]
    said = decision.of(values)
    classes, shares = np.array(fitted["classes"])[said], values[np.arange(len(said)), said]
    return [(name, classes), ("probability", shares), *_shares(fitted["classes"], values)]


def _shares(names: Sequence[str], values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(f"p({name})", column) for name, column in zip(names, values.T, strict=True)]


def likely_labels(labels: Sequence[str], values: np.ndarray) -> list[str]:
    """The labels of each sample that are at least as probable as not, with `;` between, from probabilities, (N, L)."""
    return [";".join(label for label, share in zip(labels, row, strict=True) if share >= HALF) for row in values]


def distinct(columns: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns by name, each name made unique by `_` at its end."""
    named: dict[str, np.ndarray] = {}
    for name, values in columns:
        while name in named:
            name += "_"
        named[name] = values
    return named
