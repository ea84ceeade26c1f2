"""Splits for classification: each class is in each part, in sizes counted by hand."""

import time
from collections import Counter

import numpy as np
import pytest
from photos import photos, ready

from datamodules import CIFAR10
from datamodules.csv_table import CsvTable
from datamodules.splits import TooFewError, hold_out, lacking
from datamodules.table_data import Fold


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("sizes", "count", "taken"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),  # the exact shares
        ([52, 29, 19], 10, [5, 3, 2]),  # 5.2, 2.9, 1.9
        ([290, 5, 5], 30, [28, 1, 1]),  # 29, 0.5, 0.5
        ([296, 2, 1, 1], 30, [29, 1, 0, 0]),
        ([3, 3, 3, 3], 1, [1, 1, 1, 1]),  # one of each, though fewer were wanted
        ([2, 100], 100, [1, 99]),  # the small class keeps one
        ([4, 4], 6, [3, 3]),
        ([0, 10, 1], 1, [0, 1, 0]),
    ],
)
def test_each_class_gives_its_share_and_keeps_one(sizes, count, taken):
    labels = rng().permutation(np.repeat(np.arange(len(sizes)), sizes))
    held, kept = hold_out(labels, count, rng())
    assert np.bincount(labels[held], minlength=len(sizes)).tolist() == taken
    assert sorted([*held, *kept]) == list(range(len(labels)))
    assert all(np.array_equal(np.sort(part), part) for part in (held, kept))


@pytest.mark.parametrize(("sizes", "count"), [([4, 4], 7), ([1, 1, 1], 1)])
def test_more_than_the_classes_can_spare_is_refused(sizes, count):
    with pytest.raises(TooFewError, match=f"takes {count} of {sum(sizes)}"):
        hold_out(np.repeat(np.arange(len(sizes)), sizes), count, rng())


def test_every_member_of_a_class_is_held_out_as_often():
    labels = np.repeat([0, 1], [12, 4])
    counts = Counter(row for seed in range(400) for row in hold_out(labels, 4, rng(seed))[0].tolist())
    assert set(counts) == set(range(16))
    assert all(70 <= count <= 130 for count in counts.values())  # 3 of 12 and 1 of 4: 100 each, +- 8.7


def test_two_thousand_classes_and_a_million_rows_take_no_time():
    labels = rng().integers(2000, size=1_000_000)
    start = time.process_time()
    held, _ = hold_out(labels, 100_000, rng())
    assert time.process_time() - start < 5  # 0.2 s; a loop over classes and rows takes minutes
    assert len(held) == 100_000


def write_table(folder, **sizes):
    """A table of that many rows of each class, mixed."""
    classes = rng().permutation(np.repeat(list(sizes), list(sizes.values())))
    path = folder / "table.csv"
    path.write_text(
        "x,y,kind\n" + "".join(f"{number * 7 % 50},{number % 13},{name}\n" for number, name in enumerate(classes))
    )
    return path


def table(path, **options):
    data = CsvTable(str(path), "kind", task="classification", **options)
    data.setup()
    return data


def parts(data):
    return {
        name: Counter(data.classes[label] for label in data.targets[rows])
        for name, rows in (("train", data.train_indices), ("val", data.val_indices), ("test", data.test_indices))
    }


def test_rare_class_of_a_table_is_in_all_parts_with_every_seed(tmp_path):
    path = write_table(tmp_path, common=180, other=115, rare=5)
    splits = [parts(table(path, seed=seed)) for seed in range(6)]
    assert all(split == splits[0] for split in splits)
    assert splits[0]["test"] == {"common": 18, "other": 11, "rare": 1}  # of 30: 18, 11.5 and 0.5
    assert splits[0]["val"] == {"common": 16, "other": 10, "rare": 1}  # of 27: 16.2, 10.4 and 0.4
    one, same, other = (table(path, seed=seed) for seed in (1, 1, 2))
    assert one.test_indices.tolist() == other.test_indices.tolist()
    assert one.val_indices.tolist() == same.val_indices.tolist() != other.val_indices.tolist()


def test_classes_too_small_for_all_parts_are_trained_and_named(tmp_path):
    data = table(write_table(tmp_path, common=50, two=2, one=1))
    assert parts(data)["train"] == {"common": 40, "two": 1, "one": 1}
    assert data.describe().splitlines()[-1] == (
        "classes too small for every split: 'one' (1, none for validation and test), 'two' (2, none for validation)"
    )
    assert "too small" not in table(write_table(tmp_path, common=50, three=3)).describe()


def test_more_classes_than_the_validation_split_was_to_have_rows(tmp_path):
    data = table(write_table(tmp_path, **{f"c{number}": 3 for number in range(30)}))
    wanted = {f"c{number}": 1 for number in range(30)}
    assert list(parts(data).values()) == [wanted] * 3
    assert data.describe().splitlines()[2:] == ["val_size 0.1: 30 rows in place of 6, one of each class"]


def test_of_many_small_classes_a_few_are_named():
    labels = {"training": np.arange(9), "test": np.array([0])}
    line = lacking(labels, list("abcdefghi"))
    assert line.endswith("'e' (1, none for test), 'f' (1, none for test) and 3 more")


def test_folds_of_a_classification_are_stratified_and_cover_all_rows(tmp_path):
    path = write_table(tmp_path, common=60, other=35, rare=5)
    folds = [table(path, fold=Fold(number, 5), val_size=0, test_size=0) for number in range(5)]
    assert sorted(row for data in folds for row in data.test_indices) == list(range(100))
    assert all(parts(data)["test"] == {"common": 12, "other": 7, "rare": 1} for data in folds)
    assert all(len(data.val_indices) == 0 and len(data.train_indices) == 80 for data in folds)


def test_split_that_leaves_a_class_of_a_table_without_a_row_is_refused(tmp_path):
    path = write_table(tmp_path, a=20, b=20)
    with pytest.raises(ValueError, match=r"table.csv, column 'kind': val_size 35 takes 35 of 36; .* so at most 34"):
        table(path, val_size=35)


def test_regression_keeps_the_split_it_had(tmp_path):
    path = write_table(tmp_path, a=33)
    data = CsvTable(str(path), "y", seed=3)
    data.setup()
    # The rule as it was published: scikit-learn's KFold(10, shuffle=True, random_state=0), and numpy's permutation.
    from sklearn.model_selection import KFold

    _, test = next(KFold(10, shuffle=True, random_state=0).split(np.arange(33)))
    rest = np.setdiff1d(np.arange(33), test)
    assert data.test_indices.tolist() == test.tolist()
    assert data.val_indices.tolist() == sorted(rng(3).permutation(rest)[:3].tolist())


def test_built_in_images_keep_the_split_they_had():
    data = CIFAR10(sample=True, seed=4)
    data.setup()
    assert data.val_indices.tolist() == sorted(rng(4).permutation(2000)[:200].tolist())


def test_images_of_each_class_are_in_all_parts(tmp_path):
    photos(tmp_path, ant=30, bee=3, cat=2, dog=1)
    data = ready(tmp_path, seed=1)
    count = lambda labels: np.bincount(labels, minlength=4).tolist()  # noqa: E731
    assert count(data.arrays.test_labels) == [3, 1, 1, 0]
    assert count(data.arrays.train_labels[data.val_indices]) == [2, 1, 0, 0]
    assert count(data.arrays.train_labels[data.train_indices]) == [25, 1, 1, 1]
    assert (
        "classes too small for every split: 'dog' (1, none for validation and test), 'cat' (2, none for validation)"
        in (data.describe().splitlines())
    )


def test_fingerprint_is_of_the_split(tmp_path):
    path = write_table(tmp_path, a=30, b=30)
    one, same, seed, size = (table(path, **o) for o in ({}, {}, {"seed": 1}, {"val_size": 9}))
    assert one.split_fingerprint() == same.split_fingerprint()
    assert len({data.split_fingerprint() for data in (one, seed, size)}) == 3
    photos(tmp_path / "some", ant=9, bee=9)
    photos(tmp_path / "others", ant=8, bee=10)
    first, again, other = (ready(tmp_path / name, val_size=2) for name in ("some", "some", "others"))
    assert first.split_fingerprint() == again.split_fingerprint() != other.split_fingerprint()
