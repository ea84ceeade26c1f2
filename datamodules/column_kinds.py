"""What the columns of a table hold, judged by their values, and a line on each column about which there is doubt."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import pandas as pd

from datamodules.tables import MISSING, MOSTLY, Kind, Table, fault, looks_numeric, numbers, similar
from datamodules.written_numbers import DATE, form_of, unit_of

TOLD = 0.05  # share of training rows with rare categories above which a line says so


def infer_kinds(
    table: Table, columns: Collection[str], categories: Collection[str] = (), rare: int = 1
) -> dict[str, Kind]:
    """Says which columns are numbers, and in which form: those that are mostly numbers, except `categories`.

    Args:
        categories: columns whose values are names, whatever they look like.
        rare: categories with fewer rows than this share one place.

    Raises:
        InputError: a column that is not among the `categories` has dates, or text that would mostly be lost as rare;
            or a column has a different text in every row.
    """
    kinds: dict[str, Kind] = {}
    for name in columns:
        counts = _filled(table, name).value_counts()
        kinds[name] = "category" if name in categories else _kind_of(counts)
        if kinds[name] == "category" and (reason := _loss(counts, max(rare, 2), told=name in categories)):
            cells = _filled(table, name)
            text = next(text for text in cells if counts[text] == counts.min())
            raise fault(table.source, reason, cells.index[cells == text][0], name, text)
    return kinds


def _filled(table: Table, name: str) -> pd.Series:
    return table.cells[name][~table.cells[name].isin(MISSING)]


def _kind_of(counts: pd.Series) -> str:
    forms: Counter[str] = Counter()  # rows
    for text, count in zip(counts.index.tolist(), counts.tolist(), strict=True):
        forms["number" if looks_numeric(text) else form_of(text)] += count
    del forms[""]
    if forms["number"] > MOSTLY * counts.sum():
        return "number"  # values written differently are mistakes
    written = Counter({form: rows for form, rows in forms.items() if form != "number"})
    return written.most_common(1)[0][0] if written and forms.total() > MOSTLY * counts.sum() else "category"


def _loss(counts: pd.Series, rare: int, told: bool) -> str:
    """Why a text is useless as a category; "" if it is not.

    Args:
        told: the user asked for categories.
    """
    rows = counts.sum()
    if rows > 1 and counts.max() == 1:
        return "as in no other row: a text of its own for each; leave the column out"
    if told:
        return ""
    if counts[[bool(DATE.fullmatch(text)) for text in counts.index]].sum() > MOSTLY * rows:
        return (
            "is a date or a time, which is not read: write it as numbers, such as years and months, leave the column"
            " out, or name it among the categories"
        )
    if (lost := counts[counts < rare].sum()) > MOSTLY * rows:
        unit = "a number with a unit; write the number alone, or " if unit_of(counts.index[-1]) else ""
        return (
            f"is one of the texts that fewer than {rare} rows share, as {lost} of {rows} do: {unit}leave the column"
            " out, or name it among the categories"
        )
    return ""


def notes_on(table: Table, kinds: Mapping[str, Kind]) -> list[str]:
    """A line on each column that could have been read in several ways, or that has similar values."""
    notes = []
    for name, kind in kinds.items():
        cells = _filled(table, name)
        said = _on_categories(cells) if kind == "category" else _on_numbers(table, name, cells, str(kind))
        notes += [f"column {name!r}: {note}" for note in said]
    return notes


def _on_numbers(table: Table, name: str, cells: pd.Series, form: str) -> Iterator[str]:
    written = cells[[bool(form_of(text)) for text in cells]] if form != "number" else cells[:0]
    for line in written.index[:1]:
        yield f"{cells[line]!r} is read as {numbers(table, name, form)[line]:g} ({form})"
    padded = cells[cells.str.fullmatch(r"0\d+")]
    for line in padded.index[:1]:
        yield f"{cells[line]!r} is read as {int(cells[line])}; a number that is a name belongs among the categories"


def _on_categories(cells: pd.Series) -> Iterator[str]:
    units = Counter(unit_of(text) for text in cells)
    del units[""]
    unit, rows = max(units.items(), key=lambda pair: pair[1], default=("", 0))
    texts = [text for text in cells.unique() if unit and unit_of(text) == unit]
    if rows > MOSTLY * len(cells) and len(texts) > 2:
        yield f"{texts[0]!r} is a name like any other; write numbers without the unit {unit!r} for their order to count"
    for usual, *others in similar(cells)[:1]:
        yield f"{others[0]!r} and {usual!r} differ in case, dots or blanks only, and are two categories"


def notes_on_rows(table: Table, columns: Collection[str]) -> list[str]:
    """A line on the rows that have no value in any of the `columns`."""
    empty = table.cells.index[table.cells[list(columns)].isin(MISSING).all(axis=1)]
    return [f"{len(empty)} rows have no value in any feature, the first in line {line}" for line in empty[:1]]


def notes_on_rare(frame: pd.DataFrame, rare: Mapping[str, Collection[str]]) -> Iterator[str]:
    """A line on each column in which many rows of `frame`, the training rows, have `rare` categories."""
    for name, texts in rare.items():
        cells = frame[name][frame[name].isin(texts)]
        if len(cells) > TOLD * len(frame):
            rows = f"{len(cells)} of {len(frame)} training rows"
            yield f"column {name!r}: {rows} have rare categories, such as {max(cells)!r}, which count as one"
