"""Rows of a table, or images, that are in no fold: for testing or to be predicted, by the mean of the folds' models."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.util import hash_array, hash_pandas_object

from datamodules.known_targets import required_targets
from datamodules.new_rows import NewRows
from datamodules.preprocessing import derived, transform, typed_columns


class OtherRows(NamedTuple):
    """Preprocessed rows that are in no fold, perhaps of another file."""

    ids: np.ndarray  # (N,)
    rows: np.ndarray  # (N, F)
    content: np.ndarray  # numbers that change with what the rows are, however they are preprocessed, (N,)
    targets: np.ndarray | None = None  # (N,), if they have some
    frame: pd.DataFrame | None = None  # their typed columns, before any is derived, if they have targets


class Apart(NamedTuple):
    """Rows of the table that are in no fold."""

    ids: np.ndarray  # (N,)
    frame: pd.DataFrame  # typed, before any column is derived
    targets: np.ndarray  # (N,)

    def preprocessed(self, preprocessing: dict[str, Any]) -> OtherRows:
        return _preprocessed(self, preprocessing["recipe"], preprocessing)


def of_file(read: NewRows, preprocessing: dict[str, Any]) -> OtherRows:
    """The rows of another file with targets.

    Raises:
        InputError: a value or target cannot be used.
    """
    recipe = preprocessing["recipe"] | {"columns": read.kinds}
    frame = typed_columns(read.table, recipe, tuple(read.table.cells.columns))
    rows = Apart(read.table.cells.index.to_numpy(), frame, required_targets(read.table, preprocessing))
    return _preprocessed(rows, recipe, preprocessing)


def _preprocessed(apart: Apart, recipe: dict[str, Any], preprocessing: dict[str, Any]) -> OtherRows:
    ids, frame, targets = apart
    rows = transform(derived(frame, recipe), preprocessing)
    return OtherRows(ids, rows, hashes(frame, targets), targets, frame)


def hashes(frame: pd.DataFrame, targets: np.ndarray | None = None) -> np.ndarray:
    """One of each row with its target, (N,)."""
    its = hash_pandas_object(frame, index=False).to_numpy()
    return its if targets is None else its ^ hash_array(np.array([str(each) for each in targets.tolist()], object))


def copies(others: OtherRows, known: pd.DataFrame, targets: np.ndarray) -> list[Any]:
    """The ids of other rows, with targets, that have the values and the target of one of the typed rows `known`."""
    assert others.frame is not None and others.targets is not None
    columns = [name for name in known if name in others.frame]
    keys = set(_keys(known[columns], targets))
    again = [number for number, key in enumerate(_keys(others.frame[columns], others.targets)) if key in keys]
    return others.ids[again].tolist()


def _keys(frame: pd.DataFrame, targets: np.ndarray) -> list[bytes]:
    """The same for two rows of equal values and targets, and for hardly any others."""
    hashed = hash_pandas_object(frame, index=False, categorize=False).to_numpy()
    return [key.tobytes() + target.astype(np.float64).tobytes() for key, target in zip(hashed, targets, strict=True)]
