"""CSV files, read strictly: everything is text until its column says what it is, and nothing doubtful is let through.

A byte-order mark, CRLF line ends, spaces around values and blank lines at the end are accepted. Any other departure
from a table of equally long rows is an InputError that names the file, the line, the column and the value.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from basics.errors import InputError, reading
from datamodules.written_numbers import form_of, plain

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")  # "None" is left out: it is a word in house-prices
LARGEST = 1e30  # number; sums of squares stay finite, and so does float32
MOSTLY = 0.5  # share of numbers above which a column is numeric, and its other values are mistakes
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() takes "1_000" and "nan" too

# What a column holds: "number", or another form of numbers (see `written_numbers`), "category", or an ordinal's
# levels, the lowest first. A level "NA" is a missing value.
Kind = str | list[str]


class Table(NamedTuple):
    """A CSV file as text."""

    source: str  # its name, for messages
    cells: pd.DataFrame  # stripped text; the index is the line in the file, the first being 1


def read_csv(path: Path) -> Table:
    """Reads a comma-separated file in UTF-8 whose first line names the columns.

    Raises:
        MissingFileError: it is not there.
        InputError: it is no such file, a row is too short or too long, or a column's name is empty or occurs twice.
    """
    records = _records(str(path), _text(path))
    if not records:
        raise InputError(f"{path}: an empty file")
    (_, header), *rows = records
    _check_separator(str(path), header)
    _check_no_data(str(path), header, [row for _, row in rows])
    _check_names(str(path), header)
    for line, row in rows:
        if len(row) != len(header):
            raise _wrong_length(str(path), header, row, line)
    if not rows:
        raise InputError(f"{path}: a header and no rows")
    cells = pd.DataFrame([row for _, row in rows], columns=header, index=[line for line, _ in rows], dtype=object)
    return Table(str(path), cells)


def _wrong_length(source: str, header: list[str], row: list[str], line: int) -> InputError:
    column, what = (header[len(row)], "short") if len(row) < len(header) else (header[-1], "long")
    counts = f"{len(row)} of {len(header)} columns"
    return fault(source, f"ends a row that is too {what}: {counts}", line, column, row[-1] if row else "")


def fault(source: str, reason: str, line: int, column: str, value: str) -> InputError:
    """The error for one value of a file."""
    shown = value if len(value) <= 40 else value[:37] + "..."
    return InputError(f"{source}, line {line}, column {column!r}: {shown!r} {reason}")


def _text(path: Path) -> str:
    with reading(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, before = content[: error.start].count(b"\n") + 1, content[: error.start].rpartition(b"\n")[2]
        near = (before[-20:] + content[error.start : error.start + 10]).decode("latin-1").partition("\n")[0]
        raise InputError(f"{path}, line {line}, after {before.count(b',')} commas: {near!r} is not UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte; not a text file")
    return text


def _records(source: str, text: str) -> list[tuple[int, list[str]]]:
    """The records, each with the line it begins in, without blank lines at the end."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    records, line = [], 1
    try:
        for record in reader:
            records.append((line, [cell.strip() for cell in record]))
            line = reader.line_num + 1
    except csv.Error as error:
        begin = next(iter(text.splitlines()[line - 1 : line]), "")
        raise InputError(f"{source}, line {line}: {begin[:40]!r} has broken quotes ({error})") from None
    while records and not any(records[-1][1]) and len(records[-1][1]) < 2:
        records.pop()
    return records


def _check_separator(source: str, header: Sequence[str]) -> None:
    if len(header) == 1 and (other := re.search(r"[;\t|]", header[0])):
        raise InputError(f"{source}, line 1: columns are separated by {other[0]!r}, not by commas: {header[0][:40]!r}")


def _check_names(source: str, header: Sequence[str]) -> None:
    for number, name in enumerate(header, 1):
        if not name:
            raise InputError(f"{source}, line 1: column {number} of {len(header)} has no name: {name!r}")
        if name in header[: number - 1]:
            raise InputError(f"{source}, line 1: column {name!r} is there twice, as number {number} too")


def _check_no_data(source: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raises InputError if the names are a row of data: numbers, or texts that are among their columns' values."""
    numbers = [bool(NUMBER.fullmatch(name)) for name in header]
    numbered = all(numbers) and [float(name) for name in header] == list(range(len(header)))  # as pandas and numpy do
    seen = [{row[place] for row in rows if place < len(row)} for place in range(len(header))]
    alike = [number or name in values for number, name, values in zip(numbers, header, seen, strict=True)]
    fractions = [name for name, number in zip(header, numbers, strict=True) if number and "." in name]
    if fractions or (all(alike) and not numbered and rows):
        name = fractions[0] if fractions else header[0]
        raise InputError(
            f"{source}, line 1: {name!r} as the name of column {list(header).index(name) + 1}: this is a row of data;"
            " put a line with the columns' names above it"
        )


def check_columns(table: Table, needed: Collection[str], allowed: Collection[str] | None = ()) -> None:
    """Raises InputError if a `needed` column is missing, or if one is neither needed nor `allowed`.

    Args:
        allowed: columns that mean something else; None for any others.
    """
    there = list(table.cells.columns)
    others = [name for name in there if name not in needed]
    unknown = [] if allowed is None else [name for name in others if name not in allowed]
    for name in needed:
        if name not in there:
            near = _nearest(name, others if allowed is None else unknown)
            hint = f"; is it column {there.index(near) + 1}, {near!r}?" if near else ""
            raise InputError(f"{table.source}, line 1: column {name!r} is missing{hint}")
    if unknown:
        number = there.index(unknown[0]) + 1
        raise InputError(f"{table.source}, line 1: column {number}, {unknown[0]!r}, is not known here; remove it")


def _nearest(name: str, others: Sequence[str]) -> str | None:
    """The one of which `name` may be another spelling."""
    spellings = {other.casefold(): other for other in others}
    near = get_close_matches(name.casefold(), spellings, n=1, cutoff=0.7)  # at 0.5, "age" is near "name"
    return spellings[near[0]] if near else None


def check_filled(table: Table, columns: Collection[str]) -> None:
    """Raises InputError if one of the `columns` has no value in any row."""
    for name in columns:
        if table.cells[name].isin(MISSING).all():
            first = table.cells[name].iloc[0]
            raise InputError(f"{table.source}, {_lines(table)}, column {name!r}: {first!r}, and no value in any row")


def check_levels(table: Table, kinds: Mapping[str, Kind]) -> None:
    """Raises InputError if an ordinal has a value that is none of its levels. (In new rows that counts as missing.)"""
    for name, levels in kinds.items():
        if not isinstance(levels, str):
            cells = table.cells[name]
            for line in cells.index[~cells.isin([*levels, *MISSING])][:1]:
                raise fault(table.source, f"is none of the levels {', '.join(levels)}", line, name, cells[line])


def check_unique(table: Table, column: str) -> None:
    """Raises InputError if a value of the `column` is missing or occurs twice."""
    values = table.cells[column]
    for line in values.index[values.isin(MISSING)][:1]:
        raise fault(table.source, "is missing", line, column, values[line])
    for line in values.index[values.duplicated()][:1]:
        first = values.index[values == values[line]][0]
        raise fault(table.source, f"is in line {first} already", line, column, values[line])


def typed(table: Table, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """The columns as float64, NaN if missing, and categories as text, "" if missing.

    An ordinal becomes the number of its level, or NaN for a value that is not among them.

    Raises:
        InputError: a value of a numeric column is no number.
    """
    columns = {}
    for name, kind in kinds.items():
        cells = table.cells[name]
        if kind == "category":
            columns[name] = cells.where(~cells.isin(MISSING), "")
        elif isinstance(kind, str):
            columns[name] = numbers(table, name, kind)
        else:
            levels = {level: float(number) for number, level in enumerate(kind)}
            levels |= dict.fromkeys(MISSING, levels.get("NA", np.nan))
            columns[name] = cells.map(levels).astype(np.float64)
    return pd.DataFrame(columns, index=table.cells.index)


def numbers(table: Table, column: str, form: str = "number") -> pd.Series:
    """The column as float64, NaN if missing.

    Args:
        form: number, or one of `written_numbers`.

    Raises:
        InputError: a value is not a number, or not one that can be computed with.
    """
    cells = table.cells[column]
    values = {text: _number(text, form) for text in cells.unique()}
    bad = cells.map(lambda text: isinstance(values[text], str))
    for line in cells.index[bad][:1]:
        raise fault(table.source, str(values[cells[line]]), line, column, cells[line])
    return cells.map(values).astype(np.float64)


def complete_numbers(table: Table, column: str) -> np.ndarray:
    """The column as float64, (N,).

    Raises:
        InputError: a value is missing or not a number.
    """
    cells = table.cells[column]
    for line in cells.index[cells.isin(MISSING)][:1]:
        raise fault(table.source, "is missing; each row needs a number", line, column, cells[line])
    return numbers(table, column).to_numpy(copy=True)  # pandas' own array is read-only


def _number(text: str, form: str = "number") -> float | str:
    """The number, or what is wrong with it."""
    if text in MISSING:
        return np.nan
    if form != "number":
        value = _number(plain(text, form))
        return f"is not a number written as the column's others are: {form}" if isinstance(value, str) else value
    if NUMBER.fullmatch(text):
        value = float(text)
        return value if abs(value) <= LARGEST else f"is larger than {LARGEST:g}"
    if looks_numeric(text):
        return "is not finite"
    if NUMBER.fullmatch(text.replace(",", "")):
        return "is not a number; write it without commas"
    return "is not a number" + ("; write it as a plain one" if form_of(text) else "")


def looks_numeric(text: str) -> bool:
    return bool(NUMBER.fullmatch(text)) or text.lower().lstrip("+-") in ("inf", "infinity")


def number_target(table: Table, column: str, positive: bool = False) -> np.ndarray:
    """The target of a regression, float64.

    Args:
        positive: it must be, because its logarithm is wanted.

    Raises:
        InputError: a value is missing, not a number or not `positive`, or all are the same.
    """
    cells = table.cells[column]
    for line in cells.index[cells.isin(MISSING)][:1]:
        raise fault(table.source, "is missing; each row needs a target", line, column, cells[line])
    values = numbers(table, column)
    for line in values.index[values <= 0][: int(positive)]:
        raise fault(table.source, "is not above 0, and its logarithm is to be learned", line, column, cells[line])
    if values.nunique() == 1:
        _refuse_constant(table, column)
    return values.to_numpy(copy=True)  # pandas' own array is read-only


def class_target(table: Table, column: str, similar_labels: str = "refuse") -> tuple[np.ndarray, list[str]]:
    """The target of a classification: the number of each row's class, and the classes' names, sorted.

    Labels are text: `1` and `01` are two classes.

    Args:
        similar_labels: what to do with labels that differ only in case, outer dots or spaces: refuse them; merge them
            into the most frequent spelling; or keep them as classes of their own.

    Raises:
        InputError: a value is missing, labels are similar, or all are the same.
    """
    cells = table.cells[column]
    for line in cells.index[cells.isin(MISSING)][:1]:
        raise fault(table.source, "is missing; each row needs a target", line, column, cells[line])
    for usual, *others in similar(cells):
        if similar_labels == "refuse":
            line = cells.index[cells == others[0]][0]
            reason = f"differs from {usual!r} in case, dots or blanks only; write them alike, or say whether to merge"
            raise fault(table.source, f"{reason} or keep them by similar_labels", line, column, others[0])
        if similar_labels == "merge":
            cells = cells.replace(others, usual)
    if cells.nunique() == 1:
        _refuse_constant(table, column)
    classes = sorted(cells.unique())
    return np.searchsorted(np.array(classes, dtype=object), cells.to_numpy()), classes


def similar(cells: pd.Series) -> list[list[str]]:
    """Groups of values that differ only in case, outer dots or spaces, the most frequent of each group first."""
    groups: dict[str, list[str]] = {}
    for text in cells.value_counts().index:
        key = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip(" .").casefold()
        groups.setdefault(key, []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def _refuse_constant(table: Table, column: str) -> None:
    value = table.cells[column].iloc[0]
    raise InputError(f"{table.source}, {_lines(table)}, column {column!r}: always {value!r}; nothing to learn")


def _lines(table: Table) -> str:
    return f"lines {table.cells.index[0]} to {table.cells.index[-1]}"
