"""Predictions for new rows, from a checkpoint.

    python experiments/predict_table.py runs/table/<run> new_rows.csv --output predictions.csv
    python experiments/predict_table.py runs/house_prices/<run> data/house-prices/test.csv

The rows are read as the training table was, unless the file has another separator, encoding, decimal mark or format of
dates, and go through the same checks. They keep their order. The target may be missing, and other columns are ignored.
If the target is there, the predictions are scored. A warning names columns that are ignored, and each column with
missing values, if no training row lacked one, or with unseen values. A cross-validated run predicts the mean of its
folds: of their numbers, of the logarithms if these were learned, or of their class probabilities.

The file has each row's id, or its line if there are no ids, and the prediction in a column named after the target. For
classes there are further columns: `probability`, of the predicted one, and `p(NAME)` for each. A name that is taken
gets a `_` at its end.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basics.amounts import amount
from basics.errors import InputError, InputFileError, MissingFileError, writing
from basics.files import unused
from datamodules.known_targets import known_targets
from datamodules.new_rows import read_rows
from datamodules.preprocessing import columns_of, transform
from datamodules.surprises import surprises
from datamodules.tables import Table, check_unique
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoints, read_checkpoint
from harness.tasks.prediction_files import distinct, predicted_columns, write_predictions
from harness.tasks.table_models import to_average
from harness.tasks.table_scores import as_text, score
from harness.tasks.trained import load_model
from lit_modules import Regressor, RowClassifier

OUTPUT = Path("predictions.csv")


def main(checkpoint: str, rows: str, output: str | None = None, force: bool = False) -> None:
    """Writes a CSV file with a prediction for each row.

    Args:
        checkpoint: run directory, or checkpoint file.
        rows: CSV file with the columns of the training table.
        output: the file to write; null: predictions.csv, or if there is one, predictions-2.csv and so on.
        force: replace the file of an earlier call.
    """
    target = Path(output) if output else OUTPUT if force else unused(OUTPUT)
    _check_output(target, force)
    models = [_read(path) for path in find_checkpoints(checkpoint)]
    said = [_predict(model, Path(rows)) for model in models]
    warnings = {place: line for predicted in reversed(said) for place, line in predicted.warnings.items()}
    for line in warnings.values():  # one for each place, although every fold has its own training rows
        print(f"warning: {line}", file=sys.stderr)
    first, values = said[0], np.mean([predicted.values for predicted in said], axis=0)
    predicted = predicted_columns(first.fitted["target"], values, first.fitted)
    columns = distinct([(first.id_column, first.ids), *predicted])
    write_predictions(target, first.id_column, columns.pop(first.id_column), columns)
    print(f"{amount(len(values), 'prediction')} by {amount(len(models), 'model')}: {target}")
    if first.fitted["target"] in first.table.cells:
        print(_scored(first.table, values, first.fitted))


def _scored(table: Table, values: np.ndarray, fitted: dict[str, Any]) -> str:
    """A line with the figures of the rows whose target is known."""
    targets, wanted = known_targets(table, fitted), "a class of the training rows" if fitted["classes"] else "a number"
    known = ~np.isnan(targets)
    if not known.any():
        return f"not scored: {fitted['target']} is {wanted} in no row"
    true = targets[known].astype(np.int64) if fitted["classes"] else targets[known]
    left = "" if known.all() else f"; {fitted['target']} is not {wanted} in {amount((~known).sum(), 'other')}"
    return f"{as_text(score(true, values[known], fitted))} on {amount(known.sum(), 'row')}{left}"


def _check_output(output: Path, force: bool) -> None:
    with writing(output):
        if output.is_dir() or (output.exists() and not force):
            raise InputFileError(f"{output}: already exists; name another file by --output, or overwrite it by --force")
        if not output.parent.is_dir():
            raise MissingFileError(f"{output}: there is no folder {output.parent}")


class Predicted(NamedTuple):
    """What one model says of the rows."""

    fitted: dict[str, Any]  # the preprocessing in its checkpoint
    id_column: str  # the column of the rows' ids
    ids: np.ndarray  # (N,)
    values: np.ndarray  # what to average: logarithms, targets, (N,), or probabilities, (N, C)
    warnings: dict[tuple[str, str], str]
    table: Table  # the rows as they were read


def _read(path: Path) -> Regressor | RowClassifier:
    read = read_checkpoint(path)
    if "recipe" not in (read.content["hyper_parameters"].get("preprocessing") or {}):
        raise InputError(f"{path}: was not trained on a table")
    model = load_model(read)
    assert isinstance(model, Regressor | RowClassifier)  # as of all that has a preprocessing
    return model


def _predict(model: Regressor | RowClassifier, rows: Path) -> Predicted:
    fitted = model.hparams["preprocessing"]
    table, kinds, notes = read_rows(rows, fitted)
    recipe = fitted["recipe"] | {"columns": kinds}
    frame = columns_of(table, recipe, tuple(table.cells.columns))
    id_column, ids = "line", table.cells.index
    if fitted["id"] in table.cells:
        check_unique(table, fitted["id"])
        id_column, ids = fitted["id"], table.cells[fitted["id"]]
    said = to_average(model, transform(frame, fitted))
    warnings = {(note, "file"): note for note in notes} | surprises(table, fitted | {"recipe": recipe})
    return Predicted(fitted, id_column, ids.to_numpy(), said, warnings, table)


if __name__ == "__main__":
    cli(main)
