"""Tables as people have them: each kind is read as pandas or scikit-learn reads it, and a line says so."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from table_files import COUNT, DAYS, PLAIN, RNG, WITH_TIME, data_of, frame_of, written

from basics.errors import InputError
from datamodules.column_report import as_frame
from datamodules.csv_files import Reading, read_csv
from datamodules.known_targets import required_targets
from datamodules.new_rows import read_rows
from datamodules.preprocessing import Recipe, feature_names, fit
from datamodules.tables import Table, number_target
from harness.drawing.column_figures import draw_columns

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
