"""What the columns of a table hold, judged by their values, and a line on each column about which there is doubt."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from basics.amounts import amount
from datamodules.dates import CLOCKS, compact_date_kind, confusable, date_kind, dates_flag, moments
from datamodules.tables import Kind, Table, numbers, similar
from datamodules.texts import text_kind
from datamodules.written_numbers import COMMA, MOSTLY, decimal_of, looks_numeric, number_form

TOLD = 0.05  # share of training rows with rare categories above which a line says so
ID_NAME = re.compile(r"(.*[_ .-])?(id|ids|index|idx|uuid|guid|row|rownum)|.*[a-z]I[dD]|ID|Unnamed: 0")
NUMBERING = re.compile(r"c1|line|no\.?|nr\.?|number|obs|observation|record", re.IGNORECASE)  # c1 had no name
FEWEST = 10  # rows, below which it may be chance that all are different
NAMED = 5  # columns that a line names


def find_decimal(table: Table) -> str:
    """ "," if that is the decimal mark of most columns that show theirs; else "", as a column may have either."""
    return "," if shown_decimal(table) == "," else ""


def shown_decimal(table: Table) -> str:
    """The decimal mark of most columns that show theirs; "" if none does, or as many show the other."""
    counts = (table.filled(name).value_counts() for name in table.cells.columns)
    return decimal_of(counts, semicolons=table.separator == ";")


def infer_kinds(
    table: Table,
    columns: Collection[str],
    categories: Collection[str] = (),
    rare: int = 1,
    dates: Mapping[str, str] | None = None,
) -> dict[str, Kind]:
    """Says what each column is: numbers, in the form that most have, dates, times, categories or texts.

    Args:
        categories: columns whose values are names, whatever they look like.
        rare: categories with fewer rows than this share one place; a column that would mostly be lost so is a text.
        dates: the format of the days in a column.
    """
    kinds: dict[str, Kind] = {}
    for name in columns:
        cells = table.filled(name)
        counts, formats = cells.value_counts(), (dates or {}).get(name)
        if name in categories:
            kinds[name] = "category"
        elif formats:
            kinds[name] = date_kind([], formats.split("|"))
        else:
            kinds[name] = _kind_of(cells, counts, table.decimal, max(rare, 2))
    return kinds


def _kind_of(cells: pd.Series, counts: pd.Series, decimal: str, rare: int) -> str:
    texts = counts.index.tolist()
    if form := number_form(counts, decimal):
        return (compact_date_kind(texts) if form == "number" else "") or form
    if kind := date_kind(texts):
        return kind
    if counts[counts < rare].sum() > MOSTLY * counts.sum():  # most of it would be lost among the rare
        return text_kind(cells, distinct=counts.max() == 1) or "category"
    return "category"


def idle_columns(table: Table, kinds: Mapping[str, Kind]) -> dict[str, str]:
    """The columns that say nothing of the target, and why."""
    idle = {name: _idle(table, name, kind) for name, kind in kinds.items()}
    return {name: reason for name, reason in idle.items() if reason}


def _idle(table: Table, name: str, kind: Kind) -> str:
    cells = table.filled(name)
    if cells.empty:
        return "no value in any row"
    if cells.nunique() < len(cells) or len(cells) < FEWEST:
        return ""
    if kind == "category":
        return "a text of its own in each row"
    if kind != "number" or len(cells) < len(table.cells) or not cells.str.fullmatch(r"\d{1,30}").all():
        return ""
    numbering = bool((np.diff([int(text) for text in cells]) == 1).all())  # Python's integers: an id may have 20 digits
    # By another name it may be time, or whatever else has been measured step by step.
    if numbering and (ID_NAME.fullmatch(name) or NUMBERING.fullmatch(name)):
        return "it numbers the rows"
    if ID_NAME.fullmatch(name):
        return "a number of its own in each row, and the name of an id"
    return "a number of its own in each row, and no name" if name in table.nameless else ""


def notes_on(table: Table, kinds: Mapping[str, Kind]) -> list[str]:
    """A line on each column that could have been read in several ways, or that has similar values."""
    notes = []
    commas = {name: str(kind) for name, kind in kinds.items() if COMMA in kind}
    if commas:
        name, form = next(iter(commas.items()))
        text = next(iter(text for text in table.filled(name) if "," in text), table.filled(name).iloc[0])
        read = numbers(table, name, form)[table.cells[name] == text].iloc[0]
        notes.append(f"{_named(commas)}: the decimal mark is a comma, {text!r} is {read:g}; --decimal . says otherwise")
    for name, kind in kinds.items():
        notes += [f"column {name!r}: {note}" for note in _on_column(table, name, kind)]
    return notes


def _named(columns: Iterable[str]) -> str:
    """`column 'a'`, or `columns 'a', 'b' and 3 more`."""
    names = [repr(name) for name in columns]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"column{'s' * (len(names) > 1)} {', '.join(names[:NAMED])}{more}"


def _on_column(table: Table, name: str, kind: Kind) -> Iterator[str]:
    cells = table.filled(name)
    if not isinstance(kind, str):
        return
    if kind == "category":
        yield from _on_categories(cells)
    elif kind in ("text", "code"):
        grams = "of its words" if kind == "text" else "of two or three letters or digits"
        yield f"{cells.nunique():,} texts, such as {cells.iloc[0][:40]!r}, are read as n-grams {grams}"
    elif kind.startswith("date "):
        yield from _on_dates(cells, kind, name)
    elif kind not in CLOCKS:
        yield from _on_numbers(table, name, kind)


def _on_numbers(table: Table, name: str, form: str) -> Iterator[str]:
    cells = table.filled(name)
    written = (text for text in cells.unique() if form != "number" and COMMA not in form and not looks_numeric(text))
    for text in list(written)[:1]:
        read = numbers(table, name, form)[table.cells[name] == text].iloc[0]
        yield f"{text!r} is read as {read:g} ({form})"
    padded = cells[cells.str.fullmatch(r"0\d+")]
    for line in padded.index[:1]:
        yield f"{cells[line]!r} is read as {int(cells[line])}; a number that is a name belongs among the --categories"


def _on_dates(cells: pd.Series, kind: str, name: str) -> Iterator[str]:
    first = moments(cells, kind).dropna()
    if first.empty:
        return
    text, day = cells[first.index[0]], f"{first.iloc[0]:%Y-%m-%d}"
    said = f"{text!r} is read as {day} ({kind})"
    if other := confusable(cells.unique().tolist(), kind):
        said += f", but no day above 12 tells day and month apart; {dates_flag(name, other)} is the other order"
    yield said


def _on_categories(cells: pd.Series) -> Iterator[str]:
    for usual, *others in similar(cells)[:1]:
        yield f"{others[0]!r} and {usual!r} differ in case, dots or blanks only, and are two categories"


def notes_on_rows(table: Table, columns: Collection[str]) -> list[str]:
    """A line on the rows that have no value in any of the `columns`."""
    empty = table.cells.index[table.cells[list(columns)].isin(table.missing).all(axis=1)]
    rows = amount(len(empty), "row has", "rows have")
    return [f"{rows} no value in any feature, the first in line {line}" for line in empty[:1]]


def notes_on_rare(frame: pd.DataFrame, rare: Mapping[str, Collection[str]]) -> Iterator[str]:
    """A line on each column in which many rows of `frame`, the training rows, have `rare` categories."""
    for name, texts in rare.items():
        cells = frame[name][frame[name].isin(texts)]
        if len(cells) > TOLD * len(frame):
            rows = f"{len(cells):,} of {len(frame):,} training rows {'has' if len(cells) == 1 else 'have'}"
            yield f"column {name!r}: {rows} rare categories, such as {max(cells)!r}, which are taken as one"


def notes_on_repeated(
    table: Table, columns: Sequence[str], train: np.ndarray, test: np.ndarray, fold: bool = False
) -> list[str]:
    """A line on test rows whose values in the `columns`, the target's included, are those of a training row.

    Args:
        fold: the rows are those that a fold holds out.
    """
    keys = pd.util.hash_pandas_object(table.cells[list(columns)], index=False).to_numpy()
    again = test[np.isin(keys[test], keys[train])]
    return notes_on_copies(table.cells.index[again].tolist(), len(test), fold)


def notes_on_copies(lines: Sequence[int], count: int, fold: bool = False) -> list[str]:
    """The same for test rows that are known to be copies, of `count` in all."""
    if not lines:
        return []
    of = f"of {count:,} {'held-out' if fold else 'test'} rows"
    rows = amount(len(lines), f"{of} is a copy of a training row", f"{of} are copies of training rows")
    flatters = "it flatters" if len(lines) == 1 else "they flatter"
    return [f"{rows}, the first in line {lines[0]}; {flatters} the figures of the {'folds' if fold else 'test'}"]
