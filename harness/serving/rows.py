"""What the page shows of a table's model: a field for each column, and what the row in them is predicted to be."""

import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from basics.errors import InputError
from basics.terminal import rough_number
from datamodules.dates import CLOCKS, as_clock
from datamodules.new_rows import one_row
from datamodules.tables import Kind
from datamodules.written_numbers import COMMA, SWAPPED, parses
from harness.runs.layout import COLUMNS, run_of
from harness.tasks.decisions import LIKELIEST, Decision
from harness.tasks.prediction_files import predicted_columns
from harness.tasks.row_prediction import predict_rows
from harness.tasks.table_models import RowModel


class RowAnswers:
    """Answers by a model of rows, or by the mean of a run's folds."""

    def __init__(self, checkpoint: Path, models: Sequence[RowModel], decision: Decision = LIKELIEST) -> None:
        self.models, self.fitted, self.decision = models, models[0].hparams["preprocessing"], decision
        several = f", the mean of {len(models)} models" if len(models) > 1 else ""
        text = f"{models[0].hparams['net']}{several}. Fill in a row."
        fields = fields_of(self.fitted, _examples(run_of(checkpoint) / COLUMNS))
        self.about: Mapping[str, Any] = {"title": self.fitted["target"], "text": text, "fields": fields}

    def answer(self, body: bytes) -> dict[str, Any]:
        said, values, notes = predict_rows(self.models, partial(one_row, _cells(body)))
        told: dict[str, Any] = {"notes": notes, "pictures": []}
        if classes := said.fitted.get("labels") or said.fitted["classes"]:
            if self.decision.line:
                label = classes[self.decision.of(values)[0]]
                told["notes"] = [f"Taken as {label}: {self.decision.line}.", *notes]
            shares = zip(classes, values[0].tolist(), strict=True)
            return {**told, "shares": sorted(shares, key=lambda each: -each[1])}
        ((_, numbers),) = predicted_columns(said.fitted["target"], values, said.fitted)
        return {**told, "number": rough_number(float(numbers[0]))}


def _cells(body: bytes) -> dict[str, str]:
    """The row: a text for each column."""
    try:
        cells = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this row: is not JSON ({error})") from error
    if not isinstance(cells, dict) or not all(isinstance(text, str) for text in cells.values()):
        raise InputError("this row: is not a text for each column")
    return cells


def _examples(path: Path) -> dict[str, str]:
    """The most frequent value of each column of the training table; none if the run's own file is not there."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["column"]: row["example"] for row in csv.DictReader(file)}


def fields_of(fitted: dict[str, Any], examples: dict[str, str]) -> list[dict[str, Any]]:
    """The fields of the page: `name`, `kind`, `options` if these are all there are, and `value`, a usual one.

    Args:
        fitted: the preprocessing in a checkpoint.
        examples: the most frequent value of each column.
    """
    medians = {number["name"]: number["fill"] for number in fitted["numbers"]}
    rare = fitted.get("rare", {})
    choices = {each["name"]: [*each["values"], *rare.get(each["name"], [])] for each in fitted["categories"]}
    fields = []
    for name, kind in fitted["recipe"]["columns"].items():
        options = choices.get(name, []) if isinstance(kind, str) else kind
        usual = examples.get(name, options[0] if options else "")
        if isinstance(kind, str) and name in medians:
            usual = written(medians[name], kind) or usual
        shown = kind if isinstance(kind, str) else f"from {kind[0]} to {kind[-1]}"
        fields.append({"name": name, "kind": shown, "value": usual, "options": _with_missing(options)})
    return fields


def _with_missing(options: Sequence[str]) -> list[str]:
    """The choices, with the empty one for a value that is not known; none if there are no choices."""
    return [*dict.fromkeys([*options, ""])] if options else []


def written(value: float, kind: Kind) -> str:
    """A number, or hours, as the column's others are written (see `written_numbers`); "" if that is no such number."""
    if kind in CLOCKS:
        return as_clock(value)
    base, comma, _ = str(kind).partition(COMMA)
    form = base.removesuffix(", ")
    text = f"{value:.2f}".removesuffix(".00") if form.startswith("currency ") else f"{value:.10g}"
    for start, pattern in {"percent": "{}%", "currency ": "{1}{0}", "unit ": "{0} {1}"}.items():
        if form.startswith(start):
            text = pattern.format(text, form.removeprefix(start))
    text = text.translate(SWAPPED) if comma else text
    return text if parses(text, str(kind)) else ""
