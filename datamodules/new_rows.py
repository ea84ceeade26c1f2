"""New rows for a trained model, read as its training rows were, unless the file is plainly written differently."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from basics.errors import InputError
from datamodules.column_kinds import shown_decimal
from datamodules.csv_files import Reading, read_csv
from datamodules.dates import date_kind, moments, swapped
from datamodules.tables import MISSING, Kind, Table, check_columns
from datamodules.written_numbers import COMMA, number_form, parses, scale_of


class NewRows(NamedTuple):
    """A table, the kinds of its columns, and a line on each way in which it differs from that of the training."""

    table: Table
    kinds: dict[str, Kind]
    notes: list[str]


def read_rows(path: Path, fitted: dict[str, Any]) -> NewRows:
    """Reads a file with the columns of the training table; others are ignored.

    Args:
        fitted: the preprocessing in a checkpoint; those of older ones do not say how the file was read.

    Raises:
        InputError: it is no such file, or a column is missing.
    """
    table = _read(path, fitted)
    if not fitted.get("header", True):
        targets = fitted.get("targets", [fitted["target"]])
        table = _named(table, [*fitted["recipe"]["columns"], *fitted["besides"]], targets)
    return _as_in_training(table, fitted)


def one_row(cells: Mapping[str, str], fitted: dict[str, Any]) -> NewRows:
    """A row that somebody has typed in, column by column, as if it stood in a file.

    Raises:
        InputError: a column is missing.
    """
    typed = pd.DataFrame({name: [text.strip()] for name, text in cells.items()}, index=[1], dtype=object)
    missing = tuple(fitted.get("missing", MISSING))
    return _as_in_training(Table("this row", typed, missing, decimal=fitted.get("decimal", "")), fitted)


def _as_in_training(table: Table, fitted: dict[str, Any]) -> NewRows:
    """The table with the kinds of its columns, which are those of the training unless they are written otherwise."""
    kinds = fitted["recipe"]["columns"]
    besides = [name for name in fitted["besides"] if name in table.cells]
    extra = [name for name in table.cells.columns if name not in (*kinds, *besides)]
    check_columns(table, list(kinds), None, besides)
    notes = [*table.notes]
    if extra:
        columns = f"column{'s' * (len(extra) > 1)} {', '.join(map(repr, extra))}"
        notes.append(f"{table.source}: {columns} {'were' if len(extra) > 1 else 'was'} not there in training; ignored")
    written = {name: _kind_here(table, name, kind) for name, kind in kinds.items()}
    changed = [name for name, kind in kinds.items() if written[name] != kind]
    where = f"{table.source}, column"
    notes += [f"{where} {name!r}: read as {written[name]}, in training as {kinds[name]}" for name in changed]
    return NewRows(table, written, notes)


def _read(path: Path, fitted: dict[str, Any]) -> Table:
    """The file's table, read by what was said of the training table if that fits, and otherwise by looking."""
    header, missing = fitted.get("header", True), tuple(fitted.get("missing", MISSING))
    columns, usual = tuple(fitted["recipe"]["columns"]), fitted.get("separator", ",")
    looking = Reading(header=header, missing=missing, columns=columns, usual=usual)
    said = replace(looking, sep=fitted.get("sep", ""), encoding=fitted.get("encoding", ""))
    if said != looking:
        with suppress(InputError):
            table = read_csv(path, said)
            if not said.header or {*fitted["recipe"]["columns"]} <= {*table.cells.columns}:
                return table._replace(decimal=fitted["decimal"] or shown_decimal(table))
    table = read_csv(path, looking)
    marks = [fitted.get("decimal", ""), shown_decimal(table)]
    if said != looking:  # a file of another kind, which may have another mark than the one that was given
        marks.reverse()
    return table._replace(decimal=marks[0] or marks[1])


def _named(table: Table, known: list[str], targets: list[str]) -> Table:
    """A table without a header, with the names of the training: perhaps in a first line, perhaps without targets."""
    cells = table.cells
    if cells.iloc[0].isin(known).all():
        return table._replace(cells=cells.iloc[1:].set_axis(cells.iloc[0].tolist(), axis="columns"))
    numbered = sorted(known, key=lambda name: int(name[1:]))  # c1, c2 and so on
    if len(cells.columns) == len(known) - len(targets):
        features = [name for name in numbered if name not in targets]
        return table._replace(cells=cells.set_axis(features, axis="columns"))
    return table


def _kind_here(table: Table, name: str, kind: Kind) -> Kind:
    """How a column is written in this table: as in training, unless its values need another mark or format."""
    cells = table.filled(name)
    if not isinstance(kind, str) or cells.empty:
        return kind
    counts = cells.value_counts()
    if kind.startswith("date "):
        return _dates_here(counts.index.tolist(), kind)
    if scale_of(kind) and (
        _has_other_mark(counts, table, kind) or not all(parses(text, kind) for text in counts.index)
    ):
        found = number_form(counts, table.decimal) or number_form(counts)
        return found if scale_of(found) == scale_of(kind) else kind
    return kind


def _dates_here(days: list[str], kind: str) -> str:
    """The kind of these days: the training's, with further formats for those that it does not read."""
    texts = pd.Series(days, dtype=object)
    unread = texts[moments(texts, kind).isna()].tolist()
    found = date_kind(unread) if unread else ""
    if not found.startswith("date "):
        return kind
    others = found.removeprefix("date ")
    if any(swapped(format) in kind.removeprefix("date ").split("|") for format in others.split("|")):
        return date_kind(days) or kind  # day and month are the other way round in the whole column
    return f"{kind}|{others}"


def _has_other_mark(counts: pd.Series, table: Table, kind: str) -> bool:
    """Whether this table has another decimal mark than the column had in training."""
    if COMMA in kind:
        return table.decimal == "."
    return table.decimal == "," and any("." in text for text in counts.index)
