"""Dates and times of day: their formats, found by looking at a whole column, and what they become.

The kind of a column is "time", or "date " and the formats of its days, as strftime writes them, such as
"date %d.%m.%Y" or "date %Y-%m-%d|%d.%m.%Y". A time may follow each day. Zones are ignored: a time is the clock's.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
CLOCK = rf"(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}(?:\.\d+)?))? ?([AaPp]\.?[Mm]\.?)?{_ZONE}"  # hour, minute, second, half
DATED = re.compile(rf"(.+?)(?:(?:T| |, ?){CLOCK})?", re.ASCII)  # the day, and the parts of the time
TIME = re.compile(CLOCK, re.ASCII)
YEAR_FIRST = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y-%m", "%Y/%m")
NAMED_MONTH = (
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
    *("%b %Y", "%B %Y", "%b-%y", "%b-%Y", "%a %b %d %Y", "%a, %d %b %Y"),
)
# Day and month can be confused; where the column does not decide, the first one of each pair is taken.
PAIRS = (
    *(("%m/%d/%Y", "%d/%m/%Y"), ("%d.%m.%Y", "%m.%d.%Y"), ("%d-%m-%Y", "%m-%d-%Y")),
    *(("%m/%d/%y", "%d/%m/%y"), ("%d.%m.%y", "%m.%d.%y"), ("%d-%m-%y", "%m-%d-%y")),
    ("%m/%Y", "%m.%Y"),
)
COMPACT = re.compile(r"(?:19|20)\d{6}", re.ASCII)  # 20010131, which is a number too
LOOKED_AT = 100  # texts that show whether a column may hold dates
MOSTLY = 0.5  # share of dates above which the other values of a column are mistakes
PARTS = ("year", "month", "day", "weekday", "yearday", "hour", "days")
NTH_WEEKDAY = "nth weekday"  # of the month, as many holidays are: a category, where numbers would need many kinks
YEARS, ROWS_A_DAY = 3, 8  # of it, at least: years that the dates span, and rows of each on average


def date_kind(texts: Sequence[str], formats: Sequence[str] = ()) -> str:
    """The kind of a column with these values, each once; "" if they are neither dates nor times.

    Args:
        formats: the formats of its days, if they are known.
    """
    if formats:
        return "date " + "|".join(formats)
    some = texts[:: max(1, len(texts) // LOOKED_AT)]
    if sum(bool(TIME.fullmatch(text)) for text in some) > MOSTLY * len(some):
        return "time"
    digits = sum(len(text) > 4 and any(letter.isdigit() for letter in text) for text in some)
    if digits <= MOSTLY * len(some) or not _formats_of(some):
        return ""
    found = _formats_of(texts)
    return "date " + "|".join(found) if found else ""


def is_compact_date(texts: Sequence[str]) -> bool:
    """Whether all are days of the form 20010131."""
    if len(texts) < 2 or not all(map(COMPACT.fullmatch, texts)):
        return False
    return bool(_days(pd.Series(texts, dtype=object), "%Y%m%d").notna().all())


def confusable(texts: Sequence[str], kind: str) -> str:
    """The other format by which all the days could be read, day and month the other way round; "" if there is none."""
    for pair in PAIRS[:-1]:
        for taken, other in (pair, pair[::-1]):
            if kind == f"date {taken}":
                days = _split(pd.Series(texts, dtype=object))[0]
                return other if _days(days, other).notna().all() else ""
    return ""


def _formats_of(texts: Sequence[str]) -> list[str]:
    """The formats of most of the texts: of those that the first may have, the one that most have, and so on."""
    left, found = _split(pd.Series(texts, dtype=object))[0], []
    swapped = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
    while len(left):
        formats = [each for each in _candidates(left.iloc[0]) if swapped.get(each) not in found]
        read = {format: _days(left, format).notna() for format in formats}
        best = max(read, key=lambda format: read[format].sum(), default="")
        if not best or not read[best].any():
            break
        found.append(best)
        left = left[~read[best]]
    return found if len(left) < (1 - MOSTLY) * len(texts) else []


def _candidates(text: str) -> list[str]:
    """Formats that a text may have: those with the same marks between as many parts, in the order of preference."""
    every = [*YEAR_FIRST, *(format for pair in PAIRS for format in pair), *NAMED_MONTH]
    return [format for format in every if _marks(format) == _marks(text)]


def _marks(text: str) -> str:
    return re.sub(r"%?\w+", "", text)


def _split(cells: pd.Series) -> tuple[pd.Series, pd.DataFrame]:
    """The days, and hours, minutes, seconds and half of the day, as text; NaN where there is no time."""
    parts = cells.astype(object).str.extract(rf"^{DATED.pattern}$", flags=re.ASCII)
    return parts[0].fillna(""), parts.iloc[:, 1:]


def is_format(format: str) -> bool:
    """Whether strptime knows all parts of the format, and there are any."""
    try:
        pd.to_datetime(pd.Series(["2020"]), format=format, errors="coerce")
    except ValueError:
        return False
    return "%" in format


def _days(days: pd.Series, format: str) -> pd.Series:
    return pd.to_datetime(days, format=format, errors="coerce").astype("datetime64[s]")


def moments(cells: pd.Series, kind: str) -> pd.Series:
    """Each value of a column as datetime64, NaT where it is none; of kind "time" as hours since midnight, NaN."""
    if kind == "time":
        parts = cells.astype(object).str.extract(f"^{CLOCK}$", flags=re.ASCII)
        return _seconds(parts) / 3600
    days, clock = _split(cells)
    read = pd.Series(np.datetime64("NaT"), index=cells.index, dtype="datetime64[s]")
    for format in kind.removeprefix("date ").split("|"):
        read = read.fillna(_days(days, format))
    seconds = _seconds(clock)
    read = read.where(seconds.notna() | clock.iloc[:, 0].isna())  # not midnight for a time that no clock shows
    return read + pd.to_timedelta(seconds.fillna(0).round(), unit="s").astype("timedelta64[s]")


def _seconds(parts: pd.DataFrame) -> pd.Series:
    """Seconds since midnight of hours, minutes, seconds and half of the day, as text; NaN if there are none."""
    hour, minute, second = (parts.iloc[:, place].astype(np.float64) for place in range(3))
    hour = hour.where((hour <= 24) & (minute < 60) & ~(second >= 60))  # no clock shows 25:70
    half = parts.iloc[:, 3].str.lower().str[:1]
    hour = hour.where(half.isna(), hour % 12 + 12 * (half == "p"))
    return 3600 * hour + 60 * minute + second.fillna(0)


def date_parts(moments: pd.Series, first: str) -> dict[str, np.ndarray]:
    """The `PARTS` of each moment, float64, NaN where it is missing.

    Args:
        first: the moment that days are counted from, in ISO format. Days and hours have fractions. Mondays are 0.
    """
    at = moments.dt
    days = (moments - pd.Timestamp(first)).dt.total_seconds() / 86_400
    hours = at.hour + at.minute / 60 + at.second / 3600
    parts = (at.year, at.month, at.day, at.dayofweek, at.dayofyear, hours, days)
    return {name: part.to_numpy(np.float64) for name, part in zip(PARTS, parts, strict=True)}


def nth_weekdays(moments: pd.Series) -> pd.Series:
    """Such as "Nov 4 Thu" for the fourth Thursday of November; "" where the moment is missing."""
    at = moments.dt
    names = at.month_name().str[:3] + " " + ((at.day - 1) // 7 + 1).astype("Int64").astype(str) + " "
    return (names + at.day_name().str[:3]).where(moments.notna(), "").astype(object)


def has_nth_weekdays(moments: pd.Series) -> bool:
    """Whether the moments are so many, in so many years, that each "nth weekday" has rows to learn from."""
    known = moments.dropna()
    return known.dt.year.nunique() >= YEARS and len(known) >= ROWS_A_DAY * nth_weekdays(known).nunique()
