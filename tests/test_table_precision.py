"""Targets and features far from 0, with differences too small for float32, from the file to the predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from datamodules.csv_table import CsvTable
from experiments import predict_table, table
from harness.command_line.cli import cli
from lit_modules import Regressor

OFFSET = 1.7e9  # seconds, of a time in 2023; float32 has steps of 128 there
QUICK = [
    *("--accelerator", "cpu", "--max_epochs", "30", "--enable_progress_bar", "false", "--pictures", "false"),
    *("--folds", "0"),
]


@pytest.fixture(scope="module")
def times(tmp_path_factory):
    """The folder with times.csv, whose `end` follows from `x` and `start`, and the run of a linear net on it."""
    folder, rng = tmp_path_factory.mktemp("times"), np.random.default_rng(0)
    x, start = rng.normal(size=300), OFFSET + 20 * rng.normal(size=300)
    frame = pd.DataFrame({"x": x, "start": start, "end": start + 15 * x + rng.normal(size=300)})
    frame.to_csv(folder / "times.csv", index=False)
    flags = ["--csv", str(folder / "times.csv"), "--target", "end", "--net", "linear", "--scale", "standard"]
    cli(table.main, table.RECIPES, [*flags, *QUICK, "--lr", "0.1", "--run_dir", str(folder)])
    (run,) = (folder / "table").iterdir()
    new = folder / "new.csv"
    frame.drop(columns="end").to_csv(new, index=False)
    cli(predict_table.main, None, [str(run), str(new), "--output", str(folder / "said.csv")])
    return folder, run, frame


def test_metrics_and_predictions_keep_the_differences(times):
    folder, run, frame = times
    data = CsvTable(str(folder / "times.csv"), "end", scale="standard")
    data.setup()
    metrics, said = json.loads((run / "metrics.json").read_text()), pd.read_csv(folder / "said.csv")["end"]
    pair = frame["end"][data.test_indices], said[data.test_indices]
    assert metrics["test/rmse"] == pytest.approx(root_mean_squared_error(*pair), rel=1e-4)
    assert metrics["test/mae"] == pytest.approx(mean_absolute_error(*pair), rel=1e-4)
    assert metrics["test/r2"] == pytest.approx(r2_score(*pair), abs=1e-4)
    train = data.train_indices
    peer = LinearRegression().fit(frame[["x", "start"]].iloc[train] - [0, OFFSET], frame["end"][train] - OFFSET)
    wanted = peer.predict(frame[["x", "start"]] - [0, OFFSET])
    np.testing.assert_allclose(said - OFFSET, wanted, atol=1.0)  # the deviation is 25
    assert said.nunique() == 300


def test_best_checkpoint_predicts_what_the_file_says(times):
    folder, run, _ = times
    model = Regressor.load_from_checkpoint(run / "checkpoints" / "best.ckpt").eval()
    data = CsvTable(str(folder / "times.csv"), "end", scale="standard")
    data.setup()
    rows = data._rows().rows
    said = pd.read_csv(folder / "said.csv")["end"]
    np.testing.assert_allclose(model(rows).detach().numpy() - OFFSET, said - OFFSET, atol=1e-5)


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile"])
def test_features_far_from_0_are_scaled_as_if_they_were_near(tmp_path, scale):
    rng, rows = np.random.default_rng(1), []
    near = (20 * rng.normal(size=100)).round(3)
    for name, offset in {"near": 0, "far": OFFSET}.items():
        frame = pd.DataFrame({"t": near + offset, "y": rng.normal(size=100)})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        data = CsvTable(str(tmp_path / f"{name}.csv"), "y", scale=scale)
        data.setup()
        rows.append(data.rows)
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4)


def test_deviation_of_equal_targets_is_not_their_rounding(tmp_path):
    data = CsvTable("", "", sample=True)
    data.setup()
    data.targets = np.full(len(data.targets), 0.1)  # numpy's deviation of it is 1e-17
    assert data.target_mean_std() == (pytest.approx(0.1), 1.0)


TINY = 1e-7  # such as a current in amperes


@pytest.mark.parametrize("folds", ["0", "2"])
def test_small_targets_keep_their_digits(tmp_path, capsys, folds):
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    frame = pd.DataFrame({"x": x, "y": TINY * (3 + x + 0.1 * rng.normal(size=60))})
    frame.to_csv(tmp_path / "small.csv", index=False)
    flags = ["--csv", str(tmp_path / "small.csv"), "--target", "y", "--net", "linear", "--lr", "0.1"]
    cli(table.main, table.RECIPES, [*flags, *QUICK, "--folds", folds, "--jobs", "1", "--run_dir", str(tmp_path)])
    (run,) = (tmp_path / "table").iterdir()
    metrics, out = json.loads((run / "metrics.json").read_text()), capsys.readouterr().out
    assert "0.0000" not in out.partition("last epoch" if folds == "0" else "over 54 rows")[2].replace("r2", "")
    cli(predict_table.main, None, [str(run), str(tmp_path / "small.csv"), "--output", str(tmp_path / "said.csv")])
    said = pd.read_csv(tmp_path / "said.csv")["y"]
    rows = CsvTable(str(tmp_path / "small.csv"), "y")
    rows.setup()
    test = rows.test_indices
    wanted = root_mean_squared_error(frame["y"][test], said[test])
    assert metrics["test/rmse"] == pytest.approx(wanted, rel=1e-5)
    assert 0 < wanted < 3 * TINY
