"""Permutation importance and partial dependence of columns: scikit-learn's, a closed form, and predict_table.py's."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance as by_sklearn
from sklearn.metrics import log_loss
from sklearn.utils import check_random_state

from datamodules.csv_table import CsvTable
from datamodules.house_prices import HousePrices
from datamodules.preprocessing import derived, feature_names, made_of, transform, transform_some
from datamodules.table_splits import Fold
from experiments import predict_table, table
from harness.command_line.cli import cli
from harness.drawing.effect_figures import Dependence, draw_dependence
from harness.tasks import column_effects
from harness.tasks.column_effects import (
    Together,
    affordable,
    error,
    explain_columns,
    partial_dependence,
    permutation_importance,
)
from harness.tasks.table_models import to_average
from lit_modules import Regressor, RowClassifier

COUNT = 120
TEXTS = ["a red house", "a blue house", "the blue barn by the lake", "the red barn", "a lake"]


def homes():
    """Rows with every kind of column; the price follows from area, then town, then level."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "noise": rng.standard_normal(COUNT).round(3), "area": rng.integers(50, 200, COUNT).astype(float),
        "town": np.array(["Ax", "Bo", "Cy"])[rng.integers(3, size=COUNT)],
        "level": np.array(["low", "mid", "high"])[rng.integers(3, size=COUNT)],
        "sold": (pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(900, size=COUNT), "D")).strftime("%Y-%m-%d"),
    })  # fmt: skip
    town, level = frame.town.map({"Ax": 0, "Bo": 60, "Cy": 120}), frame.level.map({"low": 0, "mid": 25, "high": 50})
    frame["price"] = (200 + 3 * frame.area + town + level + rng.standard_normal(COUNT)).round(2)
    frame.loc[::9, "area"] = np.nan
    return frame


def ready(folder, frame, target="price", **options):
    frame.to_csv(folder / "homes.csv", index=False)
    data = CsvTable(str(folder / "homes.csv"), target, scale="standard", **options)
    data.setup()
    return data


def linear(data, seed=0):
    """An untrained linear net for the table, with biases and weights of order 1."""
    torch.manual_seed(seed)
    kept = {"preprocessing": data.preprocessing}
    if data.classification:
        model = RowClassifier("linear", data.input_shape, len(data.classes), **kept)
    else:
        model = Regressor("linear", data.input_shape, *data.target_mean_std(), data.log_target, **kept)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


class AsEstimator(BaseEstimator):
    """What scikit-learn needs of a model: its own rows in, predictions out."""

    def __init__(self, models=()):
        self.models = models

    def fit(self, rows, targets):
        return self

    def predict(self, rows):
        said = [model(torch.from_numpy(transform(rows, model.hparams["preprocessing"]))) for model in self.models]
        return torch.stack(said).mean(0).detach().double().numpy()


def permutations_of_sklearn(count, repeats, random_state):
    """The orders of scikit-learn, the same for each column; it shuffles what it has shuffled before."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max + 1)
    rng, drawn, orders = check_random_state(seed), np.arange(count), [np.arange(count)]
    for _ in range(repeats):
        rng.shuffle(drawn)
        orders.append(orders[-1][drawn])
    return orders[1:]


@pytest.mark.parametrize("folds", [None, Fold(0, 3)])
def test_importance_is_that_of_scikit_learn_for_the_same_permutations(tmp_path, folds):
    data = ready(tmp_path, homes(), ordinals={"level": ["low", "mid", "high"]}, fold=folds, test_size=0.3)
    models = [linear(data, seed) for seed in range(2 if folds else 1)]
    frame, true = data.tested()
    found = permutation_importance(Together(models, frame), true, permutations_of_sklearn(len(true), 4, 7))
    theirs = by_sklearn(AsEstimator(models), frame, true, n_repeats=4, random_state=7,
                        scoring="neg_root_mean_squared_error")  # fmt: skip
    assert [each.column for each in found] == [*frame.columns] == ["noise", "area", "town", "level", "sold"]
    np.testing.assert_allclose([each.mean for each in found], theirs.importances_mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([each.std for each in found], theirs.importances_std, rtol=1e-3, atol=1e-4)


def test_columns_that_change_together_are_those_of_a_whole_new_matrix(tmp_path):
    frame = homes().assign(about=np.resize(np.array(TEXTS), COUNT))
    frame.loc[::7, "about"] += " " + pd.Series(range(COUNT)).astype(str)  # mostly different, as texts are
    for data in (ready(tmp_path, frame, fold=Fold(0, 3)), HousePrices(sample=True, fold=Fold(0, 3))):
        data.setup()
        fitted, (typed, _) = data.preprocessing, data.tested()
        recipe, order = fitted["recipe"], np.random.default_rng(0).permutation(len(typed))
        whole = transform(derived(typed, recipe), fitted)
        seen = np.zeros(len(feature_names(fitted)), bool)
        for column in [*recipe["columns"]][:: 1 if len(recipe["columns"]) < 20 else 6]:
            changed = typed.assign(**{column: typed[column].to_numpy()[order]})
            expected = transform(derived(changed, recipe), fitted)
            some, places = transform_some(derived(changed, recipe), fitted, made_of(recipe, column))
            np.testing.assert_array_equal(some, expected[:, places])
            others = np.setdiff1d(np.arange(whole.shape[1]), places)
            np.testing.assert_array_equal(whole[:, others], expected[:, others])  # nothing else follows from it
            seen[places] = True
        assert seen.all() or len(recipe["columns"]) >= 20
    dependent = {"Age", "Baths", "TotalSF", "QualityArea", "PartialArea"}
    assert dependent & made_of(recipe, "1stFlrSF") == {"TotalSF", "QualityArea", "PartialArea"}


def test_error_of_a_permuted_column_has_a_closed_form_for_a_linear_model(tmp_path):
    """Swapping x within pairs changes a linear prediction by its slope times the difference."""
    frame = homes()[["noise", "area", "price"]].fillna(100)
    data = ready(tmp_path, frame, fold=Fold(0, 3), test_size=0)
    model = linear(data)
    typed, true = data.tested()
    swap = np.arange(COUNT).reshape(-1, 2)[:, ::-1].ravel()
    (place,) = (place for place, name in enumerate(feature_names(data.preprocessing)) if name == "area")
    (weight,) = (parameter.detach() for parameter in model.parameters() if parameter.ndim == 2)
    slope = float(weight[0, place]) * model.hparams["std"] / data.preprocessing["numbers"][place]["width"]
    rows = Together([model], typed)
    before = rows.predict() - true
    after = before + slope * (typed.area.to_numpy()[swap] - typed.area.to_numpy())
    expected = np.sqrt((after**2).mean()) - np.sqrt((before**2).mean())
    found = {each.column: each for each in permutation_importance(rows, true, [swap])}
    assert found["area"].mean == pytest.approx(expected, rel=1e-4)
    assert found["area"].std == 0


def test_error_of_classes_is_the_log_loss_of_scikit_learn(tmp_path):
    data = ready(tmp_path, homes(), "town", task="classification")
    frame, true = data.tested()
    rows, order = Together([linear(data)], frame), np.random.default_rng(0).permutation(len(true))
    said = rows.predict(), rows.predict_with("area", frame.area.to_numpy()[order][None])[0]
    losses = [log_loss(true, probabilities, labels=range(3)) for probabilities in said]
    found = {each.column: each for each in permutation_importance(rows, true, [order])}
    assert found["area"].mean == pytest.approx(losses[1] - losses[0], rel=1e-5)


def test_rows_of_folds_are_predicted_by_the_models_that_did_not_see_them(tmp_path):
    parts = [ready(tmp_path, homes(), fold=Fold(number, 3), test_size=0) for number in range(3)]
    models = [linear(data, seed) for seed, data in enumerate(parts)]
    typed, true = parts[0].tested()
    rows = Together(models, typed, [data.test_indices for data in parts])
    said = rows.predict()
    for data, model in zip(parts, models, strict=True):
        own = model(torch.from_numpy(data.rows[data.test_indices])).detach().numpy()
        np.testing.assert_allclose(said[data.test_indices], own, rtol=1e-6)
    assert error(true, said, rows.fitted) == pytest.approx(float(np.sqrt(((said - true) ** 2).mean())))


def test_each_row_is_predicted_once_with_each_other_value(tmp_path, monkeypatch):
    data = ready(tmp_path, homes(), fold=Fold(0, 3), test_size=0)
    typed, _ = data.tested()
    rows, asked = Together([linear(data), linear(data, 1)], typed), []
    count = lambda model, matrix: asked.append(len(matrix)) or to_average(model, matrix)  # noqa: E731
    monkeypatch.setattr(column_effects, "to_average", count)
    towns, rng = typed.town.to_numpy(), np.random.default_rng(0)
    given = towns[np.stack([rng.permutation(COUNT) for _ in range(20)])]
    rows.predict_with("town", given)
    pairs = {(row, town) for towns_now in given for row, town in enumerate(towns_now) if town != towns[row]}
    assert sum(asked) == 2 * len(pairs) <= 2 * 2 * COUNT  # two models, and two other towns for each row
    asked.clear()
    assert (rows.predict_with("town", towns[None])[0] == rows.predict()).all()
    assert not asked


def test_large_table_is_explained_on_drawn_rows_each_by_the_model_that_did_not_see_it(tmp_path, monkeypatch):
    frame = homes()[["area", "noise", "price"]].fillna(100)
    parts = [ready(tmp_path, frame, fold=Fold(number, 3), test_size=0) for number in range(3)]
    models = [linear(data, seed) for seed, data in enumerate(parts)]
    monkeypatch.setattr(column_effects, "PREDICTED", 40 * 2 * 5)  # 40 rows, two columns, five permutations
    explain_columns(tmp_path, parts[0], models, [data.test_indices for data in parts])
    typed, true = parts[0].tested()
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.choice(COUNT, 40, replace=False))

    def rmse(rows):
        said = np.zeros(COUNT)
        for data, model in zip(parts, models, strict=True):
            matrix = torch.from_numpy(transform(rows, data.preprocessing))
            said[data.test_indices] = model(matrix).detach().numpy()[data.test_indices]
        return np.sqrt(((said - true)[drawn] ** 2).mean())

    rises = []
    for order in [rng.permutation(40) for _ in range(5)]:
        area = typed.area.to_numpy().copy()
        area[drawn] = area[drawn][order]
        rises.append(rmse(typed.assign(area=area)) - rmse(typed))
    importance = pd.read_csv(tmp_path / "importance.csv", index_col="column").loc["area"]
    assert importance.importance == pytest.approx(np.mean(rises), rel=1e-4)
    assert importance.standard_deviation == pytest.approx(np.std(rises), rel=1e-4)


def test_rows_are_drawn_evenly_and_only_if_there_are_too_many():
    assert affordable(600, 100, np.random.default_rng(0)).tolist() == list(range(600))
    drawn = affordable(10**6, 100, np.random.default_rng(0))  # 300,000 predictions, five permutations
    assert len(drawn) == len(set(drawn)) == 600
    assert (np.diff(drawn) > 0).all()
    tenths = np.bincount(drawn // 10**5, minlength=10)
    assert tenths.min() > 60 - 5 * np.sqrt(54)  # five standard deviations


@pytest.mark.parametrize("target", ["price", "town"])
def test_dependence_is_the_mean_of_predictions_for_rows_with_that_value(tmp_path, target):
    classes = {"task": "classification"} if target == "town" else {"log_target": True}
    data = ready(tmp_path, homes(), target, ordinals={"level": ["low", "mid", "high"]}, **classes)
    model, (typed, _) = linear(data), data.tested()
    for column, values in {"level": [0.0, 1.0, 2.0], "area": None}.items():
        found = partial_dependence(Together([model], typed), column)
        assert list(found.points) == (values or list(found.points))
        assert found.labels == (["low", "mid", "high"] if values else [])
        for point, means in zip(found.points, found.means, strict=True):
            rows = torch.from_numpy(transform(typed.assign(**{column: point}), data.preprocessing))
            said = model(rows).detach().double()
            expected = said.exp().mean(0) if target == "town" else said.mean()[None]
            np.testing.assert_allclose(means, expected, rtol=1e-5)


def test_axis_of_times_says_that_they_are_hours():
    found = [Dependence("at", np.array([8.5, 9.0]), [], np.zeros((2, 1)), unit) for unit in ("", "hours")]
    assert [axes.get_xlabel() for axes in draw_dependence(found, "y", []).axes[:2]] == ["at", "at (hours)"]


def test_dependence_on_times_is_by_hours(tmp_path):
    frame = homes().assign(sold=[f"{8 + row % 10}:{row % 60:02}" for row in range(len(homes()))])
    frame.to_csv(tmp_path / "homes.csv", index=False)
    data = CsvTable(str(tmp_path / "homes.csv"), "price")
    data.setup()
    found = partial_dependence(Together([linear(data)], data.tested()[0]), "sold")
    assert found.unit == "hours" and 8 <= found.points.min() <= found.points.max() < 18


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of folds and one of a single net, on a table whose columns are needed in a known order."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    homes().to_csv(folder / "homes.csv", index=False)
    flags = ["--csv", str(folder / "homes.csv"), "--target", "price", "--net", "linear", "--accelerator", "cpu"]
    flags += ["--lr", "0.05", "--max_epochs", "60", "--batch_size", "32", "--enable_progress_bar", "false"]
    flags += ["--jobs", "1", "--test_size", "0.3"]
    for folds in ("0", "2"):
        run_dir = folder / folds
        cli(table.main, table.RECIPES, [*flags, "--folds", folds, "--run_dir", str(run_dir)])
        (found[folds],) = (run_dir / "table").iterdir()
    return found


@pytest.mark.parametrize("folds", ["0", "2"])
def test_run_finds_planted_columns_in_order(runs, folds):
    importance = pd.read_csv(runs[folds] / "importance.csv")
    assert list(importance.column[:3]) == ["area", "town", "level"]
    assert set(importance.column[3:]) == {"sold", "noise"}
    assert (importance.importance.diff()[1:] <= 0).all()
    assert (importance.importance[:2] > 4 * importance.standard_deviation[:2]).all()
    assert {"importance", "partial_dependence"} <= {path.stem for path in (runs[folds] / "figures").glob("*.png")}


def test_permuted_file_is_predicted_as_badly_as_the_importance_says(runs, tmp_path, capsys):
    """The mean rise over the run's own five permutations, by predict_table.py and numpy."""
    frame = homes().astype(object)
    data = CsvTable(str(runs["2"].parents[2] / "homes.csv"), "price", fold=Fold(0, 2), test_size=0.3)
    data.setup()
    tested = frame.loc[data.tested()[0].index - 2]  # the index is the line in the file, whose first has the names
    rng = np.random.default_rng(0)
    orders = [None, *(rng.permutation(len(tested)) for _ in range(5))]
    errors = []
    for order in orders:
        rows = tested if order is None else tested.assign(area=tested.area.to_numpy()[order])
        rows.to_csv(tmp_path / "rows.csv", index=False)
        said = [str(runs["2"]), str(tmp_path / "rows.csv"), "--output", str(tmp_path / "said.csv"), "--force"]
        cli(predict_table.main, None, said)
        errors.append(((pd.read_csv(tmp_path / "said.csv").price - tested.price.to_numpy()) ** 2).mean() ** 0.5)
    importance = pd.read_csv(runs["2"] / "importance.csv", index_col="column")
    rises = np.array(errors[1:]) - errors[0]
    assert importance.importance["area"] == pytest.approx(rises.mean(), rel=1e-3)
    assert importance.standard_deviation["area"] == pytest.approx(rises.std(), rel=1e-3)
