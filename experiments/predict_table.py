"""Predictions for new rows, from a checkpoint.

    python experiments/predict_table.py runs/table/<run> new_rows.csv --output predictions.csv
    python experiments/predict_table.py runs/house_prices/<run> data/house-prices/test.csv

The rows are read as the training table was, unless the file has another separator, encoding, decimal mark or format of
dates, and go through the same checks. They keep their order. The target may be missing, and other columns are ignored.
A warning names these, and each column with missing values, if no training row lacked one, or with unseen values.
A cross-validated run predicts the mean of its folds: of their log-prices, or of their class probabilities.

The file has each row's id, or its line if there are no ids, and the prediction in a column named after the target. For
classes there are further columns: `probability`, of the predicted one, and `p(NAME)` for each. A name that is taken
gets a `_` at its end.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basics.errors import InputError, InputFileError, MissingFileError, writing
from basics.files import unused
from datamodules.new_rows import read_rows
from datamodules.preprocessing import columns_of, transform
from datamodules.surprises import surprises
from datamodules.tables import check_unique
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.cross_validation import write_predictions
from harness.tasks.tabular import predict
from harness.tasks.trained import load_model
from lit_modules import Regressor, RowClassifier

PREDICTIONS = Path("predictions.csv")


def main(checkpoint: str, rows: str, output: str | None = None, force: bool = False) -> None:
    """Writes a CSV file with a prediction for each row.

    Args:
        checkpoint: run directory, or checkpoint file.
        rows: CSV file with the columns of the training table.
        output: the file to write; null: predictions.csv, or if there is one, predictions-2.csv and so on.
        force: replace the file of an earlier call.
    """
    target = Path(output) if output else PREDICTIONS if force else unused(PREDICTIONS)
    _check_output(target, force)
    folds = [str(fold) for fold in sorted(Path(checkpoint).glob("fold*"))]
    paths = [find_checkpoint(fold) for fold in folds or [checkpoint]]
    said = [_predict(path, Path(rows)) for path in paths]
    warnings = {place: line for predicted in reversed(said) for place, line in predicted.warnings.items()}
    for line in warnings.values():  # one for each place, although every fold has its own training rows
        print(f"warning: {line}", file=sys.stderr)
    first, values = said[0], np.mean([predicted.values for predicted in said], axis=0)
    columns = _distinct([(first.id_column, first.ids), *_columns(first.fitted, values)])
    write_predictions(target, first.id_column, columns.pop(first.id_column), columns)
    print(f"{len(values):,} predictions by {len(paths)} model{'s' if len(paths) > 1 else ''}: {target}")


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


def _predict(path: Path, rows: Path) -> Predicted:
    read = read_checkpoint(path)
    if "recipe" not in (fitted := read.content["hyper_parameters"].get("preprocessing") or {}):
        raise InputError(f"{path}: was not trained on a table")
    model = load_model(read)
    table, kinds, notes = read_rows(rows, fitted)
    recipe = fitted["recipe"] | {"columns": kinds}
    frame = columns_of(table, recipe, tuple(table.cells.columns))
    id_column, ids = "line", table.cells.index
    if fitted["id"] in table.cells:
        check_unique(table, fitted["id"])
        id_column, ids = fitted["id"], table.cells[fitted["id"]]
    assert isinstance(model, Regressor | RowClassifier)  # as of all that has a preprocessing
    said = predict(model, transform(frame, fitted))
    said = np.exp(said) if fitted["classes"] else np.log(said) if fitted["log_target"] else said
    warnings = {(note, "file"): note for note in notes} | surprises(table, fitted | {"recipe": recipe})
    return Predicted(fitted, id_column, ids.to_numpy(), said, warnings)


def _columns(fitted: dict[str, Any], values: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """The columns of the file other than the ids, with their names."""
    if not fitted["classes"]:
        yield fitted["target"], np.exp(values) if fitted["log_target"] else values
        return
    yield fitted["target"], np.array(fitted["classes"])[values.argmax(1)]
    yield "probability", values.max(1)
    for name, probabilities in zip(fitted["classes"], values.T, strict=True):
        yield f"p({name})", probabilities


def _distinct(columns: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns by name, each name made unique."""
    named: dict[str, np.ndarray] = {}
    for name, values in columns:
        while name in named:
            name += "_"
        named[name] = values
    return named


if __name__ == "__main__":
    cli(main)
