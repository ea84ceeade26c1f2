"""The order of a table's rows in time, by a column of dates or of numbers."""

import numpy as np
import pandas as pd

from datamodules.tables import MISSING, NUMBER, Table, check_columns, fault

DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y", "%m/%d/%y")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


def times_of(table: Table, column: str) -> np.ndarray:
    """When each row was, (N,), int64 in microseconds, or float64 where the column has numbers.

    Raises:
        InputError: the column is not there, a row has no date, or the dates may be read in two ways.
    """
    check_columns(table, [column], None)
    cells = table.cells[column]
    for line in cells.index[cells.isin(MISSING)][:1]:
        raise fault(table.source, "is missing; each row needs a time", line, column, cells[line])
    if cells.map(lambda text: bool(NUMBER.fullmatch(text))).all():
        return cells.to_numpy().astype(np.float64)
    times = _dates(Table(table.source, cells.drop_duplicates().to_frame()), column)
    return cells.map(dict(zip(cells.drop_duplicates(), times, strict=True))).to_numpy(np.int64)


def _dates(table: Table, column: str) -> np.ndarray:
    """The dates, int64 in microseconds."""
    cells = table.cells[column]
    readings = [_read(cells, "ISO8601")]
    if readings[0].isna().any():
        readings += [_read(cells, day + clock) for day in DAYS for clock in CLOCKS]
    whole = [reading for reading in readings if not reading.isna().any()]
    if not whole:
        best = min(readings, key=lambda reading: reading.isna().sum())
        line = cells.index[best.isna()][0]
        raise fault(table.source, "is no date or number as the column's others are", line, column, cells[line])
    for other in whole[1:]:
        for line in cells.index[other != whole[0]][:1]:
            dates = f"{whole[0][line]:%Y-%m-%d} or {other[line]:%Y-%m-%d}"
            raise fault(table.source, f"may be {dates}; write dates as 2001-12-31", line, column, cells[line])
    return whole[0].dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


def _read(cells: pd.Series, form: str) -> pd.Series:
    """The dates, in UTC; NaT where a text is not of this form."""
    return pd.to_datetime(cells, format=form, errors="coerce", utc=True)
