"""Predictions for new rows, from a checkpoint.

    python experiments/predict_table.py runs/table/<run> new_rows.csv --output predictions.csv
    python experiments/predict_table.py runs/house_prices/<run> data/house-prices/test.csv

The rows are read as the training table was, unless the file has another separator, encoding, decimal mark or format of
dates, and go through the same checks. They keep their order. The target may be missing, and other columns are ignored.
If the target is there, the predictions are scored. Of two classes, the second is named from the probability on that the
run's validation chose, if it had one. A warning names columns that are ignored, and each column with missing values, if
no training row lacked one, or with unseen values. A cross-validated run predicts the mean of its folds: of their
numbers, of the logarithms if these were learned, or of their class probabilities.

The file has each row's id, or its line if there are no ids, and the prediction in a column named after the target. For
classes there are further columns: `probability`, of the predicted one, and `p(NAME)` for each. For several labels at
once a column `labels` has those that are at least as probable as not, with `;` between them, and `p(NAME)` the
probability of each. A name that is taken gets a `_` at its end.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from basics.amounts import amount
from basics.errors import InputError
from basics.files import check_free, unused
from datamodules.known_targets import known_targets, required_targets
from datamodules.new_rows import read_rows
from datamodules.tables import Table
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoints
from harness.tasks.decisions import Decision, decision_for
from harness.tasks.prediction_files import distinct, predicted_columns, write_predictions
from harness.tasks.row_prediction import load_row_model, predict_rows
from harness.tasks.table_scores import as_text, score, scores_of_classes

OUTPUT = Path("predictions.csv")


def main(
    checkpoint: str, rows: str, output: str | None = None, threshold: float | None = None, force: bool = False
) -> None:
    """Writes a CSV file with a prediction for each row.

    Args:
        checkpoint: run directory, or checkpoint file.
        rows: CSV file with the columns of the training table.
        output: the file to write; null: predictions.csv, or if there is one, predictions-2.csv and so on.
        threshold: of two classes, name the second class from this probability on; null: the one that the run's
            validation chose, or of folds 0.5.
        force: replace the file of an earlier call.
    """
    target = Path(output) if output else OUTPUT if force else unused(OUTPUT)
    check_free(target, force, [Path(rows)], "the table to predict")
    checkpoints = find_checkpoints(checkpoint)
    models = [load_row_model(path) for path in checkpoints]
    decision = decision_for(checkpoints, models[0].hparams["preprocessing"]["classes"], threshold)
    first, values, warnings = predict_rows(models, partial(read_rows, Path(rows)))
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    name = "labels" if first.fitted.get("labels") else first.fitted["target"]
    predicted = predicted_columns(name, values, first.fitted, decision)
    columns = distinct([(first.id_column, first.ids), *predicted])
    write_predictions(target, first.id_column, columns.pop(first.id_column), columns)
    print(f"{amount(len(values), 'prediction')} by {amount(len(models), 'model')}: {target}")
    if decision.line:
        print(decision.line)
    if {*first.fitted.get("targets", [first.fitted["target"]])} <= {*first.table.cells.columns}:
        print(_scored(first.table, values, first.fitted, decision))


def _scored(table: Table, values: np.ndarray, fitted: dict[str, Any], decision: Decision) -> str:
    """A line with the figures of the rows whose target is known."""
    if fitted.get("labels"):
        try:
            true = required_targets(table, fitted)
        except InputError as error:
            return f"not scored: {error}"
        return f"{as_text(score(true, values, fitted))} on {amount(len(true), 'row')}"
    targets, wanted = known_targets(table, fitted), "a class of the training rows" if fitted["classes"] else "a number"
    known = ~np.isnan(targets)
    if not known.any():
        return f"not scored: {fitted['target']} is {wanted} in no row"
    true = targets[known].astype(np.int64) if fitted["classes"] else targets[known]
    left = "" if known.all() else f"; {fitted['target']} is not {wanted} in {amount((~known).sum(), 'other')}"
    figures = score(true, values[known], fitted)
    if decision.threshold is not None:
        figures |= scores_of_classes(true, decision.of(values[known]))
    return f"{as_text(figures)} on {amount(known.sum(), 'row')}{left}"


if __name__ == "__main__":
    cli(main)
