"""Tables that could be misread without a word: what is made of them, and what is said."""

import numpy as np
import pandas as pd
import pytest
from table_files import COUNT, DAYS, RNG, data_of, written

from basics.errors import InputError
from datamodules.csv_files import read_csv
from datamodules.dates import confusable, date_kind, dates_flag, moments
from datamodules.known_targets import known_targets, required_targets
from datamodules.new_rows import read_rows
from datamodules.row_times import times_of
from datamodules.table_splits import Fold
from datamodules.tables import Table, number_target

X, TARGET = RNG.normal(size=COUNT).round(3), RNG.normal(size=COUNT).round(3)


def left_out(path, **flags):
    data = data_of(path, "y", **flags)
    return [name for name in data.read().cells.columns if name not in (*data.preprocessing["recipe"]["columns"], "y")]


def test_index_of_a_shuffled_frame_is_no_feature(tmp_path):
    frame = pd.DataFrame({"x": X, "y": TARGET}).sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "table.csv")  # its index has no name
    assert left_out(tmp_path / "table.csv") == ["c1"]


def test_ids_may_have_more_digits_than_a_float(tmp_path):
    ids = [10**19 + 37 * n**2 for n in range(COUNT)]
    assert left_out(written(tmp_path, pd.DataFrame({"id": ids, "x": X, "y": TARGET}))) == ["id"]
    assert left_out(written(tmp_path, pd.DataFrame({"size": ids, "x": X, "y": TARGET}))) == []


def test_missing_and_infinite_targets_of_new_rows_are_not_scored(tmp_path):
    frame = pd.DataFrame({"x": X, "y": TARGET})
    data = data_of(written(tmp_path, frame), "y", missing=["-999"])
    table = read_rows(written(tmp_path, frame.assign(y=["-999", "inf", *TARGET[2:]])), data.preprocessing).table
    np.testing.assert_array_equal(known_targets(table, data.preprocessing), [np.nan, np.nan, *TARGET[2:]])


@pytest.mark.parametrize(("ours", "theirs"), [("{}", "{}%"), ("{}%", "{}"), ("{}", "{} kg"), ("{} kg", "{} lb")])
def test_targets_in_another_scale_are_refused(tmp_path, ours, theirs):
    frame = pd.DataFrame({"x": X, "y": TARGET})
    data = data_of(written(tmp_path, frame.assign(y=frame["y"].map(ours.format))), "y")
    new = written(tmp_path, frame.assign(y=frame["y"].map(theirs.format)), "new.csv")
    with pytest.raises(InputError, match="is not a number"):
        required_targets(read_rows(new, data.preprocessing).table, data.preprocessing)


def test_order_of_days_is_open_in_one_of_two_formats_too():
    texts = ["2020-03-02", "2020-05-04", "03/02/2020", "06/07/2020"]
    kind = date_kind(texts)
    assert kind == "date %Y-%m-%d|%m/%d/%Y"
    assert confusable(texts, kind) == "%Y-%m-%d|%d/%m/%Y"
    assert not confusable([*texts, "01/31/2020"], date_kind([*texts, "01/31/2020"]))
    assert not confusable(["03/03/2020", "04/04/2020"], "date %m/%d/%Y")  # either order is the same day


def test_refused_order_of_days_quotes_one_that_shows_it():
    cells = pd.DataFrame({"sale.date": ["01/01/2020", "03/02/2020"]}, index=[2, 3])
    with pytest.raises(InputError) as refused:
        times_of(Table("a.csv", cells), "sale.date")
    assert "line 3" in str(refused.value) and "may be 2020-03-02 or 2020-02-03; " in str(refused.value)
    assert str(refused.value).endswith("""--dates '{"sale.date": "%d/%m/%Y"}' reads the latter""")
    assert dates_flag("sold", "%Y") == "--dates.sold '%Y'"


@pytest.mark.parametrize("zone", ["+00", "+00:00", "+0000", " EST", " CEST", " UTC", "Z"])
def test_zones_are_passed_over(zone):
    texts = [f"{day:%Y-%m-%d} 10:30:15.25{zone}" for day in DAYS[:20]]
    kind = date_kind(texts)
    assert kind == "date %Y-%m-%d"
    assert moments(pd.Series(texts), kind).iloc[0] == pd.Timestamp(f"{DAYS[0]:%Y-%m-%d} 10:30:15")


@pytest.mark.parametrize("before", ["\n", "\r\n\r\n", "   \n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_blank_lines_before_the_header(tmp_path, before, separator):
    (tmp_path / "a.csv").write_text(before + "a;b\n1;2\n".replace(";", separator), newline="")
    table = read_csv(tmp_path / "a.csv")
    assert table.cells.to_dict("records") == [{"a": "1", "b": "2"}]
    assert table.cells.index.tolist() == [before.count("\n") + 2]


def test_a_cell_may_be_as_long_as_the_file(tmp_path):
    (tmp_path / "a.csv").write_text(f'a,b\n1,"{"x" * 200_000}"\n')
    assert len(read_csv(tmp_path / "a.csv").cells["b"].iloc[0]) == 200_000


def test_part_of_a_date_does_not_replace_a_column(tmp_path):
    frame = pd.DataFrame({"d": [f"{day:%Y-%m-%d}" for day in DAYS], "d: month": X, "y": TARGET})
    with pytest.raises(InputError, match="column 'd: month': this is what a part of a date is called"):
        data_of(written(tmp_path, frame), "y")


def test_target_of_numbers_names_those_that_are_none():
    values = [f"{number}" for number in TARGET] + [f"<{number}" for number in range(20)]
    table = Table("a.csv", pd.DataFrame({"y": values}, index=range(2, len(values) + 2)))
    with pytest.raises(InputError, match=r"20 faults: line 62, column 'y': '<0' is not a number"):
        number_target(table, "y")
    with pytest.raises(InputError, match="'<0', like most of its values, is not a number"):
        number_target(table._replace(cells=table.cells.iloc[45:]), "y")


def test_new_rows_are_told_of_no_flag_that_predict_table_lacks(tmp_path):
    frame = pd.DataFrame({"2019": X, "2020": X, "y": TARGET})
    data = data_of(written(tmp_path, frame, sep=";"), "y")
    assert any("; --sep would say otherwise" in note for note in data.notes)
    assert read_rows(written(tmp_path, frame.drop(columns="y"), "new.csv", sep=";"), data.preprocessing).notes == []
    with pytest.raises(InputError, match="column '2019' is missing"):
        read_rows(written(tmp_path, frame[["2020"]], "new.csv", sep=";"), data.preprocessing)
    (tmp_path / "new.csv").write_bytes(b"\x81\x00\x01")
    with pytest.raises(InputError) as refused:
        read_rows(tmp_path / "new.csv", data.preprocessing)
    assert "--" not in str(refused.value).replace(str(tmp_path), "")


def test_repeated_rows_of_folds_are_held_out_rows(tmp_path):
    frame = pd.DataFrame({"x": X, "y": TARGET})
    path = written(tmp_path, pd.concat([frame, frame.iloc[:30]]))
    (note,) = [note for note in data_of(path, "y", fold=Fold(0, 5, 0), test_size=0).notes if "copies" in note]
    assert "held-out rows are copies of training rows" in note and note.endswith(
        "they flatter the figures of the folds"
    )
