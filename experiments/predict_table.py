"""Predictions for new rows, from a checkpoint and nothing else.

    python experiments/predict_table.py runs/table/<run> new_rows.csv --output predictions.csv
    python experiments/predict_table.py runs/house_prices/<run> data/house-prices/test.csv

The rows go through the checks of the training table; the target may be missing. A cross-validated run predicts by the
mean of its folds: of log-prices, or of classes' probabilities.
"""

from pathlib import Path
from typing import Any

from command_line import cli
from cross_validation import write_predictions
from running.runs import find_checkpoint, read_checkpoint
from tabular import predict

import numpy as np

from datamodules.preprocessing import columns_of, transform
from datamodules.tables import check_unique, read_csv
from lit_modules import Regressor, RowClassifier


def main(checkpoint: str, rows: str, output: str = "predictions.csv", force: bool = False) -> None:
    """Writes a CSV file with a prediction for each row.

    Args:
        checkpoint: run directory, or checkpoint file.
        rows: CSV file with the columns of the training table.
        output: the file to write.
        force: write over the file of an earlier call.
    """
    if Path(output).is_dir() or (Path(output).exists() and not force):
        raise FileExistsError(f"{output}: is there already; name another file by --output, or write over it by --force")
    if not Path(output).parent.is_dir():
        raise FileNotFoundError(f"{output}: there is no folder {Path(output).parent}")
    folds = sorted(Path(checkpoint).glob("fold*")) or [checkpoint]
    paths = [find_checkpoint(str(fold)) for fold in folds]
    said = [_predict(path, Path(rows)) for path in paths]
    fitted, ids, _ = said[0]
    values = np.mean([predicted for _, _, predicted in said], axis=0)
    columns = {fitted["target"]: values}
    if fitted["classes"]:
        best = values.argmax(1)
        columns = {fitted["target"]: np.array(fitted["classes"])[best], "probability": values.max(1)}
    elif fitted["log_target"]:
        columns = {fitted["target"]: np.exp(values)}
    write_predictions(Path(output), fitted["id"] or "line", ids, columns)
    print(f"{len(ids):,} predictions by {len(paths)} model{'s' if len(paths) > 1 else ''}: {output}")


def _predict(path: Path, rows: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The preprocessing in the checkpoint, the rows' ids, and what to average: logarithms, targets or probabilities."""
    options = read_checkpoint(path)["hyper_parameters"]
    if "recipe" not in (fitted := options.get("preprocessing") or {}):
        raise ValueError(f"{path}: was not trained on a table")
    kind = RowClassifier if fitted["classes"] else Regressor
    model = kind.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    table = read_csv(rows)
    frame = columns_of(table, fitted["recipe"], tuple(fitted["besides"]))
    ids = table.cells.index
    if fitted["id"] in table.cells:
        check_unique(table, fitted["id"])
        ids = table.cells[fitted["id"]]
    said = predict(model, transform(frame, fitted))
    said = np.exp(said) if fitted["classes"] else np.log(said) if fitted["log_target"] else said
    return fitted, ids.to_numpy(), said


if __name__ == "__main__":
    cli(main)
