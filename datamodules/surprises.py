"""How new rows are unlike the training rows: values that are missing or unseen though no training row had that."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from datamodules.column_kinds import notes_on_rows
from datamodules.tables import Table

MEDIAN = "the median of the training rows, which miss none, is taken"


def surprises(table: Table, fitted: dict[str, Any]) -> dict[tuple[str, str], str]:
    """A line for each column and kind of surprise, with the number of rows that have it and the first of them.

    Args:
        fitted: the result of `preprocessing.fit`.
    """
    columns = fitted["recipe"]["columns"]
    lines: dict[tuple[str, str], str] = {}
    for number in fitted["numbers"]:
        if number["name"] in columns:  # and not derived from others
            lines |= _named(table, number["name"], _of_number(table, number, fitted["recipe"]))
    for category in fitted["categories"]:
        if category["name"] in columns:  # and no part of a date
            lines |= _named(table, category["name"], _of_category(table, category, fitted.get("rare")))
    for date in fitted.get("dates", []):
        lines |= _named(table, date["name"], _of_others(table, date, MEDIAN))
    for text in fitted.get("texts", []):
        lines |= _named(table, text["name"], _of_others(table, text, "taken as a text without words"))
    for line in notes_on_rows(table, columns):
        lines["", "empty"] = f"{table.source}: {line}"
    return lines


Surprise = tuple[str, pd.Series, str]  # its kind, the rows' values, and what they are taken for


def _named(table: Table, name: str, found: Iterator[Surprise]) -> dict[tuple[str, str], str]:
    return {
        (
            name,
            kind,
        ): f"{table.source}, column {name!r}: {len(cells)} {'value' if len(cells) == 1 else 'values'} {kind},"
        f" first {cells.iloc[0]!r} in line {cells.index[0]}; {becomes}"
        for kind, cells, becomes in found
        if len(cells)
    }


def _of_number(table: Table, number: dict[str, Any], recipe: dict[str, Any]) -> Iterator[Surprise]:
    cells, kind = table.cells[number["name"]], recipe["columns"][number["name"]]
    missing = cells.isin(table.missing)
    levels = [] if isinstance(kind, str) else kind
    missing &= ~cells.isin(levels)
    if levels:
        yield "that are none of its levels", cells[~missing & ~cells.isin(levels)], "taken as missing"
    if not number["missing"] and number["name"] not in recipe["zeros"] and "NA" not in levels:
        yield "missing", cells[missing], MEDIAN


def _of_others(table: Table, fitted: dict[str, Any], becomes: str) -> Iterator[Surprise]:
    cells = table.cells[fitted["name"]]
    if not fitted["missing"]:
        yield "missing", cells[cells.isin(table.missing)], becomes


def _of_category(table: Table, category: dict[str, Any], rare: dict[str, list[str]] | None) -> Iterator[Surprise]:
    """`rare` is None for older checkpoints, which do not know which categories were rare."""
    cells = table.cells[category["name"]]
    missing, known = cells.isin(table.missing), [*category["values"], *(rare or {}).get(category["name"], [])]
    becomes = "taken as one of the rare categories" if category["rest"] else "taken as none of the categories"
    unseen = "that training has not seen"
    if rare is None and category["rest"]:
        unseen += ", or seldom"
    yield unseen, cells[~missing & ~cells.isin(known)], becomes
    if "" not in known and not (rare is None and category["rest"]):
        yield "missing, as in no training row", cells[missing], becomes
