"""New rows of a table are read as those of the training were, or as they plainly are."""

import numpy as np
import pandas as pd
import pytest
from table_files import COUNT, DAYS, PLAIN, data_of, frame_of, written

from datamodules.known_targets import known_targets, required_targets
from datamodules.new_rows import read_rows
from datamodules.preprocessing import columns_of


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


def test_column_that_may_be_meant_is_numbered_as_in_the_file(tmp_path):
    frame = PLAIN[["price", "town", "size"]]
    data = data_of(written(tmp_path, frame), "price", drop=["town"])
    new = written(tmp_path, frame.rename(columns={"size": "sise"}), "new.csv")
    with pytest.raises(ValueError, match=r"column 'size' is missing; is it column 3, 'sise'\?"):
        read_rows(new, data.preprocessing)


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


def test_labels_kept_apart_in_training_are_apart_in_new_rows(tmp_path):
    frame = PLAIN[["size"]].assign(kind=["a", "b"] * (COUNT // 2))
    new = written(tmp_path, pd.DataFrame({"size": [1, 2], "kind": ["A", "b"]}), "new.csv")
    for similar, said in (("keep", [np.nan, 1.0]), ("trim", [0.0, 1.0])):
        data = data_of(written(tmp_path, frame), "kind", task="classification", similar_labels=similar)
        table = read_rows(new, data.preprocessing).table
        np.testing.assert_array_equal(known_targets(table, data.preprocessing), said)
