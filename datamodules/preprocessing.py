"""From typed columns to the matrix that is a network's input, with figures from the training rows alone.

What is fitted is plain data (dicts, lists, numbers, text), so a checkpoint can hold it and is all that a prediction
needs. The figures are medians, means and quantiles by numpy; scikit-learn's transformers, with which the tests compare,
would have to be pickled or taken apart again.

The matrix has the numbers first, those of dates among them, then a 0 or 1 for each number that is sometimes missing,
then the categories as 0 and 1, for which a linear layer is an embedding, and last the texts, from 0 to 1.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import mul
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch

from basics.errors import InputError
from datamodules.dates import NTH_WEEKDAY, PARTS, date_parts, has_nth_weekdays, nth_weekdays
from datamodules.tables import Kind, Table, check_columns, typed
from datamodules.texts import fit_text, transform_text

SCALES = ("standard", "robust", "quantile")
SKEWED = 0.75  # skewness above which "skewed" takes logarithms, as is usual with these data
QUANTILES = 256  # that "quantile" keeps of each column
TAIL = 1e-7  # probabilities closer to 0 or 1 are clipped, at 5.2 standard deviations, as in scikit-learn
SMOOTH = 3.0  # the limit of "robust", towards which large values bend


class RecipeOptions(TypedDict):
    """What a user may choose of a recipe; see there."""

    log1p: str
    clip: list[float]
    scale: str
    rare: int


@dataclass(frozen=True)
class Recipe:
    """How a table becomes a matrix.

    Args:
        columns: what each holds, such as "number", "category", or an ordinal's levels (see `tables.Kind`).
        zeros: numbers that are 0 if missing, such as the area of a garage that does not exist; other missing numbers
            become the median of the training rows, and a further column marks them.
        derived: numbers computed from others, row by row, such as {"name": "Age", "sum": {"YrSold": 1, "Built": -1}} or
            {"name": "Unfinished", "product": ["SaleCondition=Partial", "Area"]}. `column=value` is 0 or 1.
        left_out: columns that only serve to derive others.
        log1p: "skewed" takes log(1 + x) of non-negative, skewed columns, judged by the training rows; "none".
        clip: quantiles of the training rows that numbers are clipped to; none if empty.
        scale: "standard": mean 0 and variance 1; "robust": median 0, quartiles 1 apart, bent smoothly to stay within 3
            (Holzmueller et al. 2024, RealMLP); "quantile": to a normal distribution by the quantiles.
        rare: categories with fewer training rows than this share one place, with unseen ones. If there are no rare
            ones, an unseen category is all zeros.
    """

    columns: dict[str, Kind]
    zeros: list[str] = field(default_factory=list)
    derived: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    log1p: str = "none"
    clip: list[float] = field(default_factory=list)
    scale: str = "standard"
    rare: int = 1

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"scale {self.scale!r}: no such scale; there are {', '.join(SCALES)}")
        if self.log1p not in ("none", "skewed"):
            raise InputError(f"log1p {self.log1p!r}: must be none or skewed")
        if self.clip and not (len(self.clip) == 2 and 0 <= self.clip[0] < self.clip[1] <= 1):
            raise InputError(f"clip {self.clip}: must be two quantiles from 0 to 1, the lower one first, or empty")


def columns_of(table: Table, recipe: dict[str, Any], allowed: tuple[str, ...] = ()) -> pd.DataFrame:
    """The recipe's columns of a table, typed, with the derived ones.

    Args:
        allowed: further columns that the table may have.

    Raises:
        InputError: a column is missing or unknown, or a value is of the wrong type.
    """
    return derived(typed_columns(table, recipe, allowed), recipe).drop(columns=recipe["left_out"])


def typed_columns(table: Table, recipe: dict[str, Any], allowed: tuple[str, ...] = ()) -> pd.DataFrame:
    """The same before any column is derived from others."""
    check_columns(table, list(recipe["columns"]), allowed)
    frame = typed(table, recipe["columns"])
    frame[recipe["zeros"]] = frame[recipe["zeros"]].fillna(0.0)
    return frame


def derived(frame: pd.DataFrame, recipe: dict[str, Any], names: Collection[str] | None = None) -> pd.DataFrame:
    """The frame with the recipe's derived columns; with `names`, only those of them are computed anew."""
    features = [each for each in recipe["derived"] if names is None or each["name"] in names]
    frame = frame.copy() if features else frame
    terms: dict[str, pd.Series] = {}  # many features may have the same ones; comparing texts takes long
    for feature in features:
        for term in _terms(feature):
            if term not in terms:
                terms[term] = _term(frame, term)
        frame[feature["name"]] = _derive(terms, feature)
    return frame


def made_of(recipe: dict[str, Any], column: str) -> set[str]:
    """The column, and the names of all that are derived from it, perhaps by way of others."""
    found = {column}
    for feature in recipe["derived"]:  # each is after those it is made of
        found |= {feature["name"]} if any(_column_of(term) in found for term in _terms(feature)) else set()
    return found


def made_from(recipe: dict[str, Any], names: Collection[str]) -> set[str]:
    """The names, and those of all columns that are needed to derive them; of derived ones too."""
    terms = {term for feature in recipe["derived"] if feature["name"] in names for term in _terms(feature)}
    return {*names, *map(_column_of, terms)}


def _terms(feature: dict[str, Any]) -> Collection[str]:
    return feature["sum"] if "sum" in feature else feature["product"]


def _column_of(term: str) -> str:
    return term.partition("=")[0]


def _derive(terms: dict[str, pd.Series], feature: dict[str, Any]) -> pd.Series:
    if "sum" in feature:
        return sum(weight * terms[term] for term, weight in feature["sum"].items())
    return reduce(mul, (terms[term] for term in feature["product"]))


def _term(frame: pd.DataFrame, term: str) -> pd.Series:
    column, equals, value = term.partition("=")
    return (frame[column] == value).astype(np.float64) if equals else frame[column]


def fit(frame: pd.DataFrame, recipe: Recipe) -> dict[str, Any]:
    """The plain data that `transform` needs, from the training rows of `columns_of`, and the rare categories' names."""
    dates = [_fit_date(str(name), frame[name]) for name in frame.columns if frame[name].dtype.kind == "M"]
    frame = with_dates(frame, dates)
    texts = [name for name in frame.columns if recipe.columns.get(str(name)) in ("text", "code")]
    columns = [frame[name] for name in frame.columns.difference(texts, sort=False)]
    numeric = [_fit_number(str(each.name), each.to_numpy(), recipe) for each in columns if each.dtype == np.float64]
    categories = [_fit_category(str(each.name), each, recipe) for each in columns if each.dtype != np.float64]
    own = [category for category in categories if category["name"] in recipe.columns]  # and no parts of dates
    rare = {category["name"]: sorted({*frame[category["name"]]} - {*category["values"]}) for category in own}
    for number in numeric:
        number["missing"] &= number["name"] not in _repeated(dates)
    fitted = {
        **{"recipe": asdict(recipe), "numbers": numeric, "categories": categories, "rare": rare, "dates": dates},
        "texts": [fit_text(str(name), frame[name], str(recipe.columns[str(name)])) for name in texts],
    }
    if not feature_names(fitted):
        raise InputError(f"no column of {', '.join(recipe.columns)} has anything that training rows have in common")
    return fitted


def _fit_date(name: str, moments: pd.Series) -> dict[str, Any]:
    """The first moment, from which days are counted, and the parts that vary; of those, the days have all.

    With enough rows, the nth weekday of the month is one of them.
    """
    first = moments.min() if moments.notna().any() else pd.Timestamp(0)
    parts = date_parts(moments, first.isoformat())
    vary = [part for part in PARTS if len(np.unique(parts[part][~np.isnan(parts[part])])) > 1]
    missing = bool(moments.isna().any())
    found = vary or ["days"]
    if has_nth_weekdays(moments):
        found.append(NTH_WEEKDAY)
    return {"name": name, "first": first.isoformat(), "parts": found, "missing": missing}


def with_dates(frame: pd.DataFrame, dates: list[dict[str, Any]]) -> pd.DataFrame:
    """The frame with a column for each part of each date, such as `sold: month`, in place of the dates.

    Raises:
        InputError: a column has the name of such a part.
    """
    parts: dict[str, np.ndarray | pd.Series] = {}
    for date in dates:
        moments = frame[date["name"]]
        every: dict[str, np.ndarray | pd.Series] = {**date_parts(moments, date["first"])}
        if NTH_WEEKDAY in date["parts"]:
            every[NTH_WEEKDAY] = nth_weekdays(moments)
        parts |= {f"{date['name']}: {part}": every[part] for part in date["parts"]}
    plain = frame.drop(columns=[date["name"] for date in dates])
    for name in sorted({*parts} & {*plain.columns}):
        raise InputError(f"column {name!r}: this is what a part of a date is called here; give it another name")
    return plain.assign(**parts)


def _repeated(dates: list[dict[str, Any]]) -> set[str]:
    """Parts that are missing where the first part of the same date is."""
    return {f"{date['name']}: {part}" for date in dates for part in date["parts"][1:]}


def _fit_number(name: str, values: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    there = values[~np.isnan(values)]
    if not len(there):  # no value in these training rows, so it says nothing
        there = np.zeros(1)
    fitted: dict[str, Any] = {"name": name, "missing": len(there) < len(values), "fill": float(np.median(there))}
    fitted["log"] = recipe.log1p == "skewed" and bool(there.min() >= 0) and _skewness(there) > SKEWED
    values = _filled(values, fitted)
    fitted["clip"] = np.quantile(values, recipe.clip).tolist()
    if fitted["clip"]:
        values = values.clip(*fitted["clip"])
    return fitted | _fit_scale(values, recipe.scale)


def _fit_scale(values: np.ndarray, scale: str) -> dict[str, Any]:
    """Centre and width, or quantiles; the width of a column that never varies is 0."""
    if scale == "quantile":
        return {"quantiles": np.quantile(values, np.linspace(0, 1, min(QUANTILES, len(values)))).tolist()}
    low, quarter, centre, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    width = third - quarter or (high - low) / 2  # as in RealMLP, if half of the rows are equal
    if scale == "standard":
        centre, width = values.mean(), values.std()
    if width <= 1e-12 * abs(centre):  # rounding errors of a constant
        width = 0.0
    return {"centre": float(centre), "width": float(width), "smooth": scale == "robust"}


def _fit_category(name: str, values: pd.Series, recipe: Recipe) -> dict[str, Any]:
    counts = values.value_counts()
    common = sorted(counts.index[counts >= recipe.rare])
    return {"name": name, "values": common, "rest": len(common) < len(counts)}


def transform(frame: pd.DataFrame, fitted: dict[str, Any]) -> np.ndarray:
    """The matrix for rows of `columns_of`, float32, (N, number of `feature_names`)."""
    frame = with_dates(frame, fitted.get("dates", []))  # older checkpoints have neither dates nor texts
    columns = [_transform_number(frame[number["name"]].to_numpy(), number) for number in fitted["numbers"]]
    columns += [np.isnan(frame[number["name"]].to_numpy()) for number in fitted["numbers"] if number["missing"]]
    for category in fitted["categories"]:
        texts = frame[category["name"]].to_numpy()
        columns += [texts == value for value in category["values"]]
        columns += [~frame[category["name"]].isin(category["values"]).to_numpy()] * category["rest"]
    for text in fitted.get("texts", []):
        columns += [*transform_text(frame[text["name"]], text).T]
        columns += [(frame[text["name"]] == "").to_numpy()] * text["missing"]
    return np.stack(columns, axis=1).astype(np.float32)


def _transform_number(values: np.ndarray, fitted: dict[str, Any]) -> np.ndarray:
    values = _filled(values, fitted)
    if fitted["clip"]:
        values = values.clip(*fitted["clip"])
    if "quantiles" in fitted:
        return _to_normal(values, np.array(fitted["quantiles"]))
    if not fitted["width"]:
        return np.zeros(len(values))
    values = (values - fitted["centre"]) / fitted["width"]
    return values / np.sqrt(1 + (values / SMOOTH) ** 2) if fitted["smooth"] else values.clip(-1e6, 1e6)


def _filled(values: np.ndarray, fitted: dict[str, Any]) -> np.ndarray:
    values = np.where(np.isnan(values), fitted["fill"], values)
    # New rows may be below 0 although no training row was: there the logarithm continues as its mirror image.
    return np.sign(values) * np.log1p(np.abs(values)) if fitted["log"] else values


def _to_normal(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Maps to a normal distribution; equal quantiles get the middle of their probabilities, as in scikit-learn."""
    if quantiles[0] == quantiles[-1]:
        return np.zeros(len(values))
    probabilities = np.linspace(0, 1, len(quantiles))
    upper = np.interp(values, quantiles, probabilities)
    lower = -np.interp(-values, -quantiles[::-1], -probabilities[::-1])
    middle = (upper + lower) / 2
    middle = np.where(values <= quantiles[0], 0.0, np.where(values >= quantiles[-1], 1.0, middle))
    return torch.special.ndtri(torch.from_numpy(middle.clip(TAIL, 1 - TAIL))).numpy()


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    variance = (centred**2).mean()
    return float((centred**3).mean() / variance**1.5) if variance > 0 else 0.0


def transform_some(
    frame: pd.DataFrame, fitted: dict[str, Any], names: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the matrix that come from those of the table or derived ones with these names.

    Returns:
        Their values, (N, F'), and where they are in the whole matrix, (F',).
    """
    parts = {f"{date['name']}: {part}": date["name"] for date in fitted.get("dates", []) for part in date["parts"]}
    kept = {
        kind: [each for each in fitted.get(kind, []) if parts.get(each["name"], each["name"]) in names]
        for kind in ("numbers", "categories", "texts", "dates")
    }
    whole, some = _entries(fitted), _entries({**fitted, **kept})
    places = np.array([whole.index(entry) for entry in some], dtype=np.int64)
    if not len(places):
        return np.zeros((len(frame), 0), np.float32), places
    return transform(frame, {**fitted, **kept}), places


def _entries(fitted: dict[str, Any]) -> list[tuple[str, str]]:
    """The kind and the meaning of each column of the matrix; a text and a category may have the same meaning."""
    numbers = len(fitted["numbers"]) + sum(number["missing"] for number in fitted["numbers"])
    categories = sum(len(category["values"]) + category["rest"] for category in fitted["categories"])
    names = feature_names(fitted)
    kinds = ["number"] * numbers + ["category"] * categories
    kinds += ["text"] * (len(names) - len(kinds))
    return list(zip(kinds, names, strict=True))


def feature_names(fitted: dict[str, Any]) -> list[str]:
    """The meaning of each column of the matrix."""
    return list(_names(fitted))


def _names(fitted: dict[str, Any]) -> Iterator[str]:
    yield from (number["name"] for number in fitted["numbers"])
    yield from (f"{number['name']} missing" for number in fitted["numbers"] if number["missing"])
    for category in fitted["categories"]:
        yield from (f"{category['name']}={value}" for value in category["values"])
        yield from [f"{category['name']}: other"] * category["rest"]
    for text in fitted.get("texts", []):
        yield from (f"{text['name']}: {gram!r}" for gram in text["grams"])
        yield from [f"{text['name']} missing"] * text["missing"]
