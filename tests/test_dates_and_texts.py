"""Dates and texts in tables, against datetime and scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from table_files import COUNT, DAYS, WITH_TIME, data_of, frame_of, written

from datamodules.dates import PARTS, date_parts, moments
from datamodules.preprocessing import feature_names
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
