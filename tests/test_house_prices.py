"""Cross-validation and prediction as a user sees them: scores, files, and one line for each mistake."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import KFold
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_scripts import launch_script, read_metrics

from datamodules.house_prices import HousePrices
from datamodules.sample_tables import houses, wine
from datamodules.table_data import Fold
from experiments import house_prices, predict_table, table
from harness.command_line.cli import cli
from lit_modules import Regressor

QUICK = ["--sample", "--accelerator", "cpu", "--max_epochs", "3", "--enable_progress_bar", "false"]
PLAIN = ["--pictures", "false"]  # where they are not looked at
KAGGLE = Path(__file__).parents[1] / "data" / "house-prices"


def run_houses(folder, *flags):
    cli(house_prices.main, house_prices.RECIPES, [*QUICK, "--run_dir", str(folder), *flags])
    (run,) = (folder / "house_prices").iterdir()
    return run, json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def cross_validated(tmp_path_factory):
    """Three folds of a small ensemble, in this process."""
    flags = ["--folds", "3", "--fold_seed", "4", "--jobs", "1", "--net_args.size", "3", "--lr", "0.01"]
    return run_houses(tmp_path_factory.mktemp("runs"), *flags)


def test_scores_are_those_of_the_files(cross_validated):
    run, metrics = cross_validated
    said = pd.read_csv(run / "out_of_fold.csv")
    assert said["Id"].tolist() == list(range(1, 601))
    true, predicted = said["SalePrice"], said["predicted"]
    assert metrics["cv/samples"] == 600
    assert metrics["cv/log_rmse"] == pytest.approx(root_mean_squared_error(np.log(true), np.log(predicted)), abs=2e-6)
    assert metrics["cv/mae"] == pytest.approx(mean_absolute_error(true, predicted), abs=0.01)
    assert metrics["cv/rmse"] == pytest.approx(root_mean_squared_error(true, predicted), abs=0.01)
    assert metrics["cv/r2"] == pytest.approx(r2_score(true, predicted), abs=2e-6)
    folds = [test for _, test in KFold(3, shuffle=True, random_state=4).split(true)]
    wanted = [root_mean_squared_error(np.log(true[test]), np.log(predicted[test])) for test in folds]
    assert metrics["cv/fold_log_rmse"] == pytest.approx(wanted, abs=2e-6)
    of_the_folds = [json.loads((run / f"fold{n}" / "metrics.json").read_text())["test/log_rmse"] for n in range(3)]
    assert of_the_folds == pytest.approx(wanted, abs=2e-6)


def test_each_row_is_predicted_by_the_model_that_had_not_seen_it(cross_validated):
    run, _ = cross_validated
    said = pd.read_csv(run / "out_of_fold.csv")["predicted"]
    columns = {name: getattr(house_prices.RECIPES["tabm"], name) for name in ("scale", "log1p", "clip")}
    for number, (train, test) in enumerate(KFold(3, shuffle=True, random_state=4).split(said)):
        data = HousePrices(sample=True, val_size=0, fold=Fold(number, 3, 4), **columns)
        data.setup()
        assert np.array_equal(data.train_indices, train)
        model = Regressor.load_from_checkpoint(run / f"fold{number}" / "checkpoints" / "last.ckpt", weights_only=True)
        assert model.hparams.preprocessing == data.preprocessing
        with torch.no_grad():
            prices = model.cpu().eval()(torch.from_numpy(data.rows[test]))
        np.testing.assert_allclose(said[test], prices.numpy(), rtol=1e-5)


def test_submission_is_kaggles_format_and_the_mean_of_log_prices(cross_validated, tmp_path):
    run, metrics = cross_validated
    submission = pd.read_csv(run / "submission.csv")
    assert list(submission) == ["Id", "SalePrice"]
    assert submission["Id"].tolist() == list(range(601, 801))
    assert metrics["submission/lowest"] == pytest.approx(submission["SalePrice"].min(), abs=0.01)
    new = tmp_path / "new.csv"
    houses()[1].cells.to_csv(new, index=False)
    logs = []
    for number in range(3):
        output = tmp_path / f"{number}.csv"
        cli(predict_table.main, None, [str(run / f"fold{number}"), str(new), "--output", str(output)])
        logs.append(np.log(pd.read_csv(output)["SalePrice"]))
    np.testing.assert_allclose(submission["SalePrice"], np.exp(np.mean(logs, axis=0)), rtol=1e-6)
    cli(predict_table.main, None, [str(run), str(new), "--output", str(tmp_path / "all.csv")])
    assert (tmp_path / "all.csv").read_text() == (run / "submission.csv").read_text()
    with pytest.raises(SystemExit):
        cli(predict_table.main, None, [str(run), str(new), "--output", str(output)])
    assert len(pd.read_csv(output)) == len(submission)
    cli(predict_table.main, None, [str(run), str(new), "--output", str(output), "--force"])
    assert output.read_text() == (run / "submission.csv").read_text()


def test_run_leaves_the_promised_files(cross_validated):
    run, metrics = cross_validated
    drawn = {"predicted", "residuals", "importance", "partial_dependence"}
    assert {path.stem for path in (run / "figures").iterdir()} == drawn
    assert (run / "config.yaml").exists()
    assert {"seconds", "epochs", "parameters", "net", "git_commit"} <= set(metrics)
    assert not list(run.rglob("*unfinished*"))
    for number in range(3):
        curve = EventAccumulator(str(run / f"fold{number}")).Reload().Scalars("train/log_rmse")
        assert len(curve) == 3
        assert "200 test samples" in (run / f"fold{number}" / "log.txt").read_text()
    parent = EventAccumulator(str(run)).Reload()
    assert {*parent.Tags()["images"]} == {f"visuals/{name}" for name in drawn}
    assert parent.Scalars("cv/log_rmse")[-1].value == pytest.approx(metrics["cv/log_rmse"], abs=1e-6)


def test_score_over_more_and_more_folds_is_a_curve_in_tensorboard(cross_validated):
    run, _ = cross_validated
    points = EventAccumulator(str(run)).Reload().Scalars("cv/log_rmse")
    table = pd.read_csv(run / "out_of_fold.csv")
    errors = np.log(table["predicted"]) - np.log(table["SalePrice"])
    parts = [test for _, test in KFold(3, shuffle=True, random_state=4).split(table)]
    scores = [np.sqrt(np.mean(errors[np.concatenate(parts[:count])] ** 2)) for count in (1, 2, 3)]
    assert [point.step for point in points] == [1, 2, 3]
    assert [point.value for point in points] == pytest.approx(scores, rel=1e-5)


def test_folds_in_processes_give_the_same_as_one_after_another(cross_validated, tmp_path):
    run, metrics = cross_validated
    flags = ["--folds", "3", "--fold_seed", "4", "--jobs", "2", "--net_args.size", "3", "--lr", "0.01"]
    other, in_processes = run_houses(tmp_path, *flags, *PLAIN)
    assert (in_processes["jobs"], metrics["jobs"]) == (2, 1)
    assert in_processes["cv/log_rmse"] == metrics["cv/log_rmse"]
    assert (other / "submission.csv").read_text() == (run / "submission.csv").read_text()


def test_seeds_are_averaged(tmp_path):
    flags = ["--net", "linear", "--folds", "2", "--seeds", "2", "--jobs", "1"]
    run, metrics = run_houses(tmp_path, *flags, *PLAIN)
    folders = sorted(path.name for path in run.glob("fold*"))
    assert folders == ["fold0_seed0", "fold0_seed1", "fold1_seed0", "fold1_seed1"]
    assert len(metrics["cv/seed_log_rmse"]) == 2
    assert metrics["cv/log_rmse"] <= np.mean(metrics["cv/seed_log_rmse"])  # the square is convex


def test_interrupted_run_keeps_the_folds_that_ended(tmp_path, capsys, refusal):
    run, metrics = run_houses(tmp_path, "--net", "linear", "--folds", "3", "--jobs", "1", *PLAIN)
    submission = (run / "submission.csv").read_text()
    for name in ("metrics.json", "submission.csv", "fold1/predictions.npz"):  # killed within the second fold
        (run / name).unlink()
    kept = (run / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    capsys.readouterr()
    cli(house_prices.main, house_prices.RECIPES, ["--resume", str(run)])
    ended = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("fold")]
    assert ended == ["fold1"]
    assert (run / "submission.csv").read_text() == submission
    again = json.loads((run / "metrics.json").read_text())
    assert again["cv/log_rmse"] == metrics["cv/log_rmse"]
    seconds = [float(np.load(path)["seconds"]) for path in sorted(run.glob("fold*/predictions.npz"))]
    assert all(number > 0 for number in seconds)
    assert again["seconds"] >= sum(seconds) - 0.01  # also those of the folds that had ended, as there is one job
    assert (run / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == kept
    line = refusal(house_prices.main, "--resume", str(run), "--lr", "0.5", recipes=house_prices.RECIPES)
    assert "--lr 0.5" in line


def test_without_folds_the_best_epoch_predicts(tmp_path):
    run, metrics = run_houses(tmp_path, "--folds", "0", "--net", "linear", *PLAIN)
    assert metrics["test/samples"] == 60
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    new = tmp_path / "new.csv"
    houses()[1].cells.to_csv(new, index=False)
    cli(predict_table.main, None, [str(run), str(new), "--output", str(tmp_path / "said.csv")])
    said, submission = (pd.read_csv(path)["SalePrice"] for path in (tmp_path / "said.csv", run / "submission.csv"))
    np.testing.assert_allclose(said, submission, rtol=1e-6)
    cli(house_prices.main, house_prices.RECIPES, ["--resume", str(run), "--max_epochs", "4"])
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 4


@pytest.mark.slow
def test_two_processes_train_and_predict_as_one_does(tmp_path):
    net = ["--net", "mlp", "--net_args", '{"widths": [16], "dropout": 0}', "--folds", "0"]
    results = []
    for devices, batch_size in (("1", "64"), ("2", "32")):  # 486 training rows: 7 batches and one of 38
        places = ["--devices", devices, "--batch_size", batch_size, "--run_dir", str(tmp_path / devices)]
        launch_script("house_prices", *QUICK, *net, *places)
        metrics, run = read_metrics(tmp_path / devices)
        results.append((metrics, pd.read_csv(run / "submission.csv")["SalePrice"]))
    (one, submission), (two, other) = results
    for name in ("val/loss", "val/log_rmse", "test/loss", "test/rmse", "test/mae", "test/r2", "test/samples"):
        assert two[name] == pytest.approx(one[name], rel=1e-5), name
    np.testing.assert_allclose(other, submission, rtol=1e-5)


@pytest.mark.skipif(not KAGGLE.exists(), reason="Kaggle's files are not there")
def test_kaggles_own_files_are_read_whole(tmp_path):
    flags = ["--sample", "false", "--data_dir", str(KAGGLE.parent), "--net", "linear", "--max_epochs", "20"]
    run, metrics = run_houses(tmp_path, *flags, "--jobs", "1", *PLAIN)
    assert metrics["cv/samples"] == 1460
    assert metrics["cv/log_rmse"] < 0.25  # 0.40 is what the mean price scores
    assert pd.read_csv(run / "submission.csv")["Id"].tolist() == list(range(1461, 2920))


def wine_files(folder):
    cells = wine().cells.assign(**{"class": wine().cells["class"].map({"0": "red", "1": "rosé", "2": "white"})})
    cells.to_csv(folder / "wine.csv", index=False)
    cells.drop(columns="class")[:20].to_csv(folder / "new.csv", index=False)
    return cells


def test_own_table_of_classes_is_trained_and_predicted(tmp_path):
    cells = wine_files(tmp_path)
    flags = ["--csv", str(tmp_path / "wine.csv"), "--target", "class", "--task", "classification", "--net", "mlp"]
    cli(
        table.main,
        table.RECIPES,
        [*flags, *QUICK[1:], *("--folds", "0", "--max_epochs", "20", "--run_dir", str(tmp_path))],
    )
    (run,) = (tmp_path / "table").iterdir()
    assert json.loads((run / "metrics.json").read_text())["test/acc"] > 0.8
    output = tmp_path / "said.csv"
    cli(predict_table.main, None, [str(run), str(tmp_path / "new.csv"), "--output", str(output)])
    said = pd.read_csv(output)
    assert list(said) == ["line", "class", "probability", "p(red)", "p(rosé)", "p(white)"]
    assert said["line"].tolist() == list(range(2, 22))
    assert (said["class"].to_numpy() == cells["class"][:20].to_numpy()).mean() > 0.8
    assert said["probability"].between(1 / 3, 1).all()


def test_own_table_of_numbers_with_numeric_embeddings(tmp_path):
    flags = ["--net", "tabm", "--net_args.embedding", "piecewise", "--net_args.bins", "4", "--net_args.size", "2"]
    cli(table.main, table.RECIPES, [*QUICK, *flags, "--folds", "0", "--run_dir", str(tmp_path)])
    (run,) = (tmp_path / "table").iterdir()
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]["net_args"]
    assert saved["numbers"] == 10
    assert max(map(len, saved["bins"])) == 5


REWRITTEN = {
    "byte-order mark": lambda cells: b"\xef\xbb\xbf" + cells.to_csv(index=False).encode(),
    "CRLF": lambda cells: cells.to_csv(index=False, lineterminator="\r\n").encode(),
    "reordered": lambda cells: cells[cells.columns[::-1]].to_csv(index=False).encode(),
    "with a further column": lambda cells: cells.assign(More="1").to_csv(index=False).encode(),
    "with the target": lambda cells: cells.assign(SalePrice="?").to_csv(index=False).encode(),
}


@pytest.mark.parametrize("kind", REWRITTEN)
def test_rows_written_otherwise_get_the_same_predictions(cross_validated, tmp_path, kind):
    run, _ = cross_validated
    (tmp_path / "new.csv").write_bytes(REWRITTEN[kind](houses()[1].cells))
    output = tmp_path / "said.csv"
    cli(predict_table.main, None, [str(run), str(tmp_path / "new.csv"), "--output", str(output)])
    assert output.read_text() == (run / "submission.csv").read_text()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda cells: cells.drop(columns="LotArea"), ["line 1", "'LotArea'"]),
        (lambda cells: cells.assign(LotArea="huge"), ["line 2", "'LotArea'", "'huge'"]),
        (lambda cells: cells.assign(Id="7"), ["line 3", "'Id'", "'7'"]),
    ],
)
def test_spoilt_rows_are_one_line(cross_validated, tmp_path, refusal, spoil, named):
    run, _ = cross_validated
    spoil(houses()[1].cells).to_csv(tmp_path / "new.csv", index=False)
    flags = [str(run), str(tmp_path / "new.csv"), "--output", str(tmp_path / "said.csv")]
    line = refusal(predict_table.main, *flags)
    assert all(part in line for part in ["new.csv", *named]), line
    assert not (tmp_path / "said.csv").exists()


def test_nothing_is_overwritten_by_predictions(cross_validated, tmp_path, refusal):
    run, _ = cross_validated
    output = tmp_path / "said.csv"
    output.write_text("mine")
    assert "said.csv" in refusal(predict_table.main, str(run), "new.csv", "--output", str(output))
    assert output.read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--folds", "1"], ["folds 1"]),
        (["--folds", "301"], ["600 rows", "301 folds"]),
        (["--seeds", "0"], ["seeds 0"]),
        (["--devices", "2"], ["devices", "--jobs"]),
        (["--fast_dev_run", "true"], ["fast_dev_run", "--folds 0"]),
        (["--find_lr"], ["find_lr", "--folds 0"]),
        (["--early_stopping", "3"], ["--early_stopping 3: ", "--folds 0 has one"]),
        (["--lr_decay", "plateau"], ["--lr_decay plateau: ", "--folds 0"]),
        (["--features", "all"], ["'all'", "engineered"]),
        (["--net", "tabn"], ["tabn", "did you mean tabm"]),
        (["--net_args.embedding", "piecewise", "--net_args.bins", "0"], ["bins 0"]),
        (["--net", "tabn", "--jobs", "2"], ["tabn", "did you mean tabm"]),
        (["--folds", "0", "--checkpoint_epochs", "0"], ["checkpoint_epochs 0"]),
        (["--sample", "false", "--data_dir", "nowhere"], ["nowhere", "train.csv", "--sample"]),
    ],
)
def test_mistake_on_the_command_line_is_one_line(monkeypatch, refusal, flags, named):
    monkeypatch.setattr("datamodules.house_prices.MIRROR", "http://127.0.0.1:9/")  # nobody listens there
    line = refusal(house_prices.main, *QUICK, "--jobs", "1", *flags, recipes=house_prices.RECIPES)
    assert all(part in line for part in named), line


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], ["--csv"]),
        (["--csv", "wine.csv"], ["--target"]),
        (["--csv", "none.csv", "--target", "class"], ["none.csv"]),
        (["--csv", "wine.csv", "--sample"], ["--csv wine.csv", "--sample"]),
        (["--target", "class", "--sample"], ["--target class", "--sample"]),
        (["--csv", "wine.csv", "--target", "klass"], ["wine.csv", "'klass'", "'class'"]),
        (["--csv", "wine.csv", "--target", "class"], ["'class'", "'rosé'", "--task classification"]),
        (["--csv", "wine.csv", "--target", "class", "--drop", "[ash,hues]"], ["'hues'", "'hue'"]),
    ],
)
def test_mistake_about_an_own_table_is_one_line(tmp_path, refusal, flags, named):
    wine_files(tmp_path)
    line = refusal(table.main, *QUICK[1:], "--folds", "0", *flags, recipes=table.RECIPES)
    assert all(part in line for part in named), line


def test_image_checkpoint_is_no_table(tmp_path, refusal):
    torch.save({"state_dict": {}, "hyper_parameters": {"net": "mlp"}}, tmp_path / "image.ckpt")
    line = refusal(predict_table.main, str(tmp_path / "image.ckpt"), "new.csv")
    assert "image.ckpt" in line


AGAIN = """
import sys
import torch
from harness.processes import pools
from few import number

if __name__ == "__main__":
    pools.cores = lambda: 4  # two threads for each of two processes
    torch.set_num_threads(2)
    torch.ones(1000, 1000).exp()  # starts threads that a forked process would wait for
    print(list(pools.in_processes(number, [(1,), (2,)], workers=2, accelerators=0)))
"""
FEW = """
import torch

def number(power):
    return float((10.0 ** torch.full((1000, 1000), float(power))).mean())
"""


@pytest.mark.slow
def test_processes_do_not_wait_for_threads_of_an_earlier_computation(tmp_path):
    (tmp_path / "few.py").write_text(FEW)
    (tmp_path / "again.py").write_text(AGAIN)
    done = subprocess.run([sys.executable, tmp_path / "again.py"], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[10.0, 100.0]", done.stderr
