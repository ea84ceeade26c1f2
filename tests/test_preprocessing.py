"""Preprocessing against scikit-learn's transformers, and that it depends on training rows only."""

import hashlib
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from datamodules.house_prices import HousePrices
from datamodules.preprocessing import Recipe, columns_of, feature_names, fit, transform
from datamodules.sample_tables import houses
from datamodules.table_splits import Fold, Splitter
from datamodules.tables import Table

RNG = np.random.default_rng(0)
TRAIN, NEW = RNG.lognormal(size=200), np.append(RNG.lognormal(size=50), [-5.0, 0.0, 1e6])


def frame_of(**columns):
    return pd.DataFrame(columns)


def prepared(train, new, **options):
    """A single number of training rows, then of new ones, as the network gets the latter."""
    fitted = fit(frame_of(x=train), Recipe({"x": "number"}, **options))
    return transform(frame_of(x=new), fitted)


def test_standard_is_scikit_learns():
    wanted = StandardScaler().fit(TRAIN[:, None]).transform(NEW[:, None])
    np.testing.assert_allclose(prepared(TRAIN, NEW), wanted, rtol=1e-6)


def test_robust_is_scikit_learns_with_a_smooth_end():
    scaled = RobustScaler().fit(TRAIN[:, None]).transform(NEW[:, None])
    got = prepared(TRAIN, NEW, scale="robust")
    np.testing.assert_allclose(got, scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-5)
    assert abs(got).max() <= 3


def test_robust_where_half_of_the_rows_are_alike_takes_half_the_range():
    train = np.array([0.0] * 8 + [4.0, 6.0])
    np.testing.assert_allclose(
        prepared(train, np.array([3.0]), scale="robust"), [[1 / np.sqrt(1 + 1 / 9)]], rtol=1e-6
    )  # 3 / (6 / 2)


@pytest.mark.parametrize("train", [TRAIN, TRAIN.round(), np.repeat([1.0, 2.0, 5.0], 50)])
def test_quantile_is_scikit_learns(train):
    peer = QuantileTransformer(n_quantiles=min(256, len(train)), output_distribution="normal", subsample=None)
    wanted = peer.fit(train[:, None]).transform(NEW[:, None])
    np.testing.assert_allclose(prepared(train, NEW, scale="quantile"), wanted, atol=1e-4)


def test_missing_numbers_are_the_training_median_and_say_so():
    train, new = np.where(TRAIN > 2, np.nan, TRAIN), np.array([1.0, np.nan])
    imputed = SimpleImputer(strategy="median", add_indicator=True).fit(train[:, None])
    whole, indicator = imputed.transform(new[:, None]).T
    peer = StandardScaler().fit(imputed.transform(train[:, None])[:, :1])
    got = prepared(train, new)
    np.testing.assert_allclose(got[:, 0], peer.transform(whole[:, None])[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(got[:, 1], indicator)


def test_logarithm_of_skewed_numbers_and_clipping():
    got = prepared(TRAIN, NEW, log1p="skewed", clip=[0.005, 0.995])
    logs = np.log1p(TRAIN)
    low, high = np.quantile(logs, [0.005, 0.995])
    clipped, new = logs.clip(low, high), np.append(np.log1p(NEW[:-3]), [-np.log(6), 0, np.log(1e6 + 1)]).clip(low, high)
    np.testing.assert_allclose(got[:, 0], (new - clipped.mean()) / clipped.std(), rtol=1e-5)
    symmetric = np.append(TRAIN, -TRAIN)  # not skewed, and below 0
    assert not fit(frame_of(x=symmetric), Recipe({"x": "number"}, log1p="skewed"))["numbers"][0]["log"]


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("train", [np.full(9, 0.1), np.full(9, np.nan)])
def test_number_that_never_varies_in_training_says_nothing(scale, train):
    got = prepared(train, np.array([0.1, 1e9, np.nan]), scale=scale)
    assert not got[:, 0].any()


@pytest.mark.parametrize("rare", [1, 3, 1000])
def test_categories_are_scikit_learns(rare):
    train = np.array(["a"] * 5 + ["b"] * 3 + ["c", "d"], dtype=object)
    new = np.array(["a", "b", "c", "d", "never", ""], dtype=object)
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=rare, sparse_output=False)
    wanted = encoder.fit(train[:, None]).transform(new[:, None])
    fitted = fit(frame_of(x=train), Recipe({"x": "category"}, rare=rare))
    np.testing.assert_array_equal(transform(frame_of(x=new), fitted), wanted)
    assert len(feature_names(fitted)) == wanted.shape[1]


def test_derived_columns_by_hand():
    cells = pd.DataFrame(
        {"a": ["1", "2", "NA"], "b": ["10", "NA", "30"], "c": ["x", "y", "x"]}, index=[2, 3, 4], dtype=object
    )
    recipe = Recipe(
        {"a": "number", "b": "number", "c": "category"},
        zeros=["b"],
        derived=[{"name": "s", "sum": {"b": 1, "a": -2}}, {"name": "p", "product": ["c=x", "s"]}],
        left_out=["a"],
    )
    frame = columns_of(Table("by hand", cells), asdict(recipe))
    assert list(frame) == ["b", "c", "s", "p"]
    np.testing.assert_array_equal(frame["s"], [8, -4, np.nan])
    np.testing.assert_array_equal(frame["p"], [8, 0, np.nan])


def changed_outside(indices):
    """The sample with other values in all rows but those, in numbers, categories, gaps and prices."""
    table = houses()[0]
    cells = table.cells.copy()
    others = np.setdiff1d(np.arange(len(cells)), indices)
    for name in cells.columns.drop("Id"):
        shuffled = cells[name].to_numpy().copy()
        shuffled[others] = np.roll(shuffled[others], 7)
        cells[name] = shuffled
    cells.iloc[others, cells.columns.get_loc("LotArea")] = "999999"
    cells.iloc[others, cells.columns.get_loc("Neighborhood")] = "Atlantis"
    cells.iloc[others, cells.columns.get_loc("SalePrice")] = [str(10**9 + other) for other in others]
    return Table(table.source, cells), houses()[1]


@pytest.mark.parametrize("options", [{}, {"scale": "robust", "rare": 5}, {"scale": "quantile", "features": "plain"}])
@pytest.mark.parametrize("fold", [None, Fold(2, 5)])
def test_validation_and_test_rows_change_no_fitted_figure(monkeypatch, options, fold):
    def fitted():
        data = HousePrices(sample=True, fold=fold, **options)
        data.setup()
        bits = json.dumps(data.preprocessing), data.target_mean_std(), data.bins(8)
        return bits, data.rows[data.train_indices], data.train_indices, data.rows[data.test_indices]

    before, rows, train_indices, test_rows = fitted()
    changed = changed_outside(train_indices)
    monkeypatch.setattr("datamodules.house_prices.houses", lambda: changed)
    after, rows_after, indices_after, test_rows_after = fitted()
    assert np.array_equal(train_indices, indices_after)
    assert before == after
    assert np.array_equal(rows, rows_after)
    assert not np.array_equal(test_rows, test_rows_after)  # the change was there


@pytest.mark.parametrize(
    ("count", "folds", "seed", "expected"),
    [
        (1460, 5, 0, "e0ec8fc98b57c3d4"),
        (1460, 5, 3, "448d31869f5e5ae8"),
        (600, 10, 0, "38e1e7fba095f95f"),
        (23, 4, 1, "b4528d8defe72081"),
    ],
)
def test_folds_are_those_of_the_published_figures(count, folds, seed, expected):
    parts = [Splitter(count).fold(Fold(number, folds, seed))[0] for number in range(folds)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    rows = b"".join(part.astype("<i8").tobytes() for part in parts)
    assert hashlib.sha256(rows).hexdigest().startswith(expected)  # found with numpy's shuffle and array_split


def test_a_small_fold_by_hand():
    assert Splitter(23).fold(Fold(3, 4, 1))[0].tolist() == [5, 8, 9, 11, 12]
    order = np.arange(23)
    np.random.RandomState(1).shuffle(order)  # scikit-learn's generator
    assert Splitter(23).fold(Fold(1, 4, 1))[0].tolist() == sorted(order[6:12])  # parts of 6, 6, 6 and 5


def test_splits_share_no_row_and_leave_none_out():
    data = HousePrices(sample=True, fold=Fold(1, 5), val_size=0.2)
    data.setup()
    parts = [data.train_indices, data.val_indices, data.test_indices]
    assert [len(part) for part in parts] == [384, 96, 120]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(600))


def test_fitted_state_is_plain_data():
    data = HousePrices(sample=True)
    data.setup()
    assert json.loads(json.dumps(data.preprocessing)) == data.preprocessing
