"""Predictions as CSV files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basics.files import write_csv


def write_predictions(path: Path, id_column: str, ids: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    """Writes a CSV file whole or not at all."""
    import pandas as pd

    write_csv(path, pd.DataFrame({id_column: ids, **columns}))


def predicted_columns(name: str, values: np.ndarray, fitted: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Columns with their names, from predictions as they are averaged (see `table_models.to_average`).

    Args:
        name: of the column of numbers, or of the most probable classes.
        fitted: the preprocessing in a checkpoint.
    """
    if not fitted["classes"]:
        return [(name, np.exp(values) if fitted["log_target"] else values)]
    classes = np.array(fitted["classes"])[values.argmax(1)]
    each = zip(fitted["classes"], values.T, strict=True)
    return [(name, classes), ("probability", values.max(1)), *((f"p({its})", column) for its, column in each)]


def distinct(columns: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns by name, each name made unique by `_` at its end."""
    named: dict[str, np.ndarray] = {}
    for name, values in columns:
        while name in named:
            name += "_"
        named[name] = values
    return named
