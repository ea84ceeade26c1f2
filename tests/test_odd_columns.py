"""Columns that are easily misunderstood, in training and in new rows: what they are read as, against plain Python."""

import datetime

import numpy as np
import pandas as pd
import pytest
from table_files import COUNT, DAYS, RNG, data_of, frame_of, written

from datamodules.column_report import as_frame
from datamodules.dates import date_kind, moments
from datamodules.new_rows import one_row, read_rows
from datamodules.preprocessing import columns_of
from datamodules.table_splits import Fold
from harness.drawing.column_figures import draw_columns
from harness.serving.rows import fields_of

TARGET = RNG.normal(size=COUNT).round(3)


def kind_of(data, column="x"):
    return data.preprocessing["recipe"]["columns"][column]


def read_as(data, folder, text):
    """The typed columns of new rows, as a file of this text has them."""
    path = folder / "new.csv"
    path.write_text(text)
    rows = read_rows(path, data.preprocessing)
    return columns_of(rows.table, data.preprocessing["recipe"] | {"columns": rows.kinds}, ("y",)), rows


NEW = {"with commas": "x;z\n1.250;12,5\n2.400;3,5\n", "with points": 'x,z\n"1,250",12.5\n2400,3.5\n'}


@pytest.mark.parametrize("trained_on", ["with points", "with commas"])
@pytest.mark.parametrize("new", NEW)
def test_new_rows_have_a_decimal_mark_of_their_own(tmp_path, trained_on, new):
    x, z = RNG.integers(1000, 9000, COUNT), RNG.normal(20, 5, COUNT).round(1)
    frame = pd.DataFrame({"x": x, "z": z, "y": TARGET})
    if trained_on == "with commas":
        frame = frame.assign(x=[f"{n / 1000:.3f}".replace(".", ",") for n in x])  # 5,517 is 5.517 there
        path = written(tmp_path, frame, sep=";", decimal=",")
    else:
        path = written(tmp_path, frame)
    read, _ = read_as(data_of(path, "y"), tmp_path, NEW[new])
    assert read.to_numpy().tolist() == [[1250, 12.5], [2400, 3.5]]


def test_point_of_another_file_is_no_mark_of_thousands(tmp_path):
    x = [f"{n / 1000:.3f}".replace(".", ",") for n in RNG.integers(1000, 9000, COUNT)]
    path = written(
        tmp_path, pd.DataFrame({"x": x, "z": RNG.normal(9, 1, COUNT).round(1), "y": TARGET}), sep=";", decimal=","
    )
    read, rows = read_as(data_of(path, "y"), tmp_path, "x,z\n1.250,12.5\n2.400,3.5\n")
    assert read["x"].tolist() == [1.25, 2.4]
    assert any("column 'x': read as number, in training as decimal comma" in note for note in rows.notes)


def test_new_dates_keep_the_order_of_the_training(tmp_path):
    data = data_of(written(tmp_path, pd.DataFrame({"x": [f"{day:%d/%m/%Y}" for day in DAYS], "y": TARGET})), "y")
    read, rows = read_as(data, tmp_path, "x\n03/04/2021\n05/06/2021\n2021-07-08\n")
    assert [day.isoformat()[:10] for day in read["x"]] == ["2021-04-03", "2021-06-05", "2021-07-08"]
    assert rows.kinds["x"] == "date %d/%m/%Y|%Y-%m-%d"
    read, _ = read_as(data, tmp_path, "x\n03/04/2021\n05/16/2021\n")  # only the other order fits
    assert [day.isoformat()[:10] for day in read["x"]] == ["2021-03-04", "2021-05-16"]


def test_prices_of_three_decimals_are_amounts_once_somebody_says_so(tmp_path):
    prices = [3 + number / 1000 for number in range(100, 100 + COUNT)]
    frame = pd.DataFrame({"x": [f"${price:.3f}" for price in prices], "y": [f"${price:.3f}" for price in prices]})
    path = written(tmp_path, frame)
    doubtful = data_of(path, "y")
    assert frame_of(doubtful)["x"].tolist() == doubtful.targets.tolist() == [round(1000 * price) for price in prices]
    assert sum("--decimal . says otherwise" in note for note in doubtful.notes) == 2  # of the target too
    sure = data_of(path, "y", decimal=".")
    np.testing.assert_allclose(frame_of(sure)["x"], prices)
    np.testing.assert_allclose(sure.targets, prices)
    read, _ = read_as(sure, tmp_path, "x\n$3.459\n")
    assert read["x"].tolist() == [3.459]


@pytest.mark.parametrize("places", [[0], [0, 20, 40]])
def test_word_among_dates_names_the_flag_wherever_it_stands(tmp_path, places):
    days = [f"{day:%Y-%m-%d}" for day in DAYS]
    for place in places:
        days[place] = "unknown"
    path = written(tmp_path, pd.DataFrame({"x": days, "y": TARGET}))
    with pytest.raises(ValueError, match=r"'unknown' is no date .*--missing 'unknown' says so"):
        data_of(path, "y")
    assert kind_of(data_of(path, "y", missing=["unknown"])) == "date %Y-%m-%d"


def test_formats_are_found_beside_a_word():
    days = [f"{day:%Y-%m-%d}" for day in DAYS[:40]] + ["soon"] + [f"{day:%d.%m.%Y}" for day in DAYS[40:]]
    assert date_kind(days) == "date %Y-%m-%d|%d.%m.%Y"
    assert date_kind(["03/2021", "04/2021", "05.2021"]) == "date %m/%Y|%m.%Y"
    assert date_kind([f"{number} Main Street" for number in range(60)]) == ""


def test_times_beyond_a_day_are_durations(tmp_path):
    minutes, seconds = RNG.integers(10, 60, COUNT), RNG.integers(0, 60, COUNT)
    texts = [f"{minute}:{second:02}" for minute, second in zip(minutes, seconds, strict=True)]  # taken for hours
    data = data_of(written(tmp_path, pd.DataFrame({"x": texts, "y": TARGET})), "y")
    assert kind_of(data) == "duration"
    np.testing.assert_allclose(frame_of(data)["x"], minutes + seconds / 60)
    ordered = sorted(texts)  # all have four digits
    report = as_frame(data.columns).set_index("column")
    assert report.loc["x", ["low", "high"]].tolist() == [ordered[0], ordered[-1]]
    assert draw_columns(data.columns).axes[0].get_xticklabels()[0].get_text() == ordered[0]
    (field,) = fields_of(data.preprocessing, {})
    assert one_row({"x": field["value"]}, data.preprocessing).kinds == {"x": "duration"}
    assert moments(pd.Series([field["value"]]), "duration").notna().all()
    read, _ = read_as(data, tmp_path, "x\n8:30\n132:15\n")
    assert read["x"].tolist() == [8.5, 132.25]
    assert date_kind(["8:15", "23:59", "24:00"] * 20 + ["25:10"]) == "time"  # one mistake


def test_years_of_two_digits_are_of_one_century():
    births = [datetime.date(year, 1, 3) for year in range(1935, 2020)]
    texts = pd.Series([f"{day:%d-%b-%y}" for day in births], dtype=object)
    kind = date_kind(texts.tolist())
    assert kind == "date %d-%b-%y"
    assert moments(texts, kind).dt.date.tolist() == births


def test_months_of_years_are_no_decimal_numbers(tmp_path):
    months = [f"{1 + number % 12:02}.{2014 + number // 12}" for number in range(COUNT)]
    data = data_of(written(tmp_path, pd.DataFrame({"x": months, "y": TARGET})), "y")
    assert kind_of(data) == "date %m.%Y"
    assert [f"{month:%m.%Y}" for month in frame_of(data)["x"]] == months
    plain = [f"{number / 4:.4f}" for number in range(COUNT)]
    assert kind_of(data_of(written(tmp_path, pd.DataFrame({"x": plain, "y": TARGET})), "y")) == "number"


UNITS = {
    "thousands": ([f"{n:,} km" for n in range(800, 800 + 40 * COUNT, 40)], "unit km", range(800, 800 + 40 * COUNT, 40)),
    "decimal comma": ([f"{n},5 kg" for n in range(COUNT)], "unit kg, decimal comma", [n + 0.5 for n in range(COUNT)]),
    "decimal point": ([f"{n}.5kg" for n in range(COUNT)], "unit kg", [n + 0.5 for n in range(COUNT)]),
}


@pytest.mark.parametrize("form", UNITS)
def test_numbers_before_units_have_marks_too(tmp_path, form):
    texts, kind, values = UNITS[form]
    data = data_of(written(tmp_path, pd.DataFrame({"x": texts, "y": texts})), "y")
    assert kind_of(data) == kind
    assert frame_of(data)["x"].tolist() == data.targets.tolist() == list(values)


@pytest.mark.parametrize("names", [["850.0", "852.5", "y"], ["1990", "2000", "y"]])
def test_names_may_be_numbers(tmp_path, names):
    frame = pd.DataFrame(RNG.normal(size=(COUNT, 3)).round(2), columns=names)
    data = data_of(written(tmp_path, frame), "y")
    assert list(data.preprocessing["recipe"]["columns"]) == names[:2]
    read, _ = read_as(data, tmp_path, f"{names[0]},{names[1]}\n1.5,2.5\n")
    assert read.to_numpy().tolist() == [[1.5, 2.5]]


def test_values_that_hardly_differ_and_a_column_called_self(tmp_path):
    near = [0.1 + 0.2 if row % 2 else 0.3 for row in range(COUNT)]
    data = data_of(written(tmp_path, pd.DataFrame({"x": near, "self": near})), "self")
    assert data.columns[0].low == "0.3"
    assert sum(data.columns[0].counts) == COUNT


def test_class_that_the_folds_cannot_train_names_the_flag(tmp_path):
    kinds = ["a"] * 30 + ["b"] * 28 + ["c"] * 2
    path = written(tmp_path, pd.DataFrame({"x": TARGET, "y": kinds}))
    with pytest.raises(ValueError, match=r"'c', in 1 row besides .*, has none .*; --folds 0 trains one model"):
        data_of(path, "y", task="classification", fold=Fold(0, 5, 0), test_size=0.1).check_folds()
    data_of(path, "y", task="classification", test_size=0.1)


def test_names_among_numbers_have_two_ways_out(tmp_path):
    sizes = [("0", "1", "2", "3+")[row % 4] for row in range(COUNT)]
    path = written(tmp_path, pd.DataFrame({"x": sizes, "y": TARGET}))
    with pytest.raises(ValueError, match=r"'3\+' is not a number; if the column has names, --categories x says so"):
        data_of(path, "y")
    assert kind_of(data_of(path, "y", categories=["x"])) == "category"
