"""Tables as people have them: each kind is read as pandas, datetime or scikit-learn reads it, and a line says so."""

import datetime
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from basics.errors import InputError
from datamodules.column_report import as_frame
from datamodules.csv_files import Reading, read_csv
from datamodules.csv_table import CsvTable
from datamodules.dates import PARTS, date_parts, moments
from datamodules.known_targets import known_targets, required_targets
from datamodules.new_rows import read_rows
from datamodules.preprocessing import Recipe, columns_of, feature_names, fit
from datamodules.tables import Table, number_target
from datamodules.texts import fit_text, grams, transform_text
from experiments import table
from harness.drawing.column_figures import draw_columns
from harness.tasks.tabular import complete_net_args
from lit_modules.nets import build_net

COUNT = 60
RNG = np.random.default_rng(0)
TABLES = Path(__file__).parents[1] / "data" / "tables"
PLAIN = pd.DataFrame({
    "size": RNG.normal(50, 9, COUNT).round(2),
    "town": RNG.choice(["Köln", "Łódź", "Nîmes"], COUNT),
    "note, if any": RNG.choice(np.array([None, "a, b", "c; d"]), COUNT),
    "price": RNG.integers(100, 999, COUNT),
})  # fmt: skip


def data_of(path, target="price", **options):
    data = CsvTable(str(path), target, **options)
    data.setup()
    return data


def frame_of(data):
    """The typed features, as they are before anything is fitted."""
    recipe = data.preprocessing["recipe"]
    return columns_of(data.read(), recipe, tuple(data.preprocessing["besides"]))


def written(folder, frame, name="table.csv", **options):
    frame.to_csv(folder / name, index=False, **options)
    return folder / name


WAYS = {  # how it is written by pandas, and parts of the line that says how it was read
    "usual": ({}, ""),
    "semicolons": ({"sep": ";"}, "separated by semicolons; --sep"),
    "tabs": ({"sep": "\t"}, "separated by tabs"),
    "pipes": ({"sep": "|"}, "separated by '|'"),
    "blanks": ({"sep": " "}, "separated by blanks"),
    "byte-order mark": ({"encoding": "utf-8-sig"}, ""),
    "UTF-16": ({"encoding": "utf-16"}, "as utf-16; --encoding"),
    "UTF-16 without its mark": ({"encoding": "utf-16-le"}, "as utf-16-le"),
    "German Excel": ({"sep": ";", "decimal": ",", "encoding": "utf-16"}, "as utf-16 and with columns separated by"),
    "decimal commas in quotes": ({"decimal": ","}, ""),
    "a column of lines": ({"index": True, "index_label": ""}, "called c1"),
}


@pytest.mark.parametrize("kind", WAYS)
def test_file_is_read_as_it_was_written(tmp_path, kind):
    options, said = WAYS[kind]
    path = tmp_path / "table.csv"
    PLAIN.to_csv(path, **{"index": False, "na_rep": "?", **options})
    data = data_of(path)
    frame = frame_of(data)
    np.testing.assert_array_equal(frame["size"], PLAIN["size"])
    assert frame["town"].tolist() == PLAIN["town"].tolist()
    assert frame["note, if any"].tolist() == PLAIN["note, if any"].fillna("").tolist()
    np.testing.assert_array_equal(data.targets, PLAIN["price"])
    assert list(frame) == ["size", "town", "note, if any"]  # and no column that numbers the rows
    assert said in "\n".join(data.notes)
    assert bool(data.notes) == bool(said or "decimal" in options)


def test_western_text_is_read_and_mended_utf8_is_not_guessed(tmp_path):
    path = tmp_path / "old.csv"
    frame = PLAIN.assign(town=RNG.choice(["Köln", "Zürich", "5 €"], COUNT))
    path.write_bytes(frame.to_csv(index=False).encode("cp1252"))
    data = data_of(path)
    assert frame_of(data)["town"].tolist() == frame["town"].tolist()
    assert "as cp1252" in data.notes[0]
    broken = frame.to_csv(index=False).encode()
    place = broken.index("ö".encode())
    path.write_bytes(broken[:place] + b"\xf6" + broken[place + 2 :])
    with pytest.raises(ValueError, match=r"line \d+, after .* is not UTF-8, as the rest is; .*--encoding"):
        data_of(path)
    assert read_csv(path, Reading(encoding="latin-1")).cells.shape == (COUNT, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"sep": "#"}, "sep '#'"), ({"encoding": "klingon"}, "encoding 'klingon'"), ({"decimal": "'"}, 'decimal "\'"')],
)
def test_mistaken_way_to_read_is_named(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        data_of(written(tmp_path, PLAIN), **options)


def test_flags_overrule_what_is_found(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a;b,y\n" + "".join(f"{row}.125;x,{row % 7}\n" for row in range(COUNT)))
    assert list(read_csv(path, Reading(sep="semicolon")).cells) == ["a", "b,y"]
    assert list(read_csv(path, Reading(sep="comma")).cells) == ["a;b", "y"]
    amounts = pd.DataFrame({"a": [f"{row},125" for row in range(1, COUNT + 1)], "y": range(COUNT)})
    path = written(tmp_path, amounts)
    for decimal, factor in {"": 1000, ".": 1000, ",": 1}.items():
        values = frame_of(data_of(path, "y", decimal=decimal))["a"]
        np.testing.assert_allclose(values, factor * (np.arange(1, COUNT + 1) + 0.125))


def test_file_without_header_names_the_flag_and_numbers_its_columns(tmp_path):
    path = written(tmp_path, PLAIN, header=False)
    with pytest.raises(ValueError, match=r"line 1: .* give --no_header"):
        data_of(path, "c4")
    data = data_of(path, "c4", no_header=True)
    np.testing.assert_array_equal(frame_of(data)["c1"], PLAIN["size"])
    with pytest.raises(ValueError, match="'price' is missing"):
        data_of(path, no_header=True)


@pytest.mark.parametrize("marker", ["?", "NA", "N/A", "None", "null", "-", "", "NaN", "unknown", "-999"])
def test_markers_of_missing_values(tmp_path, marker):
    lost = np.arange(COUNT) % 7 == 3
    frame = PLAIN.astype(str).assign(size=PLAIN["size"].astype(str).where(~lost, marker))
    frame["town"] = frame["town"].where(~lost, marker)
    data = data_of(written(tmp_path, frame), missing=["unknown", "-999"])
    read = frame_of(data)
    np.testing.assert_array_equal(read["size"], PLAIN["size"].where(~lost))
    assert (read["town"] == "").tolist() == lost.tolist()
    assert data.columns[0].missing == pytest.approx(lost.mean())


def test_frequent_word_among_numbers_names_the_flag(tmp_path):
    sizes = PLAIN["size"].astype(str).where(np.arange(COUNT) % 4 > 0, "unknown")
    with pytest.raises(ValueError, match=r"15 faults: line 2, column 'size': 'unknown' .*--missing 'unknown'.*11 more"):
        data_of(written(tmp_path, PLAIN.assign(size=sizes)))


NUMBERS = RNG.integers(1000, 9_000_000, COUNT)
FORMS = {  # how a number is written, and what is read
    "thousands": (lambda n: f"{n:,}", lambda n: n),
    "thousands by blanks": (lambda n: f"{n:,}".replace(",", " "), lambda n: n),
    "Swiss thousands": (lambda n: f"{n:,}".replace(",", "'"), lambda n: n),
    "German amounts": (lambda n: f"{n / 100:,.2f} €".translate(str.maketrans(".,", ",.")), lambda n: n / 100),
    "whole German amounts": (lambda n: f"{n:,} €".replace(",", "."), lambda n: n),
    "German numbers": (lambda n: f"{n / 10:,.1f}".translate(str.maketrans(".,", ",.")), lambda n: n / 10),
    "dollars": (lambda n: f"${n:,}", lambda n: n),
    "currency code": (lambda n: f"USD {n}", lambda n: n),
    "percent": (lambda n: f"{n / 1e5:.2f} %", lambda n: round(n / 1e5, 2)),
    "percent with a comma": (lambda n: f"{n / 1e5:.2f}%".replace(".", ","), lambda n: round(n / 1e5, 2)),
    "unit": (lambda n: f"{n} kg", lambda n: n),
}


@pytest.mark.parametrize("kind", FORMS)
def test_written_numbers_are_read_as_feature_and_as_target(tmp_path, kind):
    write, value = FORMS[kind]
    texts, wanted = [write(n) for n in NUMBERS], [value(n) for n in NUMBERS]
    data = data_of(written(tmp_path, pd.DataFrame({"x": texts, "y": texts})), "y")
    np.testing.assert_allclose(frame_of(data)["x"], wanted)
    np.testing.assert_allclose(data.targets, wanted)
    assert any("'x'" in note and repr(texts[0]) in note for note in data.notes)


DAYS = [datetime.datetime(1999, 12, 27, 6, 30) + datetime.timedelta(days=17, hours=5) * row for row in range(COUNT)]
WITH_TIME = "%Y-%m-%d %H:%M"
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


def test_rows_of_a_wrong_length_are_named_with_the_other_faults(tmp_path):
    lines = ["a,b,y", *(f"{row},{row},{row}" for row in range(COUNT))]
    lines[3] += ","
    lines[7], lines[9] = "6,six,6", "8,8"
    (tmp_path / "many.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="3 faults") as said:
        data_of(tmp_path / "many.csv", "y")
    assert [fault.line for fault in said.value.faults] == [4, 10, 8]
    assert "too long: 4 of 3 columns; a separator at its end is too many" in str(said.value)
    with pytest.raises(ValueError, match="2 faults"):  # where nothing else looks at the rows
        read_csv(tmp_path / "many.csv")


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


def strangers():
    """Texts, codes, names and ids beside a number that is worth something."""
    nouns = ["lamp", "chair", "table", "rug", "door"]
    return pd.DataFrame({
        "record": range(1, COUNT + 1),
        "customer_id": RNG.permutation(90_000)[:COUNT],
        "remark": [f"{nouns[row % 5]} with {nouns[row * 3 % 4]} number{row}" for row in range(COUNT)],
        "cabin": [f"{'ABC'[row % 3]}{row % 48}" for row in range(COUNT)],
        "hash": [f"{row * 7919:x}q{row}" for row in range(COUNT)],
        "empty": "",
        "measure": RNG.permutation(90_000)[:COUNT],
        "y": RNG.normal(size=COUNT),
    })  # fmt: skip


def test_texts_are_read_and_ids_left_out_with_a_word(tmp_path):
    data = data_of(written(tmp_path, strangers()), "y")
    kinds = data.preprocessing["recipe"]["columns"]
    assert kinds == {"remark": "text", "cabin": "code", "measure": "number"}
    left = {note.split("'")[1]: note for note in data.notes if "left out" in note}
    assert list(left) == ["record", "customer_id", "hash", "empty"]
    assert [
        part in left[name] for name, part in zip(left, ("numbers", "name of an id", "own", "no value"), strict=True)
    ]
    names = feature_names(data.preprocessing)
    assert "remark: 'lamp'" in names
    assert "cabin: ' a'" in names
    only = data_of(tmp_path / "table.csv", "y", only=["customer_id", "measure"])
    assert feature_names(only.preprocessing) == ["customer_id", "measure"]
    assert json.loads(json.dumps(data.preprocessing)) == data.preprocessing


def test_rows_outside_training_change_no_fitted_figure_of_dates_and_texts(tmp_path):
    frame = strangers().assign(day=[day.strftime(WITH_TIME) for day in DAYS])
    before = data_of(written(tmp_path, frame), "y")
    others = np.setdiff1d(np.arange(COUNT), before.train_indices)
    frame.loc[others, "remark"] = [f"green sofa number{row}" for row in range(len(others))]
    frame.loc[others, "cabin"] = [f"Z{row // 2}" for row in range(len(others))]
    frame.loc[others, "day"] = "1980-01-01 23:00"
    after = data_of(written(tmp_path, frame), "y")
    assert before.preprocessing == after.preprocessing
    assert np.array_equal(before.rows[before.train_indices], after.rows[before.train_indices])
    assert not np.array_equal(before.rows, after.rows)


def test_all_faults_of_a_file_are_named_at_once(tmp_path):
    frame = PLAIN.astype(str)
    frame.loc[3, "size"], frame.loc[8, "size"] = "12OO", "inf"
    frame.loc[[5, 6, 7], "price"] = ""
    with pytest.raises(ValueError, match="5 faults") as error:
        data_of(written(tmp_path, frame))
    said = str(error.value)
    assert all(part in said for part in ("line 5, column 'size': '12OO'", "line 10, column 'size': 'inf'")), said
    assert "line 7, column 'price': '' is missing" in said
    assert "(so in lines 8, 9)" in said
    assert "--drop_missing_target" in said
    frame["size"] = [f"x{row}" if row % 3 == 0 else "1" for row in range(COUNT)]
    path = tmp_path / "long.csv"
    path.write_text("a,b\n" + "".join(f"{row},1,{row}\n" for row in range(COUNT)) + "1,2\n")
    with pytest.raises(ValueError, match=r"60 faults: line 2, .*'0' ends a row that is too long.*; and 52 more"):
        read_csv(path)


@pytest.mark.parametrize(
    ("targets", "task", "said"),
    [
        (
            [0, 1],
            "regression",
            "has only 2 values, 0 to 1, which are taken as numbers (--task regression); --task clas",
        ),
        ([3, 4, 8], "regression", "has only 3 values, 3 to 8, "),
        ([0, 1], "classification", ""),
        ([0.5, 1], "regression", ""),
        ([*range(7)], "regression", ""),  # of 60 rows: no ten of each
    ],
)
def test_target_that_may_be_classes_is_noted_with_the_flag_that_says_so(tmp_path, targets, task, said):
    frame = PLAIN.assign(price=[targets[row % len(targets)] for row in range(COUNT)])
    notes = [note for note in data_of(written(tmp_path, frame), task=task).notes if "target" in note]
    assert len(notes) == bool(said)
    assert all(note.startswith(f"target 'price' {said}") for note in notes)


def test_rows_without_target_are_left_out_if_so_wished(tmp_path):
    frame = PLAIN.astype(str)
    frame.loc[[5, 9], "price"] = ["?", "NA"]
    data = data_of(written(tmp_path, frame), drop_missing_target=True)
    np.testing.assert_array_equal(data.targets, PLAIN["price"].drop([5, 9]))
    assert "2 of 60 rows have no target" in data.notes[0]


def test_labels_without_their_dots_are_one_class_and_minus_is_a_label(tmp_path):
    labels = np.where(np.arange(COUNT) % 2, "+", "-")
    data = data_of(written(tmp_path, PLAIN.assign(price=labels)), task="classification")
    assert data.classes == ["+", "-"]
    with pytest.raises(ValueError, match=r"column 'price': '' is missing"):
        data_of(tmp_path / "table.csv", task="classification", missing=["-"])
    labels = np.array(["<=50K", ">50K", ">50K.", "<=50K ."] * 15)
    data = data_of(written(tmp_path, PLAIN.assign(price=labels)), task="classification")
    assert data.classes == ["<=50K", ">50K"]
    np.testing.assert_array_equal(data.targets, [0, 1, 1, 0] * 15)
    assert sum("label '>50K.' is taken as '>50K'" in note for note in data.notes) == 1
    with pytest.raises(ValueError, match=r"'YES' differs from 'yes'.*--similar_labels merge"):
        data_of(written(tmp_path, PLAIN.assign(price=["yes", "no", "yes", "YES"] * 15)), task="classification")


def test_words_as_target_of_a_regression_name_the_task():
    cells = pd.DataFrame({"y": ["low", "high", "low"]}, index=[2, 3, 4], dtype=object)
    with pytest.raises(ValueError, match=r"column 'y': 'low'.*--task classification"):
        number_target(Table("t.csv", cells), "y")


def test_copies_of_training_rows_among_the_test_rows_are_said(tmp_path):
    clean = data_of(written(tmp_path, PLAIN))
    assert not any("copies" in note for note in clean.notes)
    frame = PLAIN.copy()
    frame.iloc[clean.test_indices[:2]] = frame.iloc[clean.train_indices[:2]].to_numpy()
    (note,) = [note for note in data_of(written(tmp_path, frame)).notes if "copies" in note]
    assert note.startswith(
        f"2 of 6 test rows are copies of training rows, the first in line {clean.test_indices[0] + 2}"
    )


def prepared_for(path, data):
    """The kinds and the typed columns of new rows, and what is said of them."""
    table, kinds, notes = read_rows(path, data.preprocessing)
    return (
        kinds,
        columns_of(table, data.preprocessing["recipe"] | {"columns": kinds}, tuple(table.cells.columns)),
        notes,
    )


def test_new_rows_are_read_as_in_training_or_as_they_plainly_are(tmp_path):
    frame = PLAIN.drop(columns="note, if any").assign(day=[f"{day:%m/%d/%Y}" for day in DAYS])
    data = data_of(written(tmp_path, frame), missing=["unknown"])
    known = frame_of(data)
    new = frame.assign(extra="x", day=[f"{day:%Y-%m-%d}" for day in DAYS])[["extra", "day", "town", "size"]]
    new.loc[3, "town"] = "unknown"
    path = written(tmp_path, new, "new.csv", sep=";", decimal=",", encoding="utf-16")
    kinds, typed, notes = prepared_for(path, data)
    np.testing.assert_array_equal(typed["size"], known["size"])
    np.testing.assert_array_equal(typed["day"], known["day"])
    assert typed["town"].tolist() == [*known["town"][:3], "", *known["town"][4:]]
    assert kinds["size"] == "decimal comma"
    said = "\n".join(notes)
    assert all(part in said for part in ("utf-16", "semicolons", "column 'extra' was not there", "%Y-%m-%d"))
    assert prepared_for(tmp_path / "table.csv", data)[2] == []


def test_new_rows_are_read_by_the_flags_of_training(tmp_path):
    frame = PLAIN[["size", "town", "price"]].assign(price=PLAIN["price"].map("1.{}".format))  # 1.234 or 1234
    frame["size"] = frame["size"].map("{:.2f}".format).str.replace(".", ",")
    path = written(tmp_path, frame, sep="|", encoding="cp1250")
    flags = {"sep": "pipe", "encoding": "cp1250", "decimal": ","}
    data = data_of(path, **flags)
    new = read_rows(written(tmp_path, frame.iloc[:3], "new.csv", sep="|", encoding="cp1250"), data.preprocessing)
    assert new.table.cells["town"].tolist() == PLAIN["town"][:3].tolist()
    expected = 1000.0 + PLAIN["price"][:3]
    np.testing.assert_array_equal(data.targets[:3], expected)
    np.testing.assert_array_equal(required_targets(new.table, data.preprocessing), expected)


def test_target_of_new_rows_is_read_in_the_form_of_training(tmp_path):
    frame = PLAIN[["size", "town"]].assign(price=[f"{1000 + price:,}" for price in PLAIN["price"]])  # 1,234
    data = data_of(written(tmp_path, frame))
    new = read_rows(written(tmp_path, frame.iloc[:1], "new.csv"), data.preprocessing)
    assert required_targets(new.table, data.preprocessing).tolist() == [1000.0 + PLAIN["price"][0]]


def test_new_rows_of_a_file_without_header(tmp_path):
    numbered = PLAIN[["price", "size", "town"]]
    data = data_of(written(tmp_path, numbered, header=False), "c1", no_header=True)
    for new, header in ((numbered, False), (numbered[["size", "town"]], False), (numbered, ["c1", "c2", "c3"])):
        path = written(tmp_path, new, "new.csv", header=header)
        typed = prepared_for(path, data)[1]
        np.testing.assert_array_equal(typed["c2"], PLAIN["size"])
        assert typed["c3"].tolist() == PLAIN["town"].tolist()


def test_new_rows_of_a_file_without_header_and_without_its_labels(tmp_path):
    frame = PLAIN[["size", "town"]].assign(
        wet=[row % 2 for row in range(COUNT)], dry=[row % 3 // 2 for row in range(COUNT)]
    )
    data = data_of(written(tmp_path, frame, header=False), "c3,c4", no_header=True, task="multilabel")
    typed = prepared_for(written(tmp_path, frame[["size", "town"]], "new.csv", header=False), data)[1]
    np.testing.assert_array_equal(typed["c1"], PLAIN["size"])


def test_new_rows_of_which_only_some_dates_have_the_format_of_training_are_read_by_their_own(tmp_path):
    days = [f"{row % 12 + 1:02}/{row % 27 + 1:02}/2020" for row in range(COUNT)]
    data = data_of(written(tmp_path, pd.DataFrame({"day": days, "y": range(COUNT)})), "y")
    new = pd.DataFrame({"day": ["03/04/2020", "25/04/2020", "26/05/2020"]})
    kinds, typed, _ = prepared_for(written(tmp_path, new, "new.csv"), data)
    assert kinds["day"] == "date %d/%m/%Y"
    assert typed["day"].dt.day.tolist() == [3, 25, 26]


@pytest.mark.parametrize("options", [{"dates": {"day": "%Q/%m/%Y"}}, {"encoding": "hex"}, {"encoding": "undefined"}])
def test_format_or_encoding_that_there_is_not_is_named(tmp_path, options):
    with pytest.raises(InputError, match=r"%Q|hex|undefined"):
        data_of(written(tmp_path, PLAIN), **options)


def test_column_to_keep_is_neither_target_nor_left_out(tmp_path):
    for options in ({"drop": ["size"]}, {"id_column": "size"}):
        with pytest.raises(InputError, match=r"only 'size': .* names it too"):
            data_of(written(tmp_path, PLAIN), only=["size", "town"], **options)
    with pytest.raises(InputError, match="only 'price': target names it too"):
        data_of(written(tmp_path, PLAIN), only=["size", "price"])


def test_labels_kept_apart_in_training_are_apart_in_new_rows(tmp_path):
    frame = PLAIN[["size"]].assign(kind=["a", "b"] * (COUNT // 2))
    new = written(tmp_path, pd.DataFrame({"size": [1, 2], "kind": ["A", "b"]}), "new.csv")
    for similar, said in (("keep", [np.nan, 1.0]), ("trim", [0.0, 1.0])):
        data = data_of(written(tmp_path, frame), "kind", task="classification", similar_labels=similar)
        table = read_rows(new, data.preprocessing).table
        np.testing.assert_array_equal(known_targets(table, data.preprocessing), said)


def test_missing_target_of_a_test_row_is_called_missing(tmp_path):
    data = data_of(written(tmp_path, PLAIN))
    new = written(tmp_path, PLAIN.iloc[:2].assign(price=["-", "5"]), "new.csv")
    with pytest.raises(InputError, match="is missing; each row needs a target"):
        required_targets(read_rows(new, data.preprocessing).table, data.preprocessing)


def test_copies_of_training_rows_in_a_file_of_test_rows_are_said(tmp_path):
    other = PLAIN.assign(size=PLAIN["size"] + 0.5)
    other.iloc[3] = PLAIN.iloc[0]
    data = data_of(written(tmp_path, PLAIN), test_csv=str(written(tmp_path, other, "test.csv")))
    assert f"of {COUNT} test rows is a copy of a training row, the first in line 5" in str(data.notes)


def test_table_whose_only_column_has_nothing_in_common_is_refused(tmp_path):
    codes = pd.DataFrame({"code": ["ab", "cd", "ef", "gh", "ab"]})
    with pytest.raises(InputError, match="no column of code has anything"):
        fit(codes, Recipe({"code": "code"}))


def test_report_says_what_each_column_was_taken_for(tmp_path):
    frame = strangers().assign(day=[f"{day:%Y-%m-%d}" for day in DAYS])
    frame.loc[:5, "measure"] = np.nan
    data = data_of(written(tmp_path, frame), "y", drop=["cabin"])
    report = as_frame(data.columns).set_index("column")
    assert report.index.tolist() == frame.columns.tolist()
    assert report.loc["measure", ["role", "kind", "missing", "distinct"]].tolist() == ["feature", "number", 0.1, 54]
    assert report.loc["day", ["low", "high"]].tolist() == [f"{DAYS[0]:%Y-%m-%d}", f"{DAYS[-1]:%Y-%m-%d}"]
    roles = report["role"][["record", "cabin", "y", "empty"]].tolist()
    assert roles == ["it numbers the rows", "left out", "target", "no value in any row"]
    (measure,) = [asdict(column) for column in data.columns if column.name == "measure"]
    assert measure["counts"] == np.histogram(frame["measure"].dropna(), 20)[0].tolist()
    titles = [axes.get_title() for axes in draw_columns(data.columns).axes if axes.get_title()]
    assert titles == frame.columns.tolist()


REAL = {  # target, and the flags that the first message names
    "auto_imports_noheader.csv": ("c26", {"no_header": True}),
    "california_housing.csv": ("median_house_value", {}),
    "cta_ridership_daily.csv": ("total_rides", {}),
    "german_credit.csv": ("default", {"task": "classification"}),
    "insurance.csv": ("charges", {}),
    "islp_auto_whitespace.data": ("mpg", {}),
    "islp_carseats.csv": ("Sales", {}),
    "islp_hitters.csv": ("Salary", {"drop_missing_target": True}),
    "mushrooms.csv": ("type", {"task": "classification"}),
    "titanic_test.csv": ("Fare", {"drop_missing_target": True}),
    "titanic_train.csv": ("Survived", {"task": "classification"}),
    "winequality_red_noheader.csv": ("c12", {"no_header": True}),
}
SAYS_ITSELF = {"german_credit.csv", "titanic_train.csv"}  # their classes are numbers; a regression is no fault


@pytest.mark.parametrize("name", REAL)
def test_real_table_is_read_with_the_flags_that_its_error_names(name):
    if not (TABLES / name).exists():
        pytest.skip("data/tables is not there")
    target, flags = REAL[name]
    if flags and name not in SAYS_ITSELF:
        with pytest.raises(ValueError) as error:
            data_of(TABLES / name, target)
        assert all(f"--{flag}" in str(error.value) for flag in flags)
    data = data_of(TABLES / name, target, **flags)
    assert np.isfinite(data.rows).all()
    assert len(data.columns) == len(data.read().cells.columns)


ROWS = range(40)
# Each public table's peculiarities in a few rows: a line for each, the target, and the flags that errors name.
SHAPES = {
    "cars without a header": (
        [f"3,{'?' if i % 3 else 150 + i},{('alfa', 'bmw')[i % 2]},gas,{88 + i}.60,{11000 + 71 * i}" for i in ROWS],
        "c6", {"no_header": True},
    ),
    "houses in California": (
        ["longitude,rooms,bedrooms,value,ocean"]
        + [f"-122.{i:02d},{880 + i}.0,{'' if i == 5 else 129 + i},{452600 - i}.0,{('NEAR BAY', '<1H OCEAN')[i % 2]}"
           for i in ROWS],
        "value", {},
    ),
    "rides by day": (
        ["service_date,day_type,total"] + [f"01/{1 + i % 28:02d}/2001,{'WAU'[i % 3]},{400000 + 900 * i}" for i in ROWS],
        "total", {},
    ),
    "credits whose classes are numbers": (
        ["balance,amount,default"] + [f"{('< 0 DM', 'unknown')[i % 2]},{1169 + 31 * i},{1 + i % 2}" for i in ROWS],
        "default", {},
    ),
    "cars between blanks": (
        ["mpg\tcylinders\tweight name"]
        + [f'{18 + i % 9}.0   {4 + i % 3}   {3504 + 13 * i}. \t"seat {("malibu", "impala")[i % 2]} {i}"' for i in ROWS],
        "mpg", {},
    ),
    "players without a salary": (
        ["AtBat,League,Salary"] + [f"{290 + i},{'AN'[i % 2]},{475.0 + i if i % 7 else ''}" for i in ROWS],
        "Salary", {"drop_missing_target": True},
    ),
    "mushrooms, all of categories": (
        ["type,cap,odor"] + [f"{'ep'[i % 2]},{'xbs'[i % 3]},{'anp'[i % 3]}" for i in ROWS],
        "type", {"task": "classification"},
    ),
    "passengers": (
        ["PassengerId,Survived,Name,Age,Cabin"]
        + [f'{i + 1},{i % 2},"Braund {i}, Mr. Owen",{22 + i if i % 5 else ""},{"" if i % 4 else "C85"}' for i in ROWS],
        "Survived", {},
    ),
    "wines without a header": ([f"7.{i % 9},0.{10 + i},{5 + i % 3}" for i in ROWS], "c3", {"no_header": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shape_of_a_public_table_makes_the_default_net_with_the_flags_that_errors_name(tmp_path, name):
    lines, target, flags = SHAPES[name]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    given = {}
    for flag, value in flags.items():
        with pytest.raises(ValueError, match=f"--{flag}"):
            data_of(path, target, **given)
        given[flag] = value
    data = data_of(path, target, **given)
    net_args = complete_net_args(data, "tabm", dict(table.RECIPES["tabm"].net_args))
    outputs = max(1, len(data.classes))
    said = build_net("tabm", data.input_shape, outputs, **net_args)(torch.from_numpy(data.rows))
    assert said.shape == (len(data.rows), outputs)
    assert torch.isfinite(said).all()


def test_column_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(SHAPES["passengers"][0]))
    with pytest.raises(
        ValueError, match=r"column 'Fare' is missing; there are 'PassengerId', 'Survived', 'Name', 'Age', 'Cabin'$"
    ):
        data_of(path, "Fare")
    path.write_text(",".join(f"column{number}" for number in range(20)) + "\n" + ",".join("1" * 20) + "\n")
    with pytest.raises(ValueError, match=r"'column7' and 12 more$"):
        data_of(path, "Fare")
