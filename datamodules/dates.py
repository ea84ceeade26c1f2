"""Dates and times of day: their formats, found by looking at a whole column, and what they become.

The kind of a column is "time", as a clock shows it, "duration", such as 47:15, which no clock shows, or "date " and the
formats of its days, as strftime writes them, such as "date %d.%m.%Y" or "date %Y-%m-%d|%d.%m.%Y". A time may follow
each day. Zones are ignored: a time is the clock's. Years of two digits are read as spreadsheets do: 30 is 1930.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

_ZONE = r"(?: ?(?:Z|UTC|GMT|[ECMP][SD]T|[CEW]ES?T|BST|MSK|IST|JST|AE[SD]T|[+-]\d{2}(?::?\d{2})?))?"
CLOCK = rf"(\d{{1,3}}):(\d{{2}})(?::(\d{{2}}(?:\.\d+)?))? ?([AaPp]\.?[Mm]\.?)?{_ZONE}"  # hour, minute, second, half
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
# What are numbers too: 20010131, and 01.2001 if some month has a zero before it.
COMPACT = {
    "%Y%m%d": re.compile(r"(?:19|20)\d{6}", re.ASCII),
    "%m.%Y": re.compile(r"(?:0[1-9]|1[0-2])\.(?:19|20)\d{2}", re.ASCII),
}
LOOKED_AT = 100  # texts that show whether a column may hold dates
MOSTLY = 0.5  # share of dates above which the other values of a column are mistakes
CLOCKS = ("time", "duration")  # the kinds that are numbers of hours
OFTEN = 0.05  # share of times beyond 24:00 from which on the column has durations, and these are no mistakes
FIRST_YEAR = 1930  # of those with two digits
PARTS = ("year", "month", "day", "weekday", "yearday", "hour", "days")
FRIDAY = 4
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
        clocks = pd.Series(texts, dtype=object)
        beyond = moments(clocks, "time").isna() & moments(clocks, "duration").notna()
        return "duration" if beyond.mean() >= OFTEN else "time"
    digits = sum(len(text) > 4 and any(letter.isdigit() for letter in text) for text in some)
    if digits <= MOSTLY * len(some) or not _formats_of(some):
        return ""
    found = _formats_of(texts)
    return "date " + "|".join(found) if found else ""


def compact_date_kind(texts: Sequence[str]) -> str:
    """The kind of numbers that all are days like 20010131, or months like 01.2001; "" if they are none."""
    for format, pattern in COMPACT.items():
        if len(texts) < 2 or not all(map(pattern.fullmatch, texts)):
            continue
        shown = format != "%m.%Y" or any(text.startswith("0") for text in texts)
        if shown and _days(pd.Series(texts, dtype=object), format).notna().all():
            return f"date {format}"
    return ""


def confusable(texts: Sequence[str], kind: str) -> str:
    """The formats by which all the days could be read too, day and month the other way round; "" if there are none."""
    if kind in CLOCKS:
        return ""
    formats = kind.removeprefix("date ").split("|")
    left = _split(pd.Series(texts, dtype=object))[0]
    for format in formats:
        days, other = _days(left, format), swapped(format)
        if other and _differ(days.dropna(), _days(left[days.notna()], other)):
            return "|".join(other if each == format else each for each in formats)
        left = left[days.isna()]
    return ""


def _differ(days: pd.Series, others: pd.Series) -> bool:
    """Whether all of the others are days too, and not the same ones."""
    return bool(others.notna().all() and (others != days).any())


def dates_flag(column: str, formats: str) -> str:
    """What to type for a column to have its days read so; a dot in the name of a flag would begin another level."""
    if re.fullmatch(r"[\w-]+", column):
        return f"--dates.{column} '{formats}'"
    return f'--dates \'{{"{column}": "{formats}"}}\''


def _formats_of(texts: Sequence[str]) -> list[str]:
    """The formats of most of the texts: of those that the first may have, the one that most have, and so on."""
    left, found, unread = _split(pd.Series(texts, dtype=object))[0], [], 0
    while len(left) and unread < (1 - MOSTLY) * len(texts):
        formats = [each for each in _candidates(left.iloc[0]) if swapped(each) not in found]
        read = {format: _days(left, format).notna() for format in formats}
        best = max(read, key=lambda format: read[format].sum(), default="")
        if best and read[best].any():
            found.append(best)
            left = left[~read[best]]
        else:  # no text with marks at these places is a date
            alike = left.map(_marks) == _marks(left.iloc[0])
            unread += int(alike.sum())
            left = left[~alike]
    return found if unread < (1 - MOSTLY) * len(texts) else []


def swapped(format: str) -> str:
    """The format with day and month the other way round, which the same texts may have; "" if there is none."""
    return {one: other for pair in PAIRS[:-1] for one, other in (pair, pair[::-1])}.get(format, "")


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
    read = pd.to_datetime(days, format=format, errors="coerce").astype("datetime64[s]")
    if "%y" not in format:
        return read
    return read.where(~(read.dt.year >= FIRST_YEAR + 100), read - pd.DateOffset(years=100))


def moments(cells: pd.Series, kind: str) -> pd.Series:
    """Each value of a column as datetime64, NaT where it is none; of one of the `CLOCKS` as hours, NaN."""
    if kind in CLOCKS:
        parts = cells.astype(object).str.extract(f"^{CLOCK}$", flags=re.ASCII)
        return _seconds(parts, 24 if kind == "time" else math.inf) / 3600
    days, clock = _split(cells)
    read = pd.Series(np.datetime64("NaT"), index=cells.index, dtype="datetime64[s]")
    for format in kind.removeprefix("date ").split("|"):
        read = read.fillna(_days(days, format))
    seconds = _seconds(clock)
    read = read.where(seconds.notna() | clock.iloc[:, 0].isna())  # not midnight for a time that no clock shows
    return read + pd.to_timedelta(seconds.fillna(0).round(), unit="s").astype("timedelta64[s]")


def as_clock(hours: float) -> str:
    """Hours as they stand in a column of times or durations, such as 8:05 or 47:15:30, to the second."""
    minutes, second = divmod(round(3600 * hours), 60)
    return f"{minutes // 60}:{minutes % 60:02}" + (f":{second:02}" if second else "")


def _seconds(parts: pd.DataFrame, most_hours: float = 24) -> pd.Series:
    """Seconds since midnight of hours, minutes, seconds and half of the day, as text; NaN if there are none."""
    hour, minute, second = (parts.iloc[:, place].astype(np.float64) for place in range(3))
    hour = hour.where((hour <= most_hours) & (minute < 60) & ~(second >= 60))  # no clock shows 25:70
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
    """Such as "Nov 4 Thu" for the fourth Thursday of November; "" where the moment is missing.

    A Friday has the month and number of the Thursday before it, as the day after Thanksgiving: no holiday that is known
    to us is the nth Friday, and that one may be the fourth or the fifth.
    """
    weekday = moments.dt.dayofweek
    at = (moments - pd.to_timedelta((weekday == FRIDAY).astype(np.int64), unit="D")).dt
    names = at.month_name().str[:3] + " " + ((at.day - 1) // 7 + 1).astype("Int64").astype(str) + " "
    return (names + moments.dt.day_name().str[:3]).where(moments.notna(), "").astype(object)


def has_nth_weekdays(moments: pd.Series) -> bool:
    """Whether the moments are so many, in so many years, that each "nth weekday" has rows to learn from."""
    known = moments.dropna()
    return known.dt.year.nunique() >= YEARS and len(known) >= ROWS_A_DAY * nth_weekdays(known).nunique()
