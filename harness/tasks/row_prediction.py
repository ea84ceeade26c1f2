"""What predict_table.py and serve.py make of new rows: they are prepared as in training, and models give their mean."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basics.errors import InputError
from datamodules.new_rows import NewRows
from datamodules.preprocessing import columns_of, transform
from datamodules.surprises import surprises
from datamodules.tables import Table, check_unique
from harness.runs.checkpoints import read_checkpoint
from harness.tasks.table_models import RowModel, to_average
from harness.tasks.trained import load_model
from lit_modules import Regressor, RowClassifier
from lit_modules.row_tagger import RowTagger

ReadRows = Callable[[dict[str, Any]], NewRows]  # reads rows as a model's training rows were, by its preprocessing


class Predicted(NamedTuple):
    """What one model says of the rows."""

    fitted: dict[str, Any]  # the preprocessing in its checkpoint
    id_column: str  # the column of the rows' ids
    ids: np.ndarray  # (N,)
    values: np.ndarray  # what to average: logarithms, targets, (N,), or probabilities, (N, C)
    warnings: dict[tuple[str, str], str]
    table: Table  # the rows as they were read


def load_row_model(path: Path) -> RowModel:
    """The model of a table's rows in a checkpoint.

    Raises:
        InputError: it is another model's.
    """
    read = read_checkpoint(path)
    if "recipe" not in (read.content["hyper_parameters"].get("preprocessing") or {}):
        raise InputError(f"{path}: was not trained on a table")
    model = load_model(read)
    assert isinstance(model, Regressor | RowClassifier | RowTagger)  # as of all that has a preprocessing
    return model


def _predict(model: RowModel, read: ReadRows) -> Predicted:
    fitted = model.hparams["preprocessing"]
    table, kinds, notes = read(fitted)
    recipe = fitted["recipe"] | {"columns": kinds}
    frame = columns_of(table, recipe, tuple(table.cells.columns))
    id_column, ids = "line", table.cells.index
    if fitted["id"] in table.cells:
        check_unique(table, fitted["id"])
        id_column, ids = fitted["id"], table.cells[fitted["id"]]
    said = to_average(model, transform(frame, fitted))
    warnings = {(note, "file"): note for note in notes} | surprises(table, fitted | {"recipe": recipe})
    return Predicted(fitted, id_column, ids.to_numpy(), said, warnings, table)


def predict_rows(models: Sequence[RowModel], read: ReadRows) -> tuple[Predicted, np.ndarray, list[str]]:
    """What the first model says, the mean of what all say, and each warning once.

    Raises:
        InputError: the rows cannot be used.
    """
    said = [_predict(model, read) for model in models]
    # One for each place, although every fold has its own training rows.
    warnings = {place: line for predicted in reversed(said) for place, line in predicted.warnings.items()}
    return said[0], np.mean([predicted.values for predicted in said], axis=0), list(warnings.values())
