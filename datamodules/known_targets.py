"""Targets of new rows, as far as they have one: to score predictions for them."""

from typing import Any

import numpy as np
import pandas as pd

from datamodules.tables import NUMBER, Table, check_columns, complete_numbers, fault, similar


def required_targets(table: Table, fitted: dict[str, Any]) -> np.ndarray:
    """The targets of all rows, (N,): numbers, float64, or numbers of classes, int64.

    Args:
        fitted: the preprocessing in a checkpoint, which names the target and its classes.

    Raises:
        InputError: a row has no target, or one that training could not have had.
    """
    name = fitted["target"]
    check_columns(table, [name], None)
    cells = table.cells[name]
    if not fitted["classes"]:
        complete_numbers(table, name)  # refuses those that are none
    targets = known_targets(table, fitted)
    wrong = "is none of the classes of the training table" if fitted["classes"] else "is not above 0"
    for line in cells.index[np.isnan(targets)][:1]:
        raise fault(table.source, wrong, line, name, cells[line])
    return targets.astype(np.int64) if fitted["classes"] else targets


def known_targets(table: Table, fitted: dict[str, Any]) -> np.ndarray:
    """The same as float64, with NaN for each row whose target is missing, or could not have been in training."""
    cells = table.cells[fitted["target"]]
    if fitted["classes"]:
        return cells.map(_numbers_of(cells, fitted["classes"])).to_numpy(np.float64)
    values = cells.map(lambda text: float(text) if NUMBER.fullmatch(text) else np.nan).to_numpy(np.float64)
    return np.where(values > 0, values, np.nan) if fitted["log_target"] else values


def _numbers_of(cells: pd.Series, classes: list[str]) -> dict[str, int]:
    """The number of each label's class: one that differs in case, outer dots or blanks alone is the class's too."""
    numbers = {name: number for number, name in enumerate(classes)}
    labels = pd.Series([*classes, *(label for label in cells.unique() if label not in numbers)])
    for group in similar(labels):
        known = [label for label in group if label in numbers]
        if len(known) == 1:
            numbers |= dict.fromkeys(group, numbers[known[0]])
    return numbers
