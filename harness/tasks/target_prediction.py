"""What predict.py tells of images whose labels are no classes: a number, or several labels, for each file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from basics.digits import rounded_each
from basics.terminal import rough_number
from harness.drawing.figures import save_figures
from harness.drawing.prediction_sheet import LABEL, Shown, draw_captions
from harness.drawing.short_names import tell_apart
from harness.tasks.image_prediction import Predictions
from harness.tasks.prediction_files import distinct, likely_labels, write_predictions
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.label_scores import HALF


class Told(NamedTuple):
    """What there is to say of the files."""

    columns: dict[str, np.ndarray]  # for the CSV file, (N,) each
    captions: list[str]  # of each file
    summary: str  # of all


def told_of(model: ImageRegressor | ImageTagger, values: np.ndarray) -> Told:
    """What predictions of the model say: numbers, (N,), or the probability of each label, (N, L)."""
    if isinstance(model, ImageTagger):
        return _told_labels(model.names, values)
    return _told_numbers(str(model.hparams["target"]), values)


def _told_labels(names: list[str], values: np.ndarray) -> Told:
    labels = likely_labels(names, values)
    columns = {"labels": np.array(labels, dtype=object)}
    columns |= {f"p({name})": share.round(6) for name, share in zip(names, values.T, strict=True)}
    counts = sorted(zip(names, (values >= HALF).sum(0).tolist(), strict=True), key=lambda each: -each[1])
    captions = [its.replace(";", ", ") or "none" for its in labels]
    return Told(columns, captions, ", ".join(f"{name}: {count:,}" for name, count in counts))


def _told_numbers(name: str, values: np.ndarray) -> Told:
    low, high, mean = values.min(), values.max(), values.mean()
    summary = f"{name} from {rough_number(low)} to {rough_number(high)}, mean {rough_number(mean)}"
    return Told({name: rounded_each(values)}, [rough_number(value) for value in values], summary)


def write_told(table: Path, sheet: Path, files: list[str], predictions: Predictions, told: Told) -> None:
    """Writes the CSV file, and the sheet of images with their captions."""
    columns = distinct([("file", np.array(files)), *told.columns.items()])
    write_predictions(table, "file", columns.pop("file"), columns)
    shown = {files[row]: Shown(image, _on_lines(told.captions[row])) for row, image in predictions.shown.items()}
    above = f"; above: {next(iter(told.columns))}"
    save_figures({sheet.stem: draw_captions(shown, len(files), above)}, sheet.parent)


def _on_lines(caption: str) -> str:
    """A caption on two lines at most: two labels, or one and how many more there are."""
    first, *more = caption.split(", ")
    lines = [first, *more] if len(more) < 2 else [first, f"+{len(more)} more"]
    return "\n".join(tell_apart([line], LABEL)[0] for line in lines)
