"""Targets of new rows, as far as they have one: to score predictions for them."""

from typing import Any

import numpy as np
import pandas as pd

from datamodules.tables import Table, check_columns, missing_labels, numbers, refuse, similar
from datamodules.tags import known_tags
from datamodules.written_numbers import number_form, parses, plain, scale_of


def required_targets(table: Table, fitted: dict[str, Any]) -> np.ndarray:
    """The targets of all rows, (N,): numbers, float64, or numbers of classes, int64; or labels, float32, (N, L).

    Args:
        fitted: the preprocessing in a checkpoint, which names the target and its classes.

    Raises:
        InputError: a row has no target, or one that training could not have had.
    """
    if fitted.get("labels"):
        return known_tags(table, fitted["targets"], fitted["labels"], fitted["mark"])
    name = fitted["target"]
    check_columns(table, [name], None)
    missing = missing_labels(table) if fitted["classes"] else table.missing
    refuse(table, name, table.cells[name].isin(missing), "is missing; each row needs a target")
    if not fitted["classes"]:
        numbers(table, name, _form_of(table, fitted))  # refuses those that are none
    targets = known_targets(table, fitted)
    wrong = "is none of the classes of the training table" if fitted["classes"] else "is not above 0"
    refuse(table, name, pd.Series(np.isnan(targets)), wrong)
    return targets.astype(np.int64) if fitted["classes"] else targets


def known_targets(table: Table, fitted: dict[str, Any]) -> np.ndarray:
    """The same as float64, with NaN for each row whose target is missing, or could not have been in training."""
    cells = table.cells[fitted["target"]]
    if fitted["classes"]:
        return cells.map(_numbers_of(cells, fitted)).to_numpy(np.float64)
    form = _form_of(table, fitted)
    texts = [text for text in cells.unique() if text not in table.missing and parses(text, form)]
    values = cells.map({text: float(plain(text, form)) for text in texts}).to_numpy(np.float64)
    usable = np.isfinite(values) & (values > 0 if fitted["log_target"] else True)
    return np.where(usable, values, np.nan)


def _form_of(table: Table, fitted: dict[str, Any]) -> str:
    """The form of the target's numbers: that of training, unless they are plainly the same in another."""
    counts = table.filled(fitted["target"]).value_counts()
    known = fitted.get("target_form", "")
    if known and all(parses(text, known) for text in counts.index):
        return known
    found = number_form(counts, table.decimal) or number_form(counts) or "number"
    return found if not known or scale_of(found) == scale_of(known) else known


def _numbers_of(cells: pd.Series, fitted: dict[str, Any]) -> dict[str, int]:
    """The number of each label's class: one that differs in case, outer dots or blanks alone is the class's too.

    Not if the training kept such labels apart.
    """
    numbers = {name: number for number, name in enumerate(fitted["classes"])}
    if fitted.get("similar_labels") == "keep":
        return numbers
    labels = pd.Series([*numbers, *(label for label in cells.unique() if label not in numbers)])
    for group in similar(labels):
        known = [label for label in group if label in numbers]
        if len(known) == 1:
            numbers |= dict.fromkeys(group, numbers[known[0]])
    return numbers
