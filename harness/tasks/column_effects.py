"""What the columns of a table do to predictions, measured on the test rows with the trained models.

Permutation importance: Breiman 2001, "Random forests": a column's values are permuted among the rows, and the error
rises by what the column was needed for. Partial dependence: Friedman 2001, "Greedy function approximation": all rows
get the same value in a column, and the mean of the predictions shows which way it works.

A column is one of the file, not of the matrix: its one-hot columns, the parts of a date, the mark of a missing
value and whatever is derived from it change together.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from basics.digits import rounded
from basics.files import write_csv
from datamodules.dates import CLOCKS
from datamodules.preprocessing import derived, made_from, made_of, transform, transform_some
from datamodules.table_data import TableData
from harness.drawing.effect_figures import Dependence, Importance, draw_dependence, draw_importance
from harness.drawing.figures import publish
from harness.drawing.short_names import shortened
from harness.runs.layout import IMPORTANCE
from harness.tasks.table_models import RowModel, to_average

# From a part, places of its rows, (R,), and which of the rows asked for they are, (R,): a matrix, (R, F).
Matrix = Callable[["Part", np.ndarray, np.ndarray], np.ndarray]

SEED = 0  # of the permutations
REPEATS = 5  # permutations, the same for all columns
PREDICTED = 300_000  # rows, by all models together, in some seconds; of tables that need more, rows are drawn
DRAWN = 6  # columns whose dependence is measured, the most important ones
POINTS = 12  # values of a number
LEAST = 1e-15  # a probability of what is true counts as at least this, so that the log-loss stays finite
VALUES = 8  # of a category, the most frequent


class Part(NamedTuple):
    """Rows that one model predicts."""

    model: RowModel
    place: np.ndarray  # of each row of the table among these, (N,); -1 for those that the model does not predict
    frame: pd.DataFrame  # their columns, derived ones too
    matrix: np.ndarray  # preprocessed as the model's own training rows were


class Together:
    """Rows of a table, and what models say of them together: as the rows are, or with another column in one's place.

    Args:
        models: each predicts the rows at its `places`, or all if there are none; predictions for a row are averaged.
        frame: typed columns of the rows, before any is derived.
    """

    def __init__(self, models: Sequence[RowModel], frame: pd.DataFrame, places: Sequence[np.ndarray] | None = None):
        self.frame, self.fitted = frame, models[0].hparams["preprocessing"]
        every = [np.arange(len(frame))] * len(models) if places is None else places
        self.parts = [_part(model, frame, its) for model, its in zip(models, every, strict=True)]
        self.plain = self._mean(np.arange(len(frame)), lambda part, places, _: part.matrix[places])

    @property
    def columns(self) -> list[str]:
        """The features, in the order of the file."""
        return [*self.fitted["recipe"]["columns"]]

    def predict(self) -> np.ndarray:
        """Predictions as they are averaged (see `to_average`), (N,) or (N, C)."""
        return self.plain

    def predict_with(self, column: str, values: np.ndarray) -> np.ndarray:
        """The same with other values in a column, in several ways, (W, N): predictions (W, N) or (W, N, C).

        A row is predicted once with each other value that it gets, however many ways give it that.
        """
        rows = np.arange(len(self.frame))
        codes, distinct = pd.factorize(np.append(self.frame[column].to_numpy(), values), use_na_sentinel=False)
        own, given = codes[: len(rows)], codes[len(rows) :].reshape(values.shape)
        other = given != own  # (W, N)
        pairs, which = np.unique((rows * len(distinct) + given)[other], return_inverse=True)
        its, value = np.divmod(pairs, len(distinct))
        said = np.stack([self.plain] * len(values))
        said[other] = self._mean(
            its, lambda part, places, chosen: _changed(part, places, column, distinct[value[chosen]])
        )[which]
        return said

    def _mean(self, rows: np.ndarray, matrix: Matrix) -> np.ndarray:
        """Mean predictions for rows of the table, (R,), whose matrices the function makes for each part."""
        total, times = np.zeros((len(rows), *self._outputs())), np.zeros(len(rows))
        for part in self.parts:
            chosen = np.flatnonzero(part.place[rows] >= 0)
            if len(chosen):
                total[chosen] += to_average(part.model, matrix(part, part.place[rows[chosen]], chosen))
                times[chosen] += 1
        return total / times.reshape(-1, *[1] * (total.ndim - 1))

    def _outputs(self) -> tuple[int, ...]:
        names = self.fitted.get("labels") or self.fitted["classes"]
        return (len(names),) if names else ()


def _part(model: RowModel, frame: pd.DataFrame, places: np.ndarray) -> Part:
    fitted, place = model.hparams["preprocessing"], np.full(len(frame), -1)
    place[places] = np.arange(len(places))
    its = derived(frame.iloc[places], fitted["recipe"])
    return Part(model, place, its, transform(its, fitted))


def _changed(part: Part, places: np.ndarray, column: str, values: np.ndarray) -> np.ndarray:
    """The matrix for some of the part's rows, (R,), with other values in a column of the table, (R,).

    It computes only what comes from that column, since calls of pandas take long.
    """
    fitted = part.model.hparams["preprocessing"]
    names = made_of(fitted["recipe"], column)
    needed = part.frame[[*made_from(fitted["recipe"], names)]].iloc[places].copy()
    needed[column] = values
    some, at = transform_some(derived(needed, fitted["recipe"], names), fitted, names)
    matrix = part.matrix[places]
    matrix[:, at] = some
    return matrix


def error(true: np.ndarray, values: np.ndarray, fitted: dict[str, Any]) -> float:
    """The figure to compare models by, unrounded: the log-loss of classes, or its mean over labels; or the RMSE of
    numbers or of their logarithms.
    """
    if fitted.get("labels"):
        return float(-np.log(np.maximum(np.where(true > 0, values, 1 - values), LEAST)).mean())
    if fitted["classes"]:
        return float(-np.log(np.maximum(values[np.arange(len(true)), true], LEAST)).mean())
    return float(np.sqrt(np.mean((values - (np.log(true) if fitted["log_target"] else true)) ** 2)))


def permutation_importance(rows: Together, true: np.ndarray, permutations: Sequence[np.ndarray]) -> list[Importance]:
    """The mean rise of `error` over the permutations, (N,) each, and its standard deviation, for each column."""
    whole = error(true, rows.predict(), rows.fitted)
    found = []
    for column in rows.columns:
        values = rows.frame[column].to_numpy()
        said = rows.predict_with(column, values[np.stack(permutations)])
        rises = [error(true, its, rows.fitted) - whole for its in said]
        found.append(Importance(column, float(np.mean(rises)), float(np.std(rises))))
    return found


def partial_dependence(rows: Together, column: str) -> Dependence | None:
    """Mean predictions of numbers, or mean probabilities, at some values of a column; None for texts."""
    kind, values = rows.fitted["recipe"]["columns"][column], rows.frame[column]
    points = _points(values)
    if kind in ("text", "code") or not len(points):
        return None
    said = rows.predict_with(column, np.repeat(points[:, None], len(values), axis=1))
    said = np.exp(said) if rows.fitted["log_target"] else said
    labels = [str(point) or "missing" for point in points] if points.dtype == object else []
    if not isinstance(kind, str):
        labels = [kind[int(point)] for point in points]
    unit = "hours" if kind in CLOCKS else ""
    return Dependence(column, points, labels, said.reshape(*said.shape[:2], -1).mean(1), unit)


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


def explain_columns(
    run: Path, data: TableData, models: Sequence[RowModel], places: Sequence[np.ndarray] | None
) -> None:
    """Writes importance.csv, and its figure and that of dependence, also for TensorBoard."""
    frame, true = data.tested()
    if len(true) < 2:
        return
    rng, all_rows = np.random.default_rng(SEED), len(true)
    known = [np.arange(all_rows)] * len(models) if places is None else places
    chosen = affordable(all_rows, frame.shape[1] * sum(map(len, known)) / all_rows, rng)
    true = true[chosen]
    rows = Together(models, frame.iloc[chosen], [np.flatnonzero(np.isin(chosen, its)) for its in known])
    found = permutation_importance(rows, true, [rng.permutation(len(true)) for _ in range(REPEATS)])
    found.sort(key=lambda each: -each.mean)
    shown = [dependence for each in found[:DRAWN] if (dependence := partial_dependence(rows, each.column))]
    digits = [(each.column, rounded(each.mean), rounded(each.std)) for each in found]
    write_csv(run / IMPORTANCE, pd.DataFrame(digits, columns=["column", "importance", "standard_deviation"]))
    what = f"{len(true):,}{f' of {all_rows:,}' * (len(true) < all_rows)}"
    what += " rows, none seen by its model" if places is not None else " test rows"
    name = _error_name(rows.fitted)
    figures = {"importance": draw_importance(found, name, error(true, rows.predict(), rows.fitted), what)}
    if shown:
        figures["partial_dependence"] = draw_dependence(*_drawn(shown, data))
    with SummaryWriter(str(run)) as writer:
        publish(figures, run / "figures", writer)
    top = ", ".join(each.column for each in found[:3])
    print(f"most important columns: {top}; {IMPORTANCE} has all")


def _drawn(found: list[Dependence], data: TableData) -> tuple[list[Dependence], str, list[str]]:
    """What is drawn, what is predicted, and names if there are several outputs; of two classes, one says it all."""
    if data.labels:
        return found, "probability of each label", data.labels
    if not data.classes:
        return found, shortened(data.target), []
    if len(data.classes) > 2:
        return found, "probability of each class", data.classes
    second = [each._replace(means=each.means[:, 1:]) for each in found]
    return second, f"probability of {shortened(data.classes[1])}", []


def affordable(rows: int, predictions: float, rng: np.random.Generator) -> np.ndarray:
    """Which rows are taken, in their order: all, or as many drawn as can be predicted in time.

    Args:
        predictions: how often a permutation of all columns needs each row.
    """
    count = min(rows, max(2, int(PREDICTED / (predictions * REPEATS))))
    return np.arange(rows) if count == rows else np.sort(rng.choice(rows, count, replace=False))


def _error_name(fitted: dict[str, Any]) -> str:
    if fitted.get("labels"):
        return "mean log-loss of the labels"
    if fitted["classes"]:
        return "log-loss"
    return "RMSE of logarithms" if fitted["log_target"] else "RMSE"
