"""Dates and texts in tables, against datetime and scikit-learn."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from table_files import COUNT, DAYS, RNG, WITH_TIME, data_of, frame_of, written

from datamodules.dates import PARTS, date_parts, moments
from datamodules.preprocessing import Recipe, feature_names, fit, transform
from datamodules.texts import fit_text, grams, transform_text

FORMATS = [
    *("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%Y/%m/%d", "%Y%m%d", "%d-%b-%Y"),
    *("%B %d, %Y", "%d %B %Y", WITH_TIME, "%Y-%m-%dT%H:%M:%SZ", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S"),
]


@pytest.mark.parametrize("format", FORMATS)
def test_dates_become_the_parts_that_datetime_gives(tmp_path, format):
    texts = [day.strftime(format) for day in DAYS]
    data = data_of(written(tmp_path, pd.DataFrame({"day": texts, "y": range(COUNT)})), "y", scale="standard")
    has_time = "%H" in format or "%I" in format
    days = DAYS if has_time else [day.replace(hour=0, minute=0) for day in DAYS]
    (fitted,) = data.preprocessing["dates"]
    first = min(days[row] for row in data.train_indices)
    assert fitted["first"] == first.isoformat()
    assert fitted["parts"] == [part for part in PARTS if part != "hour" or has_time]
    wanted = {
        "year": [day.year for day in days], "month": [day.month for day in days], "day": [day.day for day in days],
        "weekday": [day.weekday() for day in days], "yearday": [day.timetuple().tm_yday for day in days],
        "hour": [day.hour + day.minute / 60 for day in days],
        "days": [(day - first).total_seconds() / 86_400 for day in days],
    }  # fmt: skip
    parts = date_parts(frame_of(data)["day"], fitted["first"])
    for name, values in wanted.items():
        np.testing.assert_allclose(parts[name], values, err_msg=name)
    assert feature_names(data.preprocessing) == [f"day: {part}" for part in fitted["parts"]]
    years = np.array(wanted["year"], dtype=np.float64)
    train = years[data.train_indices]
    np.testing.assert_allclose(data.rows[:, 0], (years - train.mean()) / train.std(), atol=1e-5)
    assert json.loads(json.dumps(data.preprocessing)) == data.preprocessing


def test_dates_of_many_years_have_the_nth_weekday_of_the_month():
    days = [datetime.date(2001, 1, 1) + datetime.timedelta(days=number) for number in range(20 * 365)]
    seen = dict.fromkeys((day.year, day.month, day.weekday()) for day in days)
    wanted, counts = [], dict.fromkeys(seen, 0)
    for day in days:  # by counting, month by month
        counts[day.year, day.month, day.weekday()] += 1
        wanted.append(f"{day:%b} {counts[day.year, day.month, day.weekday()]} {day:%a}")
        if day.weekday() == 4 and len(wanted) > 1:  # a Friday goes by the Thursday
            wanted[-1] = wanted[-2].replace("Thu", "Fri")
    for thanksgiving in (datetime.date(2018, 11, 22), datetime.date(2019, 11, 28)):
        at = days.index(thanksgiving)
        assert wanted[at : at + 2] == ["Nov 4 Thu", "Nov 4 Fri"]
    many = pd.Series(pd.to_datetime(days)).astype("datetime64[s]")
    fitted = fit(pd.DataFrame({"day": many}), Recipe({"day": "date %Y-%m-%d"}))
    (category,) = fitted["categories"]
    assert category["name"] == "day: nth weekday"
    assert category["values"] == sorted(set(wanted))
    rows = transform(pd.DataFrame({"day": [*many[:300], pd.NaT]}), fitted)
    places = [feature_names(fitted).index(f"day: nth weekday={name}") for name in wanted[:300]]
    assert rows[range(300), places].tolist() == [1] * 300
    first = len(feature_names(fitted)) - len(category["values"])
    assert rows[:, first:].sum(1).tolist() == [1] * 300 + [0]
    for fewer in (many[: 2 * 365], many[::5]):  # two years, and 3.5 rows of each
        assert not fit(pd.DataFrame({"day": fewer}), Recipe({"day": "date %Y-%m-%d"}))["categories"]


@pytest.mark.parametrize("rows", [900, 15 * 365])
def test_days_of_many_years_have_more_bins_than_other_numbers(tmp_path, rows):
    days = [f"{datetime.date(2001, 1, 1) + datetime.timedelta(days=number)}" for number in range(rows)]
    data = data_of(written(tmp_path, pd.DataFrame({"day": days, "x": RNG.normal(size=rows), "y": range(rows)})), "y")
    names, train = feature_names(data.preprocessing), len(data.train_indices)
    edges, finest = (dict(zip(names, data.bins(count), strict=False)) for count in (8, 64))
    many = rows > 1000
    parts = ("x", "day: year", "day: days", "day: yearday")
    found = [len(edges[name]) - 1 for name in parts]
    assert found[0] == 8
    assert found[1] < 9
    assert found[2:] == ([128, 128] if many else [8, 8])
    assert len(finest["day: days"]) - 1 == (train // 5 if many else 64)
    assert len(finest["day: yearday"]) > 365 if many else len(finest["day: yearday"]) == 65  # an edge for each day
    place = names.index("day: days")
    wanted = np.quantile(data.rows[data.train_indices, place], np.linspace(0, 1, found[2] + 1)).astype(np.float32)
    np.testing.assert_allclose(edges["day: days"], wanted)


def test_order_of_day_and_month_follows_from_the_whole_column_or_a_flag(tmp_path):
    texts = [f"0{row % 9 + 1}/0{row % 7 + 1}/2020" for row in range(COUNT)]
    path = written(tmp_path, pd.DataFrame({"day": texts, "y": range(COUNT)}))
    data = data_of(path, "y")
    assert frame_of(data)["day"].dt.month.tolist() == [row % 9 + 1 for row in range(COUNT)]
    assert "--dates.day '%d/%m/%Y'" in data.notes[0]
    other = data_of(path, "y", dates={"day": "%d/%m/%Y"})
    assert frame_of(other)["day"].dt.day.tolist() == [row % 9 + 1 for row in range(COUNT)]
    texts[-1] = "31/01/2020"
    data = data_of(written(tmp_path, pd.DataFrame({"day": texts, "y": range(COUNT)})), "y")
    assert frame_of(data)["day"].dt.day.tolist() == [*(row % 9 + 1 for row in range(COUNT - 1)), 31]
    assert "--dates" not in data.notes[0]


def test_several_formats_missing_and_broken_dates(tmp_path):
    texts = [day.strftime("%Y-%m-%d" if row % 3 else "%d.%m.%Y") for row, day in enumerate(DAYS)]
    texts[4] = "NA"
    path = written(tmp_path, pd.DataFrame({"day": texts, "x": range(3, COUNT + 3), "y": range(COUNT)}))
    data = data_of(path, "y")
    assert data.preprocessing["recipe"]["columns"]["day"] == "date %d.%m.%Y|%Y-%m-%d"
    assert frame_of(data)["day"].isna().tolist() == [row == 4 for row in range(COUNT)]
    assert [name for name in feature_names(data.preprocessing) if "missing" in name] == ["day: year missing"]
    texts[9] = "2020-13-45"
    path = written(tmp_path, pd.DataFrame({"day": texts, "x": range(3, COUNT + 3), "y": range(COUNT)}))
    with pytest.raises(
        ValueError, match="line 11, column 'day': '2020-13-45' is no date such as the column's others"
    ) as no:
        data_of(path, "y")
    assert str(no.value).endswith("; if it is a missing value, --missing '2020-13-45' says so")
    assert frame_of(data_of(path, "y", missing=["2020-13-45"]))["day"].isna().sum() == 2


def test_time_that_no_clock_shows_is_none():
    cells = pd.Series(["2020-01-01 25:70", "2020-01-01 23:59", "2020-01-01"])
    assert moments(cells, "date %Y-%m-%d").isna().tolist() == [True, False, False]
    assert moments(pd.Series(["45:99", "12:30"]), "time").isna().tolist() == [True, False]


def test_times_of_day_are_hours():
    cells = pd.Series(["8:15", "23:59:30", "12:30 am", "1:00 PM"], dtype=object)
    np.testing.assert_allclose(moments(cells, "time"), [8.25, 23 + 59.5 / 60, 0.5, 13])


TEXTS = [
    *("The red fox jumps, and the dog sleeps", "a red dog runs", "the fox: a red fox", "", "dog eats dog"),
    *("blue fox sings to the moon", "moon and dog", "red moon rises", "the dog", "a fox, a dog, a moon"),
] * 3  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "code"])
def test_texts_are_scikit_learns_tf_idf(kind):
    how = {"ngram_range": (1, 2)} if kind == "text" else {"analyzer": "char_wb", "ngram_range": (2, 3)}
    if kind == "code":
        how["preprocessor"] = lambda text: text.lower()
    fitted = fit_text("x", TEXTS, kind)
    counter = CountVectorizer(**how)
    rows = dict(
        zip(sorted(counter.fit(TEXTS).vocabulary_), (counter.transform(TEXTS) > 0).sum(0).tolist()[0], strict=True)
    )
    common = sorted((name for name, count in rows.items() if count >= 3), key=lambda name: (-rows[name], name))[:64]
    assert fitted["grams"] == sorted(common)
    peer = TfidfVectorizer(vocabulary=fitted["grams"], **how).fit(TEXTS)
    new = [*TEXTS[:10], "an unknown RED fox", "nothing"]
    np.testing.assert_allclose(transform_text(new, fitted), peer.transform(new).toarray(), atol=1e-12)
    np.testing.assert_allclose(fitted["idf"], peer.idf_)
    assert json.loads(json.dumps(fitted)) == fitted


def test_grams_by_hand():
    assert grams("Red  fox, ab", "text") == ["red", "fox", "ab", "red fox", "fox ab"]
    assert grams("C8 x", "code") == [" c", "c8", "8 ", " x", "x ", " c8", "c8 ", " x "]
