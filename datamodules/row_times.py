"""The order of a table's rows in time, by a column of dates, times or numbers."""

import numpy as np
import pandas as pd

from datamodules.dates import CLOCKS, compact_date_kind, confusable, date_kind, dates_flag, moments
from datamodules.tables import Table, check_columns, numbers, refuse
from datamodules.written_numbers import looks_numeric, number_form

NEITHER = "is no date or number as the column's others are"


def times_of(table: Table, column: str, formats: tuple[str, ...] = ()) -> np.ndarray:
    """When each row was, (N,), int64 in seconds, or float64 where the column has numbers.

    Args:
        formats: those of its dates, if they are known.

    Raises:
        InputError: the column is not there, a row has no date, or the dates may be read in two ways.
    """
    check_columns(table, [column], None)
    cells = table.cells[column]
    refuse(table, column, cells.isin(table.missing), "is missing; each row needs a time")
    counts = cells.value_counts()
    texts = counts.index.tolist()
    form = number_form(counts, table.decimal)
    if form and not formats and not compact_date_kind(texts):
        return numbers(table, column, form).to_numpy()
    kind = date_kind(texts, formats)
    if not kind:
        bad = next((text for text in texts if not looks_numeric(text) and not date_kind([text])), texts[0])
        refuse(table, column, cells == bad, NEITHER)
    if not formats:
        _check_order(table, column, kind)
    times = moments(cells, kind)
    refuse(table, column, times.isna(), NEITHER)
    return times.to_numpy().astype(np.float64 if kind in CLOCKS else np.int64)


def _check_order(table: Table, column: str, kind: str) -> None:
    """Refuses dates whose days and months could also be the other way round: the split depends on it."""
    cells = table.cells[column]
    if other := confusable(cells.unique().tolist(), kind):
        days, others = moments(cells, kind), moments(cells, f"date {other}")
        first = (days != others).to_numpy().argmax()
        one, two = (f"{each.iloc[first]:%Y-%m-%d}" for each in (days, others))
        reason = f"may be {one} or {two}; {dates_flag(column, other)} reads the latter"
        refuse(table, column, pd.Series(np.arange(len(cells)) == first, cells.index), reason)
