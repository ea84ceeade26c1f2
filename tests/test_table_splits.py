"""Which rows of a table are held out: scikit-learn's folds, whole groups, the latest rows, and no leak from them."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from basics.errors import InputError
from datamodules.csv_table import CsvTable
from datamodules.preprocessing import feature_names
from datamodules.row_times import times_of
from datamodules.table_splits import Fold, Splitter
from datamodules.tables import Table

COUNT = 200


def visits():
    """Rows of patients, of whom some came often, by day."""
    rng = np.random.default_rng(0)
    days = pd.to_datetime("2024-03-01") + pd.to_timedelta(rng.integers(0, 90, COUNT), unit="D")
    return pd.DataFrame({
        "patient": [f"p{number}" for number in (40 * rng.random(COUNT) ** 2).astype(int)],
        "day": days.strftime("%m/%d/%Y"),
        "weight": rng.normal(70, 10, COUNT).round(1),
        "ward": rng.choice(list("ABCD"), COUNT),
        "cost": rng.gamma(2, 500, COUNT).round(2),
        "outcome": rng.choice(["well", "ill", "dead"], COUNT, p=[0.7, 0.25, 0.05]),
    })  # fmt: skip


def data_of(folder, target, frame=None, **options):
    frame = visits() if frame is None else frame
    frame.to_csv(folder / "visits.csv", index=False)
    task, other = ("regression", "outcome") if target == "cost" else ("classification", "cost")
    options = {"drop": ["day", other], "test_size": 0 if "fold" in options else 0.1, **options}
    data = CsvTable(str(folder / "visits.csv"), target, task, **options)
    data.setup()
    return data


def parts_of(data):
    return data.train_indices, data.val_indices, data.test_indices


TARGETS = ["cost", "outcome"]
GROUPED = {"cost": GroupKFold, "outcome": StratifiedGroupKFold}


@pytest.mark.parametrize("target", TARGETS)
def test_folds_of_groups_are_those_of_scikit_learn(tmp_path, target):
    frame = visits()
    splitter = GROUPED[target](4, shuffle=True, random_state=8)
    for number, (rest, held_out) in enumerate(splitter.split(frame, frame[target], frame["patient"])):
        data = data_of(tmp_path, target, fold=Fold(number, 4, 8), group="patient", val_size=0.2)
        assert data.test_indices.tolist() == held_out.tolist()
        assert sorted([*data.train_indices, *data.val_indices]) == rest.tolist()
        patients = [set(frame["patient"].iloc[rows]) for rows in parts_of(data)]
        assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
        assert 0.1 * len(rest) < len(data.val_indices) <= round(0.2 * len(rest))
    data.check_folds()


def test_folds_of_classes_are_those_of_scikit_learn_and_have_their_share(tmp_path):
    frame = visits()
    counts = frame["outcome"].value_counts()
    splitter = StratifiedKFold(5, shuffle=True, random_state=1)
    for number, (rest, held_out) in enumerate(splitter.split(frame, frame["outcome"])):
        data = data_of(tmp_path, "outcome", fold=Fold(number, 5, 1), val_size=0.25)
        assert data.test_indices.tolist() == held_out.tolist()
        assert sorted([*data.train_indices, *data.val_indices]) == rest.tolist()
        for rows, share in zip(parts_of(data), (0.6, 0.2, 0.2), strict=True):
            for name, count in Counter(frame["outcome"].iloc[rows]).items():
                assert abs(count - share * counts[name]) <= 1.5, (name, number)


def test_more_folds_than_a_class_has_rows_are_refused():
    splitter = Splitter(12, labels=np.repeat(range(4), 3))
    assert len(splitter.fold(Fold(2, 3))[0]) == 4
    with pytest.raises(ValueError, match="4 folds need a class of as many; the largest has 3"):
        splitter.fold(Fold(0, 4))


@pytest.mark.parametrize("target", TARGETS)
def test_groups_are_in_one_part_each_without_folds_too(tmp_path, target):
    data = data_of(tmp_path, target, group="patient", test_size=0.25, val_size=30)
    patients = [set(visits()["patient"].iloc[rows]) for rows in parts_of(data)]
    assert sum(map(len, patients)) == len(set.union(*patients)) == visits()["patient"].nunique()
    assert 40 <= len(data.test_indices) <= 50
    assert 20 <= len(data.val_indices) <= 30
    other = data_of(tmp_path, target, group="patient", test_size=0.25, val_size=30, seed=1)
    assert other.test_indices.tolist() == data.test_indices.tolist()
    assert other.val_indices.tolist() != data.val_indices.tolist()


def test_group_is_a_feature_only_if_it_is_named(tmp_path):
    names = feature_names(data_of(tmp_path, "cost", group="ward", val_size=0.3).preprocessing)
    assert not any(name.startswith("ward") for name in names)
    names = feature_names(data_of(tmp_path, "cost", group="ward", categories=["ward"], val_size=0.3).preprocessing)
    assert any(name.startswith("ward") for name in names)


@pytest.mark.parametrize(
    ("groups", "count", "sizes"),
    [
        ("aaaabbbbcccc", 4, [4]),
        ("aaaabbbbcccc", 1, [4]),  # the smallest, though it is more
        ("aaaaaaaaaabbc", 3, [1, 2]),
        ("aaaaaaaaaabbc", 2, [2, 1]),
    ],
)
def test_whole_groups_by_hand(groups, count, sizes):
    names = np.array(list(groups))
    held, kept = Splitter(len(names), groups=names).hold_out(np.arange(len(names)), count, np.random.default_rng(0))
    assert not set(names[held]) & set(names[kept])
    assert len(held) in (sum(sizes), *sizes)
    assert len(held) <= max(count, min(sizes))
    with pytest.raises(ValueError, match="takes 2 of 4, which are all of one group"):
        Splitter(4, groups=np.zeros(4)).hold_out(np.arange(4), 2, np.random.default_rng(0))


@pytest.mark.parametrize("target", TARGETS)
def test_latest_rows_are_tested_and_those_of_one_day_stay_together(tmp_path, target):
    frame = visits()
    data = data_of(tmp_path, target, time="day", test_size=40, val_size=0.25)
    days = pd.to_datetime(frame["day"], format="%m/%d/%Y")
    train, val, test = (days.iloc[rows] for rows in parts_of(data))
    assert train.max() < val.min()
    assert val.max() < test.min()
    assert abs(len(test) - 40) <= 3  # there are 2.2 rows a day
    assert abs(len(val) - 0.25 * (COUNT - len(test))) <= 3


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["2001-12-31", "2001-02-01", "2001-11-30"], [1, 2, 0]),
        (["31/12/2001", "01/02/2001", "05/01/2001"], [2, 1, 0]),  # days first: there is no month 31
        (["12/31/2001", "01/02/2001", "05/01/2001"], [1, 2, 0]),
        (["2001-12-31T23:00:00", "2001-12-31T05:00:00", "2001-12-31T22:59:59"], [1, 2, 0]),
        (["31.12.2001 10:00", "31.12.2001 09:00", "01.01.2001 23:59"], [2, 1, 0]),
        (["12/31/2001 01:00 PM", "12/31/2001 11:00 AM", "12/31/2001 12:30 AM"], [2, 1, 0]),
        (["2001-01-01T00:30:00+02:00", "2001-01-01T00:00:00Z", "2000-12-31T23:30:00Z"], [2, 1, 0]),  # by the clock
        (["10", "9", "-1e3"], [2, 1, 0]),
        (["2001", "1999", "2000"], [1, 2, 0]),
        pytest.param(
            ["1600-01-01", "2500-01-01", "1599-12-31"],
            [2, 0, 1],
            marks=pytest.mark.skipif(pd.__version__ < "3", reason="earlier pandas reads dates of 1677 to 2262 only"),
        ),
    ],
)
def test_times_in_their_order(texts, order):
    table = Table("t.csv", pd.DataFrame({"when": texts}, index=range(2, 5), dtype=object))
    assert np.argsort(times_of(table, "when")).tolist() == order


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["01/02/2001", "03/04/2001"], ["line 2", "'01/02/2001'", "2001-01-02 or 2001-02-01"]),
        (["2001-01-02", "soon"], ["line 3", "'soon'", "no date or number"]),
        (["2001-01-02", "NA"], ["line 3", "'NA'", "needs a time"]),
        (["5", "soon"], ["'soon'", "no date or number"]),
    ],
)
def test_times_that_cannot_be_told_are_refused(texts, parts):
    table = Table("t.csv", pd.DataFrame({"when": texts}, index=[2, 3], dtype=object))
    with pytest.raises(InputError) as error:
        times_of(table, "when")
    assert all(part in str(error.value) for part in ["t.csv", "'when'", *parts]), error.value


@pytest.mark.parametrize(("size", "count"), [(0.1, 20), (0.15, 30), (0.333, 67), (17, 17), (0, 0)])
@pytest.mark.parametrize("target", TARGETS)
def test_test_rows_are_as_many_as_wanted(tmp_path, target, size, count):
    data = data_of(tmp_path, target, test_size=size)
    assert len(data.test_indices) == count
    assert sorted(row for rows in parts_of(data) for row in rows) == list(range(COUNT))
    assert data.has_tests == bool(count)


def changed_outside(rows):
    """The visits with other values in all rows but these."""
    frame, others = visits(), np.setdiff1d(np.arange(COUNT), rows)
    frame.loc[others, "weight"] = 1e6 + others
    frame.loc[others, "cost"] = 1e9 + others
    frame.loc[others, "ward"] = "moon"
    return frame


@pytest.mark.parametrize(
    "options", [{"fold": Fold(1, 4)}, {"fold": Fold(1, 4), "group": "patient"}, {"time": "day"}, {"group": "patient"}]
)
def test_values_of_rows_held_out_change_no_fitted_figure(tmp_path, options):
    def fitted(frame):
        data = data_of(tmp_path, "cost", frame, **options)
        bits = json.dumps(data.preprocessing), data.target_mean_std(), data.bins(8)
        return bits, data.rows[data.train_indices].tobytes(), data.train_indices, data.rows[data.test_indices]

    before, rows, train, tested = fitted(visits())
    after, rows_after, train_after, tested_after = fitted(changed_outside(train))
    assert train.tolist() == train_after.tolist()
    assert before == after
    assert rows == rows_after
    assert not np.array_equal(tested, tested_after)  # the change was there


@pytest.mark.parametrize("target", TARGETS)
def test_own_test_rows_are_all_tested_and_change_nothing_else(tmp_path, target):
    own = visits()[:30].assign(weight=500.0, ward="moon", cost=7.0)  # of one price, as test rows may be
    own.to_csv(tmp_path / "own.csv", index=False)
    data = data_of(tmp_path, target, test_csv=str(tmp_path / "own.csv"), val_size=0.2)
    none = data_of(tmp_path, target, test_size=0, val_size=0.2)
    assert json.dumps(data.preprocessing) == json.dumps(none.preprocessing)
    assert data.train_indices.tolist() == none.train_indices.tolist()
    assert len(data.val_indices) == 40
    assert data.test_indices.tolist() == list(range(COUNT, COUNT + 30))
    assert np.array_equal(data.rows[:COUNT], none.rows)
    wanted = [7.0] * 30 if target == "cost" else [sorted(["well", "ill", "dead"]).index(its) for its in own["outcome"]]
    assert data.targets[COUNT:].tolist() == wanted
