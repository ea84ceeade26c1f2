"""Tables of text, read strictly: their columns say what they are, and nothing doubtful is let through.

What is wrong is an InputError that names the file, and for each value its line and column: all of them at once.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from shlex import quote
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basics.errors import InputError
from datamodules.dates import CLOCKS, moments
from datamodules.written_numbers import MOSTLY, NUMBER, form_of, looks_numeric, number_form, plain

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")  # "None" is left out: it is a word in house-prices
LARGEST = 1e30  # number; sums of squares stay finite, and so does float32
MAYBE_LABELS = ("None", "-", "--")  # of the texts for missing values, those that may also name a class
LISTED = 8  # faults of a file, or columns, that an error names
SIMILAR = ("trim", "refuse", "merge", "keep")  # what becomes of labels that are nearly the same
WORDS = ("category", "text", "code")  # the kinds of columns that stay text

# What a column holds: "number", or another form of numbers (see `written_numbers`); "category"; "text" or "code" (see
# `texts`); "date" with its formats, "time" or "duration" (see `dates`); or an ordinal's levels, the lowest first. A
# level "NA" is a missing value.
Kind = str | list[str]


class Fault(NamedTuple):
    """A value of a file that cannot be used."""

    line: int
    column: str
    value: str
    reason: str  # `is ...`

    def __str__(self) -> str:
        shown = self.value if len(self.value) <= 40 else self.value[:37] + "..."
        return f"line {self.line}, column {self.column!r}: {shown!r} {self.reason}"


class Table(NamedTuple):
    """A file as text."""

    source: str  # its name, for messages
    cells: pd.DataFrame  # stripped text; the index is the line in the file, the first being 1
    missing: tuple[str, ...] = MISSING  # texts that stand for a missing value
    separator: str = ","
    decimal: str = ""  # "," where most numbers have it, "." where somebody has said that they have points
    notes: tuple[str, ...] = ()  # a line on each way in which the file was not a usual one
    faults: tuple[Fault, ...] = ()  # rows too short or too long, not among the cells; to be raised with other faults
    has_flags: bool = False  # whether messages may name --missing
    nameless: tuple[str, ...] = ()  # columns whose names are ours, as the header has none for them

    def filled(self, column: str) -> pd.Series:
        """The values of a column that are not missing."""
        cells = self.cells[column]
        return cells[~cells.isin(self.missing)]

    def hint(self, text: str) -> str:
        """The flag that helps where a text stands for no value."""
        joined = "=" if text.startswith("-") else " "  # else it would be taken for a flag
        return f"; if it is a missing value, --missing{joined}'{text}' says so" if self.has_flags else ""


class FaultyFileError(InputError):
    """Values of a file cannot be used. The message names the first of each kind, and says how many there are."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source, self.faults = source, faults
        alike: dict[tuple[str, ...], list[Fault]] = {}
        for fault in faults:
            alike.setdefault(fault[1:], []).append(fault)  # of all that differ by their line only
        said = [f"{first}{_elsewhere(others)}" for first, *others in list(alike.values())[:LISTED]]
        more = f"; and {len(alike) - LISTED:,} more" if len(alike) > LISTED else ""
        several = f"{source}: {len(faults):,} faults: {'; '.join(said)}{more}"
        super().__init__(several if len(faults) > 1 else f"{source}, {said[0]}")


def _elsewhere(others: Sequence[Fault]) -> str:
    lines = ", ".join(str(fault.line) for fault in others[:3])
    more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    return f" (so in line{'s' * (len(others) > 1)} {lines}{more})" if others else ""


class Faults:
    """Collects what is wrong with one file in several steps, to raise it at once.

    with faults:
        ...                 # a FaultyFileError within is kept
    faults.raise_all()
    """

    def __init__(self, source: str = "", found: Sequence[Fault] = ()) -> None:
        self.source, self.found = source, list(found)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, FaultyFileError):
            return False
        self.source = error.source
        self.found += error.faults
        return True

    def raise_all(self) -> None:
        if self.found:
            raise FaultyFileError(self.source, list(dict.fromkeys(self.found)))


def refuse(table: Table, column: str, wrong: pd.Series, reason: str | Mapping[str, Any]) -> None:
    """Raises FaultyFileError if values of the column are `wrong`, a Series of truth values with the table's index.

    Args:
        reason: what is wrong with all of them, or with each text.
    """
    cells = table.cells[column][wrong.to_numpy(dtype=bool)]
    reasons = dict.fromkeys(cells, reason) if isinstance(reason, str) else reason
    if len(cells):
        values = zip(cells.index.tolist(), cells, strict=True)
        raise FaultyFileError(table.source, [Fault(line, column, text, reasons[text]) for line, text in values])


def check_columns(
    table: Table, needed: Collection[str], allowed: Collection[str] | None = (), apart: Collection[str] = ()
) -> None:
    """Raises InputError if a `needed` column is missing, or if one is neither needed nor `allowed`.

    Args:
        allowed: columns that mean something else; None for any others.
        apart: columns that no `needed` one can be mistaken for.
    """
    there = list(table.cells.columns)
    others = [name for name in there if name not in (*needed, *apart)]
    meant = [name for name in there if name not in apart]
    unknown = [] if allowed is None else [name for name in others if name not in allowed]
    for name in needed:
        if name not in there:
            near = _nearest(name, others if allowed is None else unknown)
            hint = f"is it column {there.index(near) + 1}, {near!r}?" if near else f"there are {_some(meant)}"
            raise InputError(f"{table.source}, line 1: column {name!r} is missing; {hint}")
    if unknown:
        number = there.index(unknown[0]) + 1
        raise InputError(f"{table.source}, line 1: column {number}, {unknown[0]!r}, is not known here; remove it")


def _some(names: Sequence[str]) -> str:
    """The names, or of many the first ones and how many there are besides."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(repr(name) for name in names[:LISTED]) + more


def _nearest(name: str, others: Sequence[str]) -> str | None:
    """The one of which `name` may be another spelling."""
    spellings = {other.casefold(): other for other in others}
    near = get_close_matches(name.casefold(), spellings, n=1, cutoff=0.7)  # at 0.5, "age" is near "name"
    return spellings[near[0]] if near else None


def check_filled(table: Table, columns: Collection[str]) -> None:
    """Raises InputError if one of the `columns` has no value in any row."""
    for name in columns:
        if table.filled(name).empty:
            first = table.cells[name].iloc[0]
            raise InputError(f"{table.source}, {_lines(table)}, column {name!r}: {first!r}, and no value in any row")


def check_levels(table: Table, kinds: Mapping[str, Kind]) -> None:
    """Raises InputError if an ordinal has a value that is none of its levels. (In new rows that counts as missing.)"""
    for name, levels in kinds.items():
        if not isinstance(levels, str):
            known = [*levels, *table.missing]
            refuse(table, name, ~table.cells[name].isin(known), f"is none of the levels {', '.join(levels)}")


def check_unique(table: Table, column: str) -> None:
    """Raises InputError if a value of the `column` is missing or occurs twice."""
    values = table.cells[column]
    refuse(table, column, values.isin(table.missing), "is missing")
    first = dict(zip(reversed(values.tolist()), reversed(values.index.tolist()), strict=True))
    reasons = {text: f"is in line {line} already" for text, line in first.items()}
    refuse(table, column, values.duplicated(), reasons)


def typed(table: Table, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """The columns as float64, NaN if missing, or datetime64, NaT if missing, and those of words as text, "" if missing.

    An ordinal becomes the number of its level, or NaN for a value that is not among them.

    Raises:
        InputError: values of a column are not of its kind; it names those of all columns.
    """
    columns, faults = {}, Faults()
    for name, kind in kinds.items():
        with faults:
            columns[name] = _typed(table, name, kind)
    faults.raise_all()
    return pd.DataFrame(columns, index=table.cells.index)


def _typed(table: Table, name: str, kind: Kind) -> pd.Series:
    cells = table.cells[name]
    if not isinstance(kind, str):
        missing = {text: np.nan for text in table.missing if text not in kind}
        levels = {level: float(number) for number, level in enumerate(kind)}
        return cells.map(dict.fromkeys(missing, levels.get("NA", np.nan)) | levels).astype(np.float64)
    if kind in WORDS:
        return cells.where(~cells.isin(table.missing), "")
    if kind in CLOCKS or kind.startswith("date "):
        values = moments(cells.where(~cells.isin(table.missing), ""), kind)
        reason = f"is no {kind} such as 8:15" if kind in CLOCKS else f"is no date such as the column's others: {kind}"
        reasons = {text: reason + table.hint(text) for text in cells}
        refuse(table, name, values.isna() & ~cells.isin(table.missing), reasons)
        return values
    return numbers(table, name, kind)


def numbers(table: Table, column: str, form: str = "number") -> pd.Series:
    """The column as float64, NaN if missing.

    Args:
        form: number, or one of `written_numbers`.

    Raises:
        InputError: a value is not a number, or not one that can be computed with.
    """
    cells = table.cells[column]
    values = {text: np.nan if text in table.missing else _number(text, form) for text in cells.unique()}
    reasons = {text: f"{reason}{_way_out(table, column, text)}" for text, reason in values.items()}
    refuse(table, column, pd.Series([isinstance(values[text], str) for text in cells]), reasons)
    return cells.map(values).astype(np.float64)


def _way_out(table: Table, column: str, text: str) -> str:
    """The flags that help where a short text is among numbers: it may stand for no value, or be a name as they are."""
    if not table.has_flags or len(text) > 20 or looks_numeric(text):
        return ""
    hint = "" if any(letter.isdigit() for letter in text) else table.hint(text)
    often = (table.cells[column] == text).sum() > 1
    return f"{hint}; if the column has names, --categories {quote(column)} says so" if often else hint


def complete_numbers(table: Table, column: str) -> np.ndarray:
    """The column as float64, (N,).

    Raises:
        InputError: a value is missing or not a number.
    """
    refuse(table, column, table.cells[column].isin(table.missing), "is missing; each row needs a number")
    return numbers(table, column).to_numpy(copy=True)  # pandas' own array is read-only


def _number(text: str, form: str = "number") -> float | str:
    """The number, or what is wrong with it."""
    if form != "number":
        value = _number(plain(text, form))
        return f"is not a number written as the column's others are: {form}" if isinstance(value, str) else value
    if NUMBER.fullmatch(text):
        value = float(text)
        return value if abs(value) <= LARGEST else f"is larger than {LARGEST:g}"
    if looks_numeric(text):
        return "is not finite"
    if NUMBER.fullmatch(text.replace(",", "")):
        return "is not a number; write it without commas, or as the column's others"
    if form_of(text):
        return "is not a number; write it as a plain one"
    return "is not a number"


def number_target(table: Table, column: str, positive: bool = False) -> np.ndarray:
    """The target of a regression, float64.

    Args:
        positive: it must be, because its logarithm is wanted.

    Raises:
        InputError: values are missing, not numbers or not `positive`, or all are the same.
    """
    counts = table.filled(column).value_counts()
    form = number_form(counts, table.decimal)
    words = counts[[not looks_numeric(text) and not form_of(text) for text in counts.index]]
    if not form and words.sum() >= MOSTLY * counts.sum() > 0:
        raise InputError(
            f"{table.source}, column {column!r}: {words.index[0]!r}, like most of its values, is not a number; to tell"
            " classes apart, give --task classification"
        )
    faults = Faults()
    with faults:
        _check_target(table, column)
    with faults:
        values = numbers(table, column, form or "number")
        refuse(table, column, (values <= 0) & positive, "is not above 0, and its logarithm is to be learned")
    faults.raise_all()
    if values.nunique() == 1:
        _refuse_constant(table, column)
    return values.to_numpy(copy=True)  # pandas' own array is read-only


def _check_target(table: Table, column: str, missing: Collection[str] = ()) -> None:
    reason = "is missing; each row needs a target; --drop_missing_target leaves out those without"
    refuse(table, column, table.cells[column].isin(missing or table.missing), reason)


def class_target(table: Table, column: str, similar_labels: str = "trim") -> tuple[np.ndarray, list[str]]:
    """The target of a classification: the number of each row's class, and the classes' names, sorted.

    Labels are text: `1` and `01` are two classes.

    Args:
        similar_labels: see `usual_labels`.

    Raises:
        InputError: values are missing, labels are similar, or all are the same.
    """
    _check_target(table, column, missing_labels(table))
    cells = table.cells[column].replace(usual_labels(table, column, similar_labels))
    if cells.nunique() == 1:
        _refuse_constant(table, column)
    classes = sorted(cells.unique())
    return np.searchsorted(np.array(classes, dtype=object), cells.to_numpy()), classes


def missing_labels(table: Table) -> list[str]:
    """The texts for missing values that cannot be the name of a class, as `-` and None can."""
    return [text for text in table.missing if text not in MAYBE_LABELS]


def check_similar(similar_labels: str) -> None:
    """Raises InputError if this is no way to treat similar labels; see `usual_labels`."""
    if similar_labels not in SIMILAR:
        raise InputError(f"similar_labels {similar_labels!r}: must be one of {', '.join(SIMILAR)}")


def usual_labels(table: Table, column: str, similar_labels: str) -> dict[str, str]:
    """The most frequent spelling for each label that is merged into another.

    Args:
        similar_labels: what to do with labels that differ only in case, outer dots or spaces: trim merges those that
            have the same case, and refuses others; refuse refuses all; merge merges all; keep leaves them as classes
            of their own.

    Raises:
        InputError: labels are similar.
    """
    usual_of: dict[str, str] = {}
    for usual, *others in similar(table.cells[column]) if similar_labels != "keep" else []:
        for other in others:
            if similar_labels != "merge" and (similar_labels == "refuse" or _trimmed(other) != _trimmed(usual)):
                wrong = table.cells[column] == other
                reason = f"differs from {usual!r} in case, dots or blanks only; --similar_labels merge makes them one"
                refuse(table, column, wrong & ~wrong.duplicated(), f"{reason} class, keep leaves them two")
            usual_of[other] = usual
    return usual_of


def _trimmed(text: str) -> str:
    """A label without outer dots and in other respects as it is, but for the number of blanks within."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip(" .")


def similar(cells: pd.Series) -> list[list[str]]:
    """Groups of values that differ only in case, outer dots or spaces, the most frequent of each group first."""
    groups: dict[str, list[str]] = {}
    for text in cells.value_counts().index:
        groups.setdefault(_trimmed(text).casefold(), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def _refuse_constant(table: Table, column: str) -> None:
    value = table.cells[column].iloc[0]
    raise InputError(f"{table.source}, {_lines(table)}, column {column!r}: always {value!r}; nothing to learn")


def _lines(table: Table) -> str:
    return f"lines {table.cells.index[0]} to {table.cells.index[-1]}"
