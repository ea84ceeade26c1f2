"""What predict.py tells of images whose labels are no classes: a number for each file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.drawing.figures import save_figures
from harness.drawing.prediction_sheet import Shown, draw_captions
from harness.tasks.image_prediction import Predictions
from harness.tasks.prediction_files import distinct, write_predictions
from lit_modules.image_regressor import ImageRegressor


class Told(NamedTuple):
    """What there is to say of the files."""

    columns: dict[str, np.ndarray]  # for the CSV file, (N,) each
    captions: list[str]  # of each file
    summary: str  # of all


def told_of(model: ImageRegressor, values: np.ndarray) -> Told:
    """What predictions of the model, (N,), say."""
    name = str(model.hparams["target"])
    low, high, mean = values.min(), values.max(), values.mean()
    summary = f"{name} from {_short(low)} to {_short(high)}, mean {_short(mean)}"
    return Told({name: values.round(6)}, [_short(value) for value in values], summary)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def write_told(table: Path, sheet: Path, files: list[str], predictions: Predictions, told: Told) -> None:
    """Writes the CSV file, and the sheet of images with their captions."""
    columns = distinct([("file", np.array(files)), *told.columns.items()])
    write_predictions(table, "file", columns.pop("file"), columns)
    shown = {files[row]: Shown(image, told.captions[row]) for row, image in predictions.shown.items()}
    save_figures({sheet.stem: draw_captions(shown, len(files), f"; above: {', '.join(told.columns)}")}, sheet.parent)
