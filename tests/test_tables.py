"""CSV files: all accepted forms give the same numbers, and each mistake is one line that says where it is."""

import csv
import io

import numpy as np
import pytest

from datamodules.csv_files import read_csv
from datamodules.csv_table import CsvTable
from datamodules.house_prices import HousePrices
from datamodules.preprocessing import feature_names
from datamodules.sample_tables import houses
from datamodules.table_data import Fold
from datamodules.tables import numbers, typed


def rows_of_a_table(count=40):
    """Two numbers, a word, and a price that follows from them."""
    rng = np.random.default_rng(0)
    header = ["Id", "area", "rooms", "town", "price"]
    rows = [header]
    for number in range(count):
        area, rooms, town = rng.integers(50, 200), number % 5 + 1, "ABC"[number % 3]
        rows.append([str(number + 1), str(area), str(rooms), f"{town}-town", str(1000 * area + 500 * rooms)])
    return rows


def text_of(rows, end="\n"):
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerows(rows)
    return out.getvalue()


def data_of(path, **options):
    data = CsvTable(str(path), **{"target": "price", "id_column": "Id", "log_target": True, **options})
    data.setup()
    return data


def refusal(path, **options):
    with pytest.raises((ValueError, OSError)) as error:
        data_of(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(line, column, value):
    """Spoils one value, by its line in the file, the header being the first."""

    def spoil(rows):
        rows[line - 1][rows[0].index(column)] = value

    return spoil


def change_all(column, value):
    def spoil(rows):
        for row in rows[1:]:
            row[rows[0].index(column)] = value

    return spoil


def rename(column, name):
    def spoil(rows):
        rows[0][rows[0].index(column)] = name

    return spoil


def shorten(rows):
    rows[6].pop()


def lengthen(rows):
    rows[6].append("more")


def keep(count):
    def spoil(rows):
        del rows[1 + count :]

    return spoil


def only_target(rows):
    rows[:] = [[row[0], row[-1]] for row in rows]


SPOILT_ROWS = {  # what is done to the rows, and what the line must name besides the file
    "header only": (keep(0), ["a header and no rows"]),
    "target renamed": (rename("price", "prize"), ["line 1", "'price'", "column 5, 'prize'"]),
    "id renamed": (rename("Id", "ID no."), ["line 1", "'Id'"]),
    "duplicate column": (rename("rooms", "area"), ["line 1", "'area'", "twice", "3"]),
    "short row": (shorten, ["line 7", "'price'", "too short", "4 of 5"]),
    "long row": (lengthen, ["line 7", "'price'", "too long", "6 of 5", "'more'"]),
    "blank line within": (lambda rows: rows.insert(4, []), ["line 5", "too short"]),
    "letters O for zeros": (change(5, "area", "12OO"), ["line 5", "'area'", "'12OO'"]),
    "thousands": (change(5, "price", "71,200"), ["line 5", "'price'", "'71,200'", "without commas"]),
    "underscore": (change(5, "area", "1_200"), ["line 5", "'area'", "'1_200'"]),
    "wide digits": (change(5, "area", "\uff11\uff12"), ["line 5", "'area'"]),
    "unit": (change(40, "area", "12 m2"), ["line 40", "'area'", "'12 m2'"]),
    "inf": (change(9, "area", "-inf"), ["line 9", "'area'", "'-inf'", "not finite"]),
    "1e400": (change(9, "rooms", "1e400"), ["line 9", "'rooms'", "'1e400'", "larger"]),
    "several faults": (
        lambda rows: (change(5, "area", "12OO")(rows), change(9, "price", "NA")(rows)),
        ["2 faults", "line 5", "'12OO'", "line 9", "'NA'"],
    ),
    "missing target": (change(3, "price", "NaN"), ["line 3", "'price'", "'NaN'", "missing"]),
    "empty target": (change(3, "price", ""), ["line 3", "'price'", "''", "missing"]),
    "zero target": (change(3, "price", "0"), ["line 3", "'price'", "'0'", "not above 0"]),
    "negative target": (change(3, "price", "-5.5"), ["line 3", "'price'", "'-5.5'", "not above 0"]),
    "text target": (change(3, "price", "cheap"), ["line 3", "'price'", "'cheap'", "not a number"]),
    "target with its currency": (change(3, "price", "$10000"), ["line 3", "'price'", "'$10000'", "a plain one"]),
    "infinite target": (change(3, "price", "Infinity"), ["line 3", "'price'", "'Infinity'", "not finite"]),
    "constant target": (change_all("price", "7"), ["lines 2 to 41", "'price'", "'7'"]),
    "constant target in two spellings": (
        lambda rows: (change_all("price", "7")(rows), change(4, "price", "7.0")(rows)), ["'price'", "always '7'"],
    ),
    "duplicate id": (change(8, "Id", "3"), ["line 8", "'Id'", "'3'", "line 4"]),
    "missing id": (change(8, "Id", ""), ["line 8", "'Id'", "''"]),
    "nothing but the target": (only_target, ["line 1", "'price'"]),
    "too few rows": (keep(12), ["12 rows", "too few"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT_ROWS)
def test_spoilt_table_is_named_in_one_line(tmp_path, kind):
    spoil, named = SPOILT_ROWS[kind]
    rows, path = rows_of_a_table(), tmp_path / "homes.csv"
    spoil(rows)
    path.write_text(text_of(rows))
    line = refusal(path)
    assert all(part in line for part in [str(path), *named]), line


GOOD = text_of(rows_of_a_table())
SPOILT_FILES = {
    "empty": (b"", ["an empty file"]),
    "a byte-order mark and nothing": (b"\xef\xbb\xbf", ["an empty file"]),
    "blank lines": (b"\n\n\n", ["an empty file"]),
    "no known text": (GOOD.replace("B-town", "K\x81ln", 1).encode("latin-1"), ["line 3", "3 commas", "not UTF-8"]),
    "zero byte": (GOOD.replace("C-town", "C\0town", 1).encode(), ["line 4", "zero byte"]),
    "open quote": (GOOD.replace("B-town", '"B-town', 1).encode(), ["line 3", "quotes"]),
    "text after a quote": (GOOD.replace("B-town", '"B"-town', 1).encode(), ["line 3", "quotes"]),
    "no text at all": (bytes(range(256)), ["line 2", "--encoding"]),
}


@pytest.mark.parametrize("kind", SPOILT_FILES)
def test_spoilt_file_is_named_in_one_line(tmp_path, kind):
    content, named = SPOILT_FILES[kind]
    path = tmp_path / "homes.csv"
    path.write_bytes(content)
    line = refusal(path)
    assert all(part in line for part in [str(path), *named]), line


def test_missing_file_and_a_folder_in_its_place(tmp_path):
    assert str(tmp_path / "none.csv") in refusal(tmp_path / "none.csv")
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"drop": ["aera"]}, ["'aera'"]),
        ({"categories": ["twon"]}, ["'twon'"]),
        ({"ordinals": {"twon": ["A", "B"]}}, ["'twon'", "'town'"]),
        ({"ordinals": {"town": ["A-town", "B-town"]}}, ["line 4", "'town'", "'C-town'", "levels A-town, B-town"]),
        ({"sample": True, "target": "progression", "log_target": False}, ["diabetes", "'Id'"]),
        ({"scale": "minmax"}, ["minmax", "robust"]),
        ({"clip": [0.9, 0.1]}, ["clip", "0.9"]),
        ({"task": "ranking"}, ["ranking", "classification"]),
        ({"task": "classification"}, ["log_target"]),
        ({"fold": Fold(0, 30)}, ["36 rows", "30 folds"]),
        ({"val_size": 36}, ["val_size 36", "rows"]),
    ],
)
def test_mistaken_option_is_named(tmp_path, options, named):
    path = tmp_path / "homes.csv"
    path.write_text(GOOD)
    line = refusal(path, **options)
    assert all(part in line for part in named), line


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ordinals": {"price": ["1", "2"]}}, ["ordinals 'price'", "target"]),
        ({"target": "town", "task": "classification", "ordinals": {"town": ["A-town", "B-town", "C-town"]}},
         ["ordinals 'town'", "target"]),
        ({"drop": ["price"]}, ["drop 'price'", "target"]),
        ({"id_column": "price"}, ["id_column 'price'", "target"]),
        ({"categories": ["price"]}, ["categories 'price'", "target"]),
        ({"drop": ["town"], "ordinals": {"town": ["A-town", "B-town", "C-town"]}}, ["ordinals 'town'", "drop"]),
        ({"drop": ["rooms"], "categories": ["rooms"]}, ["categories 'rooms'", "drop"]),
        ({"drop": ["Id"]}, ["drop 'Id'", "id_column"]),
        ({"ordinals": {"Id": ["1", "2"]}}, ["ordinals 'Id'", "id_column"]),
        ({"categories": ["town"], "ordinals": {"town": ["A-town", "B-town"]}}, ["ordinals 'town'", "categories"]),
        ({"ordinals": {"town": ["A-town", "B-town", "A-town"]}}, ["ordinals 'town'", "each once"]),
        ({"ordinals": {"town": []}}, ["ordinals 'town'", "two levels"]),
    ],
)  # fmt: skip
def test_column_with_two_parts_to_play_is_refused(tmp_path, options, named):
    path = tmp_path / "homes.csv"
    path.write_text(GOOD)
    line = refusal(path, **{"log_target": False, **options})
    assert all(part in line for part in named), line


def test_features_are_the_columns_that_no_option_takes_away(tmp_path):
    (tmp_path / "homes.csv").write_text(GOOD)
    data = data_of(tmp_path / "homes.csv", ordinals={"town": ["C-town", "A-town", "B-town"]}, drop=["rooms"])
    assert feature_names(data.preprocessing) == ["area", "town"]


def test_class_without_training_rows_and_one_class(tmp_path):
    rows, path = rows_of_a_table(), tmp_path / "homes.csv"
    rows[7][rows[0].index("town")] = "D-town"
    path.write_text(text_of(rows))
    options = dict(id_column="Id", task="classification")
    with pytest.raises(ValueError, match=r"'town'.*'D-town'"):
        CsvTable(str(path), "town", fold=held_out_with(6, 40), val_size=0, test_size=0, **options).setup()
    change_all("town", "A")(rows)
    path.write_text(text_of(rows))
    with pytest.raises(ValueError, match=r"lines 2 to 41.*'town'.*'A'"):
        CsvTable(str(path), "town", **options).setup()


def held_out_with(row, count):
    """A fold of five that holds the row out."""
    from sklearn.model_selection import KFold

    folds = [test for _, test in KFold(5, shuffle=True, random_state=0).split(np.arange(count))]
    return Fold(next(number for number, test in enumerate(folds) if row in test), 5)


def test_text_that_differs_in_each_row_is_left_out(tmp_path):
    rows, path = rows_of_a_table(), tmp_path / "homes.csv"
    rows = [[*row, "owner" if number == 0 else f"Mr {number}"] for number, row in enumerate(rows)]
    path.write_text(text_of(rows))
    data = data_of(path)
    assert data.notes == ["column 'owner' is left out: a text of its own in each row"]
    assert data.input_shape == data_of_good(tmp_path).input_shape


def data_of_good(folder):
    path = folder / "good.csv"
    path.write_text(GOOD)
    return data_of(path)


def reordered(rows):
    order = [3, 4, 0, 2, 1]
    return [[row[column] for column in order] for row in rows]


ACCEPTED = {
    "byte-order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "CRLF": text_of(rows_of_a_table(), "\r\n").encode(),
    "blanks": GOOD.replace(",", " , ").encode(),
    "blanks before quotes": GOOD.replace("B-town", ' "B-town"').encode(),
    "quotes": GOOD.replace("B-town", '"B-town"').encode(),
    "blank lines at the end": GOOD.encode() + b"\n\n",
    "no line end": GOOD.rstrip().encode(),
    "reordered columns": text_of(reordered(rows_of_a_table())).encode(),
    "other spellings of numbers": GOOD.replace(",1,", ",+1.0e0,").encode(),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_harmless_differences_give_the_same_numbers(tmp_path, kind):
    path = tmp_path / "homes.csv"
    path.write_bytes(ACCEPTED[kind])
    data, good = data_of(path), data_of_good(tmp_path)
    wanted = {number["name"]: number for number in good.preprocessing["numbers"]}
    assert {number["name"]: number for number in data.preprocessing["numbers"]} == wanted
    assert data.preprocessing["categories"] == good.preprocessing["categories"]
    assert np.array_equal(data.targets, good.targets)
    assert sorted(map(tuple, data.rows.T.tolist())) == sorted(map(tuple, good.rows.T.tolist()))


def test_lines_are_those_of_the_file_where_values_have_several(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text('a,b\n1,"two\nlines"\n3,x\n4x,y\n')
    table = read_csv(path)
    assert table.cells.index.tolist() == [2, 4, 5]
    with pytest.raises(ValueError, match="line 5, column 'a': '4x'"):
        numbers(table, "a")


def test_levels_of_an_own_table_are_in_their_order(tmp_path):
    (tmp_path / "homes.csv").write_text(GOOD)
    data = data_of(tmp_path / "homes.csv", ordinals={"town": ["C-town", "A-town", "B-town"]}, scale="standard")
    place = [number["name"] for number in data.preprocessing["numbers"]].index("town")
    levels = data.rows[:3, place]  # of A, B and C
    assert levels[2] < levels[0] < levels[1]
    assert not data.preprocessing["categories"]


def test_types_by_hand(tmp_path):
    path = tmp_path / "types.csv"
    path.write_text("n,c,o\n1.5,x,TA\nNA,,Ex\n-2e1,None,?\n,NA,NA\n")
    frame = typed(read_csv(path), {"n": "number", "c": "category", "o": ["Fa", "TA", "Ex"]})
    np.testing.assert_array_equal(frame["n"], [1.5, np.nan, -20, np.nan])
    np.testing.assert_array_equal(frame["o"], [1, 2, np.nan, np.nan])  # "?" is no level
    assert frame["c"].tolist() == ["x", "", "None", ""]
    frame = typed(read_csv(path), {"o": ["NA", "Fa", "TA", "Ex"]})
    np.testing.assert_array_equal(frame["o"], [2, 3, np.nan, 0])


# Kaggle's files: the columns are known beforehand.


def write_houses(folder, spoil_train=lambda frame: frame, spoil_test=lambda frame: frame):
    (folder / "house-prices").mkdir(parents=True, exist_ok=True)
    train, test = (table.cells for table in houses(300, 20))
    spoil_train(train).to_csv(folder / "house-prices" / "train.csv", index=False)
    spoil_test(test).to_csv(folder / "house-prices" / "test.csv", index=False)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda frame: frame.drop(columns="GrLivArea"), ["'GrLivArea' is missing"]),
        (lambda frame: frame.rename(columns={"GrLivArea": "GrLivingArea"}), ["'GrLivArea'", "'GrLivingArea'"]),
        (lambda frame: frame.assign(More="1"), ["'More'"]),
        (lambda frame: frame.assign(LotArea=["12OO", *frame["LotArea"][1:]]), ["line 2", "'LotArea'", "'12OO'"]),
        (lambda frame: frame.assign(Id="5"), ["line 3", "'Id'", "'5'"]),
    ],
)
def test_spoilt_house_prices_are_named(tmp_path, spoil, named):
    for file, options in {"train.csv": {"spoil_train": spoil}, "test.csv": {"spoil_test": spoil}}.items():
        write_houses(tmp_path, **options)
        data = HousePrices(str(tmp_path))
        with pytest.raises(ValueError, match=file) as error:
            data.prepare_data()
            data.setup()
            data.other_rows()
        assert all(part in str(error.value) for part in named), error.value


def test_level_that_does_not_exist_is_named_in_training_and_missing_in_new_rows(tmp_path):
    write_houses(tmp_path, spoil_train=lambda frame: frame.assign(KitchenQual=["Best", *frame["KitchenQual"][1:]]))
    with pytest.raises(ValueError, match=r"train\.csv, line 2, column 'KitchenQual': 'Best' .*Po, Fa, TA, Gd, Ex"):
        HousePrices(str(tmp_path)).setup()
    predictions = []
    for text in ("Best", "NA"):
        write_houses(tmp_path, spoil_test=lambda frame, text=text: frame.assign(KitchenQual=text))
        data = HousePrices(str(tmp_path))
        data.setup()
        predictions.append(data.other_rows().rows)
    assert np.array_equal(*predictions)


def test_unseen_category_changes_no_other_column(tmp_path):
    write_houses(tmp_path)
    data = HousePrices(str(tmp_path))
    data.setup()
    rows = data.other_rows().rows
    write_houses(tmp_path, spoil_test=lambda frame: frame.assign(Foundation="ice"))
    unseen = data.other_rows().rows
    foundations = np.array([name.startswith("Foundation=") for name in feature_names(data.preprocessing)])
    assert (rows[:, foundations].sum(1) == 1).all()
    assert not unseen[:, foundations].any()
    assert np.array_equal(unseen[:, ~foundations], rows[:, ~foundations])
