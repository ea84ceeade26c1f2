"""Columns of text, dates and numbers written as text become numbers, or are left out, with a note; never silently."""

import datetime

import numpy as np
import pandas as pd
import pytest

from datamodules.column_kinds import infer_kinds
from datamodules.csv_files import read_csv
from datamodules.csv_table import CsvTable
from datamodules.preprocessing import columns_of
from datamodules.tables import numbers, similar
from datamodules.written_numbers import form_of, plain, unit_of

COUNT = 60
AMOUNTS = np.random.default_rng(0).integers(1000, 90_000, COUNT)


def table_of(folder, column, **others):
    """A file with a number, a column called `doubtful`, and a target."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=COUNT), "doubtful": column, **others, "y": rng.normal(size=COUNT)})
    frame.to_csv(folder / "doubtful.csv", index=False)
    return folder / "doubtful.csv"


def data_of(path, target="y", **options):
    data = CsvTable(str(path), target, **options)
    data.setup()
    return data


WRITTEN = {  # how an amount is written, its form, what it is read as, and what the note says of the first
    "percent": (lambda n: f"{n / 1000:.1f}%", "percent", lambda n: round(n / 1000, 1)),
    "percent after a blank": (lambda n: f"-{n} %", "percent", lambda n: -n),
    "dollars": (lambda n: f"${n}", "currency $", lambda n: n),
    "dollars and cents": (lambda n: f"-${n:,}.50" if n % 2 else f"${n:,}", "currency $", lambda n: -n - 0.5),
    "euros after": (lambda n: f"{n},00 €".replace(",", "."), "currency €", lambda n: n),
    "thousands": (lambda n: f"{n:,}", "thousands", lambda n: n),
    "thousands and plain ones": (lambda n: f"{n:,}" if n > 10_000 else str(n), "thousands", lambda n: n),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_written_numbers_are_read_and_a_note_says_so(tmp_path, kind):
    write, form, value = WRITTEN[kind]
    amounts = AMOUNTS | 1 if kind == "dollars and cents" else AMOUNTS
    texts = [write(n) for n in amounts]
    data = data_of(table_of(tmp_path, texts))
    frame = columns_of(read_csv(tmp_path / "doubtful.csv"), data.preprocessing["recipe"], ("y",))
    np.testing.assert_allclose(frame["doubtful"], [value(n) for n in amounts])
    assert data.preprocessing["recipe"]["columns"]["doubtful"] == form
    (note,) = data.notes
    first = next(text for text in texts if form_of(text))
    assert all(part in note for part in ("'doubtful'", repr(first), form))
    assert note in data.describe()


@pytest.mark.parametrize(
    ("texts", "wrong"),
    [
        (["40%"] * 59 + ["0.4"], "'0.4'"),  # forty percent, or less than one?
        (["$40"] * 40 + ["€40"] * 20, "'€40'"),
        (["1,010"] * 40 + ["40%"] * 20, "'40%'"),
    ],
)
def test_number_in_another_form_is_refused(tmp_path, texts, wrong):
    with pytest.raises(ValueError, match="column 'doubtful'") as error:
        data_of(table_of(tmp_path, texts))
    assert wrong in str(error.value)


def spread(start, step):
    return [start + step * int(n % 997) for n in AMOUNTS]


DAYS = spread(datetime.datetime(2020, 1, 30, 8, 15), datetime.timedelta(days=1))
TEXTS = {  # and what they are taken for
    "ISO dates": ([day.date().isoformat() for day in DAYS], "date %Y-%m-%d"),
    "few dates": ([day.date().isoformat() for day in DAYS[:6]] * 10, "date %Y-%m-%d"),
    "American dates": ([day.strftime("%m/%d/%Y") for day in DAYS], "date %m/%d/%Y"),
    "German dates": ([day.strftime("%d.%m.%y") for day in DAYS], "date %d.%m.%y"),
    "written dates": ([day.strftime("%B %d, %Y") for day in DAYS], "date %B %d, %Y"),
    "time stamps": ([day.isoformat() for day in DAYS], "date %Y-%m-%d"),
    "months": ([f"{day:%Y-%m}" for day in DAYS], "date %Y-%m"),
    "units": ([f"{n} kg" for n in AMOUNTS], "unit kg"),
    "units without a blank": ([f"{n}m2" for n in AMOUNTS], "unit m2"),
    "remarks": ([f"note {n // 9000} of {n}" for n in AMOUNTS], ""),
    "remarks, each twice": ([f"note {n}" for n in AMOUNTS[:30]] * 2, "code"),
    "remarks and a common one": (["none"] * 20 + [f"note {n // 2}" for n in range(40)], "code"),
    "remarks with words": ([f"{'red blue'.split()[n % 2]} house {n}" for n in AMOUNTS], "text"),
    "decimal commas": ([f"{n},5" for n in AMOUNTS], "decimal comma"),
    "two decimals after a comma": (["1,010"] * 40 + ["10,10"] * 20, "decimal comma"),
    "thousands of euros": ([f"{n // 1000}.{n % 1000:03} €" for n in AMOUNTS], "currency €, decimal comma"),
    "serial numbers": ([f"{n}-{row}" for row, n in enumerate(AMOUNTS)], ""),
    "names of digits and others": ([str(n) if n % 3 else f"PC {n}" for n in AMOUNTS], "code"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_is_taken_for_what_it_is_or_left_out(tmp_path, kind):
    texts, taken_for = TEXTS[kind]
    path = table_of(tmp_path, [*texts[:-1], texts[0]] if taken_for == "code" else texts)
    data = data_of(path)
    assert data.preprocessing["recipe"]["columns"].get("doubtful", "") == taken_for
    assert any("'doubtful'" in note for note in data.notes) or taken_for == "time"
    assert ("doubtful" in data.left_out) == (not taken_for)
    assert data_of(path, drop=["doubtful"]).input_shape == (1,)


def test_text_named_as_categories_is_taken_and_its_loss_said(tmp_path):
    texts = ["none"] * 20 + [f"note {n // 2}" for n in range(40)]
    data = data_of(table_of(tmp_path, texts), categories=["doubtful"])
    (note,) = data.notes
    train = pd.Series(texts)[data.train_indices]
    assert f"{(train != 'none').sum()} of {len(train)} training rows" in note
    assert "'doubtful'" in note
    assert "'note " in note


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["40 kg", "50 kg", "60 kg"] * 20, ["'40 kg' is read as 40 (unit kg)"]),
        ([f"{n % 9:03}" for n in range(COUNT)], ["'000'", "as 0;", "categories"]),
        (["Yes", "yes", "no"] * 20, ["'yes'", "'Yes'", "two categories"]),
        (["Yes", "Yes .", "no"] * 20, ["'Yes .'", "'Yes'", "two categories"]),
    ],
)
def test_doubtful_column_is_noted_once(tmp_path, texts, parts):
    (note,) = data_of(table_of(tmp_path, texts)).notes
    assert all(part in note for part in ["'doubtful'", *parts]), note


@pytest.mark.parametrize("texts", [["a", "b", "c"] * 20, [str(n) for n in AMOUNTS], ["2 doors", "4 doors"] * 30])
def test_plain_columns_are_not_noted(tmp_path, texts):
    assert data_of(table_of(tmp_path, texts)).notes == []


def test_rows_without_any_feature_are_noted(tmp_path):
    path = table_of(tmp_path, ["a", "b", "c"] * 20)
    lines = path.read_text().splitlines()
    lines[7] = ",NA," + lines[7].rpartition(",")[2]
    path.write_text("\n".join(lines))
    assert data_of(path).notes == ["1 row has no value in any feature, the first in line 8"]


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("40%", "percent", "40"), (".5 %", "percent", ".5"), ("$1,010.5", "currency $", "1010.5"),
        ("-£3", "currency £", "-3"), ("7 ¥", "currency ¥", "7"), ("1,234,567", "thousands", "1234567"),
    ],
)  # fmt: skip
def test_forms_by_hand(text, form, value):
    assert (form_of(text), plain(text, form)) == (form, value)


@pytest.mark.parametrize(
    "text", ["", "%", "$", "1,01", "1,0100", "$5$", "$5 €", "1.200 €", "40 kg", "12", "1e5%", "(1,200)", "\u0664%"]
)
def test_no_forms(text):
    assert form_of(text) == ""


def test_units_by_hand():
    assert [unit_of(text) for text in ("40 kg", "1,5m²", "12", "kg", "4dr", "$4", "1Fam", "40%")] == [
        "kg", "m²", "", "", "dr", "", "Fam", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("7.4,0.7,0", "'7.4'"),
        ("39,State-gov,<=50K", "'39'"),  # the texts are among the values
        ("x,State-gov,7.25", "'7.25'"),
        ("3,1,2", "'3'"),
        ("7.4,0.7,0.7", "'7.4'"),  # and not that a column is there twice
    ],
)
def test_first_line_of_data_is_no_header(tmp_path, first, named):
    path = tmp_path / "headless.csv"
    path.write_text(first + "\n" + "40,State-gov,>50K\n41,Private,<=50K\n")
    with pytest.raises(ValueError, match=r"line 1.*put a line with the columns' names above it") as error:
        read_csv(path)
    assert named in str(error.value)


@pytest.mark.parametrize("header", ["0,1,2", "country,2001,2002", "age,work,income"])
def test_headers_with_numbers_are_taken(tmp_path, header):
    path = tmp_path / "numbered.csv"
    path.write_text(header + "\n40,State-gov,>50K\n")
    assert list(read_csv(path).cells.columns) == header.split(",")


LABELS = [">50K", ">50K.", "<=50K"] * 20


def test_similar_labels_are_refused_merged_or_kept(tmp_path):
    path = table_of(tmp_path, ["a", "b"] * 30, label=[*LABELS[:-2], ">50K", "<=50K"])
    options = dict(target="label", task="classification", drop=["y"])
    with pytest.raises(
        ValueError, match=r"line 3, column 'label': '>50K\.' differs from '>50K' in case, dots"
    ) as error:
        data_of(path, **options, similar_labels="refuse")
    assert "--similar_labels merge" in str(error.value)
    merged = data_of(path, **options, similar_labels="merge")
    assert merged.classes == ["<=50K", ">50K"]
    assert np.array_equal(merged.targets, [1, 1, 0] * 20)
    assert data_of(path, **options, similar_labels="keep").classes == ["<=50K", ">50K", ">50K."]
    with pytest.raises(ValueError, match="similar_labels 'drop'"):
        data_of(path, **options, similar_labels="drop")


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (["a", "A", "a"], [["a", "A"]]),
        (["New  York", "New York", "new york."], [["New  York", "New York", "new york."]]),
        (["ros\u00e9", "rose\u0301"], [["ros\u00e9", "rose\u0301"]]),
        (["1.0", "10", "01", "1", "no rain", "norain"], []),
    ],
)
def test_similar_texts_by_hand(texts, groups):
    assert [sorted(group) for group in similar(pd.Series(texts))] == [sorted(group) for group in groups]


def test_labels_of_digits_are_text(tmp_path):
    path = table_of(tmp_path, ["a", "b"] * 30, label=["01", "1", "001"] * 20)
    data = data_of(path, "label", task="classification", drop=["y"])
    assert data.classes == ["001", "01", "1"]
    assert np.array_equal(data.targets, [1, 2, 0] * 20)


def test_names_of_digits_stay_distinct_as_categories(tmp_path):
    data = data_of(table_of(tmp_path, ["01", "1", "001"] * 20), categories=["doubtful"])
    assert data.preprocessing["categories"][0]["values"] == ["001", "01", "1"]


def test_missing_values_do_not_hide_what_a_column_holds(tmp_path):
    path = table_of(tmp_path, [f"{n}%" if n % 4 == 0 else "NA" for n in AMOUNTS])
    table = read_csv(path)
    assert infer_kinds(table, ["doubtful"]) == {"doubtful": "percent"}
    values = numbers(table, "doubtful", "percent")
    np.testing.assert_array_equal(values, [n if n % 4 == 0 else np.nan for n in AMOUNTS])
