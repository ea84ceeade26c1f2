"""What the columns of a table do to predictions, measured on the test rows with the trained models.

Permutation importance: Breiman 2001, "Random forests": a column's values are permuted among the rows, and the error
rises by what the column was needed for. Partial dependence: Friedman 2001, "Greedy function approximation": all rows
get the same value in a column, and the mean of the predictions shows which way it works.

A column is one of the file, not of the matrix: its one-hot columns, the parts of a date, the mark of a missing
value and whatever is derived from it change together.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from basics.files import write_csv
from datamodules.preprocessing import derived, made_of, transform, transform_some
from datamodules.table_data import TableData
from harness.drawing.classification_figures import shortened
from harness.drawing.effect_figures import Dependence, Importance, draw_dependence, draw_importance
from harness.drawing.figures import publish
from harness.runs.layout import IMPORTANCE
from harness.tasks.table_models import to_average
from lit_modules import Regressor, RowClassifier

Model = Regressor | RowClassifier

SEED = 0  # of the permutations
REPEATS = 5  # permutations, the same for all columns
PREDICTED = 4_000_000  # rows, by all models together, in about two minutes; tables that need more are not seen whole
DRAWN = 6  # columns whose dependence is measured, the most important ones
POINTS = 12  # values of a number
LEAST = 1e-15  # a probability of the true class counts as at least this, so that the log-loss stays finite
VALUES = 8  # of a category, the most frequent


class Part(NamedTuple):
    """Rows that one model predicts."""

    model: Model
    places: np.ndarray  # which rows of the table they are
    frame: pd.DataFrame  # their columns, derived ones too
    matrix: np.ndarray  # preprocessed as the model's own training rows were


class Together:
    """Rows of a table, and what models say of them together: as the rows are, or with another column in one's place.

    Args:
        models: each predicts the rows at its `places`, or all if there are none; predictions for a row are averaged.
        frame: typed columns of the rows, before any is derived.
    """

    def __init__(self, models: Sequence[Model], frame: pd.DataFrame, places: Sequence[np.ndarray] | None = None):
        self.frame, self.fitted = frame, models[0].hparams["preprocessing"]
        every = [np.arange(len(frame))] * len(models) if places is None else places
        self.parts = [_part(model, frame, its) for model, its in zip(models, every, strict=True)]

    @property
    def columns(self) -> list[str]:
        """The features, in the order of the file."""
        return [*self.fitted["recipe"]["columns"]]

    def predict(self, column: str = "", values: np.ndarray | None = None) -> np.ndarray:
        """Predictions as they are averaged (see `to_average`), (N,) or (N, C), with `values`, (N,), in a column."""
        said = [
            to_average(part.model, part.matrix if values is None else _changed(part, column, values))
            for part in self.parts
        ]
        total, times = np.zeros((len(self.frame), *said[0].shape[1:])), np.zeros(len(self.frame))
        for part, its in zip(self.parts, said, strict=True):
            total[part.places] += its
            times[part.places] += 1
        return total / times.reshape(-1, *[1] * (total.ndim - 1))


def _part(model: Model, frame: pd.DataFrame, places: np.ndarray) -> Part:
    fitted = model.hparams["preprocessing"]
    its = derived(frame.iloc[places], fitted["recipe"])
    return Part(model, places, its, transform(its, fitted))


def _changed(part: Part, column: str, values: np.ndarray) -> np.ndarray:
    """The part's matrix with other values in a column of the table; computes only what comes from it."""
    fitted = part.model.hparams["preprocessing"]
    names = made_of(fitted["recipe"], column)
    frame = derived(part.frame.assign(**{column: values[part.places]}), fitted["recipe"], names)
    some, places = transform_some(frame, fitted, names)
    matrix = part.matrix.copy()
    matrix[:, places] = some
    return matrix


def error(true: np.ndarray, values: np.ndarray, fitted: dict[str, Any]) -> float:
    """The figure to compare models by, unrounded: log-loss, or the RMSE of numbers or of their logarithms."""
    if fitted["classes"]:
        return float(-np.log(np.maximum(values[np.arange(len(true)), true], LEAST)).mean())
    return float(np.sqrt(np.mean((values - (np.log(true) if fitted["log_target"] else true)) ** 2)))


def permutation_importance(rows: Together, true: np.ndarray, permutations: Sequence[np.ndarray]) -> list[Importance]:
    """The mean rise of `error` over the permutations, (N,) each, and its standard deviation, for each column."""
    whole = error(true, rows.predict(), rows.fitted)
    found = []
    for column in rows.columns:
        values = rows.frame[column].to_numpy()
        rises = [error(true, rows.predict(column, values[order]), rows.fitted) - whole for order in permutations]
        found.append(Importance(column, float(np.mean(rises)), float(np.std(rises))))
    return found


def partial_dependence(rows: Together, column: str) -> Dependence | None:
    """Mean predictions of numbers, or mean probabilities, at some values of a column; None for texts."""
    kind, values = rows.fitted["recipe"]["columns"][column], rows.frame[column]
    points = _points(values)
    if kind in ("text", "code") or not len(points):
        return None
    means = [rows.predict(column, np.full(len(values), point, dtype=points.dtype)) for point in points]
    if rows.fitted["log_target"]:
        means = [np.exp(each) for each in means]
    labels = [str(point) or "missing" for point in points] if points.dtype == object else []
    if not isinstance(kind, str):
        labels = [kind[int(point)] for point in points]
    return Dependence(column, points, labels, np.stack([np.atleast_1d(each.mean(0)) for each in means]))


def _points(values: pd.Series) -> np.ndarray:
    """The most frequent categories, or for numbers and moments all values if they are few, and else quantiles."""
    if values.dtype.kind not in "fM":
        return values.value_counts().index[:VALUES].to_numpy(object)
    there = np.sort(values.dropna().to_numpy())
    distinct = np.unique(there)
    if len(distinct) <= POINTS:
        return distinct
    ends = np.linspace(0.02, 0.98, POINTS)  # a few values may be far out, where predictions say little
    return np.unique(there[(ends * (len(there) - 1)).round().astype(int)])


def explain_columns(run: Path, data: TableData, models: Sequence[Model], places: Sequence[np.ndarray] | None) -> None:
    """Writes importance.csv, and its figure and that of dependence, also for TensorBoard."""
    frame, true = data.tested()
    if len(true) < 2:
        return
    if places is None:
        chosen = _affordable(len(true), len(frame.columns) * len(models))
        frame, true = frame.iloc[chosen], true[chosen]
    rows, rng = Together(models, frame, places), np.random.default_rng(SEED)
    found = permutation_importance(rows, true, [rng.permutation(len(true)) for _ in range(REPEATS)])
    found.sort(key=lambda each: -each.mean)
    shown = [dependence for each in found[:DRAWN] if (dependence := partial_dependence(rows, each.column))]
    write_csv(run / IMPORTANCE, pd.DataFrame(found, columns=["column", "importance", "standard_deviation"]).round(6))
    name = _error_name(rows.fitted)
    what = f"{len(true):,} {'rows, none seen by its model' if places is not None else 'test rows'}"
    figures = {"importance": draw_importance(found, name, error(true, rows.predict(), rows.fitted), what)}
    if shown:
        figures["partial_dependence"] = draw_dependence(shown, shortened(data.target), data.classes)
    with SummaryWriter(str(run)) as writer:
        publish(figures, run / "figures", writer, 0)
    top = ", ".join(each.column for each in found[:3])
    print(f"most important columns: {top}; {IMPORTANCE} has all")


def _affordable(rows: int, predictions: int) -> np.ndarray:
    """Which rows are taken, all unless that takes too long; `predictions` is how often a permutation needs each."""
    count = min(rows, max(2, PREDICTED // (predictions * REPEATS)))
    return np.linspace(0, rows - 1, count).astype(int)


def _error_name(fitted: dict[str, Any]) -> str:
    if fitted["classes"]:
        return "log-loss"
    return "RMSE of logarithms" if fitted["log_target"] else "RMSE"
