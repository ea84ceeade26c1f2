"""Several labels for each row of a table: a column of 0 and 1 for each, or one column of texts such as `cat;dog`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from basics.amounts import amount
from basics.errors import InputError
from datamodules.tables import Faults, Table, check_columns, missing_labels, refuse

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
MARKS = (";", "|", ",")  # between the labels of a text, the likeliest first
NAMED = 5  # labels in a line


class Tags(NamedTuple):
    """The labels of all rows."""

    names: tuple[str, ...]
    values: np.ndarray  # 1 where a row has a label, and 0 elsewhere, float32, (N, L)
    mark: str  # between the labels of a text; "" for columns
    note: str  # how they were found


def read_tags(table: Table, columns: Sequence[str], mark: str = "") -> Tags:
    """The labels in these columns: of several, each is a label; one has texts of labels.

    Args:
        mark: what is between the labels of a text; "" to find out.

    Raises:
        InputError: a value is neither 0 nor 1, or there are fewer than two labels.
    """
    if len(columns) == 1:
        return _of_texts(table, columns[0], mark)
    faults = Faults()
    for column in columns:
        with faults:
            lower = table.cells[column].str.lower()
            hint = "; --target a,b,c names the columns that are labels" if table.has_flags else ""
            refuse(table, column, ~lower.isin((*YES, *NO)), f"is neither 0 nor 1{hint}")
    faults.raise_all()
    hits = np.stack([table.cells[column].str.lower().isin(YES) for column in columns], axis=1)
    note = f"labels are the {len(columns)} columns {_first(columns)}, of 0 and 1"
    return Tags(tuple(columns), hits.astype(np.float32), "", note)


def _of_texts(table: Table, column: str, mark: str) -> Tags:
    mark = mark or _mark(table, column)
    sets = _sets(table, column, mark)
    names = sorted(set().union(*sets))
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise InputError(f"{table.source}, column {column!r}: several labels need two or more names, found {found}")
    values = _matrix(sets, names)
    note = f"labels are {amount(len(names), 'name')} with {mark!r} between, in column {column!r}"
    return Tags(tuple(names), values, mark, note)


def _sets(table: Table, column: str, mark: str) -> list[set[str]]:
    """The labels in each text; one that stands for a missing value has none."""
    texts = table.cells[column].where(~table.cells[column].isin(missing_labels(table)), "")
    return [{part.strip() for part in text.split(mark)} - {""} for text in texts]


def _matrix(sets: Sequence[set[str]], names: Sequence[str]) -> np.ndarray:
    return np.array([[name in each for name in names] for each in sets], np.float32)  # (N, L)


def known_tags(table: Table, columns: Sequence[str], names: Sequence[str], mark: str) -> np.ndarray:
    """The labels of rows of another table, which is like that of the training, float32, (N, L).

    Args:
        columns: those of the training table.
        names: its labels.
        mark: what was between them; "" for columns.

    Raises:
        InputError: a column is missing, a value neither 0 nor 1, or a label not among the names.
    """
    check_columns(table, columns, None)
    if not mark:
        return read_tags(table, columns).values
    sets = _sets(table, columns[0], mark)
    wrong = pd.Series([bool(each - {*names}) for each in sets], dtype=bool)
    refuse(table, columns[0], wrong, "has a label that no row of the training table has")
    return _matrix(sets, names)


def _mark(table: Table, column: str) -> str:
    cells = table.cells[column]
    if cells.str.lower().isin((*YES, *NO)).all():
        raise InputError(
            f"{table.source}, column {column!r}: 0 and 1 are a single label, which --task classification tells apart;"
            " for several, name their columns by --target a,b,c, or write names with ';' between"
        )
    found = [mark for mark in MARKS if cells.str.contains(mark, regex=False).any()]
    if found[:2] == [*MARKS[:2]]:
        first = ", ".join(repr(cells[cells.str.contains(mark, regex=False)].iloc[0]) for mark in MARKS[:2])
        raise InputError(f"{table.source}, column {column!r}: both ';' and '|' stand between labels: {first}")
    return found[0] if found else MARKS[0]


def rates(values: np.ndarray, names: Sequence[str]) -> str:
    """A line on how often the labels of rows, (N, L), occur."""
    counts = values.sum(0).astype(int)
    rare, common = int(counts.argmin()), int(counts.argmax())
    without = int((values.sum(1) == 0).sum())
    none = f"; {amount(without, 'sample')} without any" if without else ""
    spread = f"{counts[rare]:,} ({names[rare]}) to {counts[common]:,} ({names[common]})"
    often = spread if rare != common else f"{counts[rare]:,}"
    return f"{len(names)} labels in {often} training samples, {values.sum(1).mean():.2f} in each on average{none}"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def united(names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """The labels of samples that several rows are about: those of all rows with the same name, (N, L)."""
    return pd.DataFrame(values).groupby(np.array(names, dtype=object)).transform("max").to_numpy(values.dtype)
