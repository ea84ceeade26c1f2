"""What each column of a table was taken for, for people to check: a table of its own, and what a figure of it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from datamodules.dates import CLOCKS, as_clock
from datamodules.tables import WORDS, Kind, Table

BARS = 20  # of a histogram
COMMONEST = 8  # categories that a figure shows


@dataclass(frozen=True)
class ColumnReport:
    """One column of a table.

    Args:
        role: feature, target, id, or why it was left out.
        kind: what it was taken for; "" if it was not used.
        missing: share of rows without a value.
        distinct: different values.
        example: the most frequent value.
        low, high: of numbers, dates and times, the least and the largest, as text.
        counts: rows in each bar of a histogram, or with each of the most frequent values.
        labels: these values; none for a histogram, whose bars go from `low` to `high`.
    """

    name: str
    role: str
    kind: str
    missing: float
    distinct: int
    example: str
    low: str = ""
    high: str = ""
    counts: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def report_columns(
    table: Table, kinds: Mapping[str, Kind], roles: Mapping[str, str], frame: pd.DataFrame
) -> list[ColumnReport]:
    """A report on each column of the table, in the order of the file.

    Args:
        kinds: of the features.
        roles: of the other columns.
        frame: the typed columns, among them all features that no other was derived from.
    """
    return [_report(table, str(name), kinds, roles, frame) for name in table.cells.columns]


def _report(
    table: Table, name: str, kinds: Mapping[str, Kind], roles: Mapping[str, str], frame: pd.DataFrame
) -> ColumnReport:
    cells = table.filled(name)
    counts = cells.value_counts()
    kind = kinds.get(name, "")
    shown = kind if isinstance(kind, str) else f"ordinal {', '.join(kind)}"
    about = (name, roles.get(name, "feature"), shown, 1 - len(cells) / len(table.cells), len(counts))
    example = counts.index[0] if len(counts) else ""
    if name in frame and kind not in WORDS and isinstance(kind, str):
        values = frame[name].dropna()
        if len(values):
            numbers = values.to_numpy(np.float64 if values.dtype.kind == "f" else np.int64).astype(np.float64)
            span = np.ptp(numbers)
            bars = np.histogram((numbers - numbers.min()) / (span or 1), BARS, (0, 1))[0].tolist()  # however narrow
            low, high = (_written(value, kind) for value in (values.min(), values.max()))
            return ColumnReport(*about, example, low, high, bars)
    top = counts.head(COMMONEST)
    return ColumnReport(*about, example, counts=top.tolist(), labels=top.index.tolist())


def _written(value: float | pd.Timestamp, kind: str) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return as_clock(value) if kind in CLOCKS else f"{value:.15g}"


def as_frame(columns: list[ColumnReport]) -> pd.DataFrame:
    """A row for each column, without its histogram."""
    rows = [
        {"column": each.name, "role": each.role, "kind": each.kind, "missing": round(each.missing, 4)}
        | {"distinct": each.distinct, "example": each.example, "low": each.low, "high": each.high}
        for each in columns
    ]
    return pd.DataFrame(rows)
