"""Several labels for each row of a table, and focal loss for classes of rows: figures found another way."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, hamming_loss, log_loss
from sklearn.model_selection import KFold
from torch.nn.functional import softmax

from datamodules.csv_table import CsvTable
from datamodules.table_splits import Fold
from experiments import evaluate, predict_table, table
from harness.command_line.cli import cli
from lit_modules import RowClassifier
from lit_modules.row_tagger import RowTagger

ROOT = Path(__file__).parents[1]
LABELS = ["rain", "wind", "hail"]
COUNT = 63
QUICK = [
    *("--net", "linear", "--accelerator", "cpu", "--enable_progress_bar", "false", "--lr", "0.05"),
    *("--max_epochs", "6", "--batch_size", "16", "--jobs", "1", "--task", "multilabel"),
]


def weather(count=COUNT):
    """Rows whose labels follow from two numbers and a town, with noise; hail is rare."""
    rng = np.random.default_rng(0)
    cloud, gust, town = rng.random(count), rng.random(count), rng.integers(2, size=count)
    noise = 0.1 * rng.standard_normal((3, count))
    frame = pd.DataFrame({"cloud": cloud.round(3), "gust": gust.round(3), "town": np.array(["A", "B"])[town]})
    frame["rain"], frame["wind"] = (cloud + noise[0] > 0.5).astype(int), (gust + noise[1] > 0.4).astype(int)
    frame["hail"] = (cloud * gust + 0.2 * town + noise[2] > 0.6).astype(int)
    return frame


def by_scikit_learn(probabilities, hits):
    said = probabilities >= 0.5
    return {
        "map": average_precision_score(hits, probabilities, average="macro"),
        "macro_f1": f1_score(hits, said, average="macro", zero_division=0),
        "micro_f1": f1_score(hits, said, average="micro"),
        "subset_acc": accuracy_score(hits, said),
        "hamming": hamming_loss(hits, said),
    }


def train(folder, frame, target, *flags):
    frame.to_csv(folder / "weather.csv", index=False)
    what = ["--csv", str(folder / "weather.csv"), "--target", target, "--run_dir", str(folder)]
    cli(table.main, table.RECIPES, [*QUICK, *what, *flags])
    (run,) = folder.glob("table/*")
    return run, json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A run of three folds, and its metrics."""
    folder = tmp_path_factory.mktemp("folds")
    return train(folder, weather(), "rain,wind,hail", "--folds", "3", "--test_size", "9")


def test_figures_of_folds_are_scikit_learns(folds):
    run, metrics = folds
    out = pd.read_csv(run / "out_of_fold.csv")
    probabilities, hits = out[[f"p({name})" for name in LABELS]].to_numpy(), out[LABELS].to_numpy()
    assert out[LABELS].to_numpy().tolist() == weather()[LABELS].to_numpy()[out["line"] - 2].tolist()
    figures = by_scikit_learn(probabilities, hits)
    assert {name: metrics[f"cv/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    assert metrics["cv/map"] > 0.6
    assert metrics["test/samples"] == 9
    held = [np.load(run / f"fold{number}" / "predictions.npz")["rows"].tolist() for number in range(3)]
    wanted = [rows.tolist() for _, rows in KFold(3, shuffle=True, random_state=0).split(out)]
    assert held == wanted
    assert (run / "figures" / "by_label.png").exists()


def test_predictions_are_the_mean_of_the_folds_models_and_are_scored(folds, tmp_path, capsys):
    run, _ = folds
    weather().to_csv(tmp_path / "rows.csv", index=False)
    cli(predict_table.main, None, [str(run), str(tmp_path / "rows.csv"), "--output", str(tmp_path / "p.csv")])
    out = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    shares = out[[f"p({name})" for name in LABELS]].to_numpy(float)
    assert out["labels"].tolist() == [
        ";".join(name for name, share in zip(LABELS, row, strict=True) if share >= 0.5) for row in shares
    ]
    figures = by_scikit_learn(shares, weather()[LABELS].to_numpy())
    assert f"map {figures['map']:.4f}, macro_f1 {figures['macro_f1']:.4f}" in capsys.readouterr().out
    for number in range(3):
        alone = [str(run / f"fold{number}"), str(tmp_path / "rows.csv"), "--output", str(tmp_path / f"{number}.csv")]
        cli(predict_table.main, None, alone)
    each = [pd.read_csv(tmp_path / f"{number}.csv")["p(rain)"].to_numpy() for number in range(3)]
    assert out["p(rain)"].tolist() == pytest.approx(np.mean(each, axis=0))


def test_importance_of_a_column_is_what_permuted_files_lose(folds, tmp_path, capsys):
    """By predict_table.py and scikit-learn's log-loss of each label, over the run's own five permutations."""
    run, _ = folds
    data = CsvTable(
        str(run.parents[1] / "weather.csv"), ",".join(LABELS), task="multilabel", fold=Fold(0, 3), test_size=9
    )
    data.setup()
    tested = weather().loc[data.tested()[0].index - 2]  # the index is the line in the file, whose first has the names
    rng = np.random.default_rng(0)
    losses = []
    for order in (None, *(rng.permutation(9) for _ in range(5))):
        rows = tested if order is None else tested.assign(cloud=tested.cloud.to_numpy()[order])
        rows.to_csv(tmp_path / "rows.csv", index=False)
        said = [str(run), str(tmp_path / "rows.csv"), "--output", str(tmp_path / "said.csv"), "--force"]
        cli(predict_table.main, None, said)
        shares = pd.read_csv(tmp_path / "said.csv")
        losses.append(np.mean([log_loss(tested[name], shares[f"p({name})"], labels=[0, 1]) for name in LABELS]))
    importance = pd.read_csv(run / "importance.csv", index_col="column").importance
    assert importance["cloud"] == pytest.approx(np.mean(losses[1:]) - losses[0], rel=1e-3)
    assert set(importance.index) == {"cloud", "gust", "town"}
    assert {"importance", "partial_dependence"} <= {path.stem for path in (run / "figures").glob("*.png")}


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    """One training on a table with a column of texts, such as rain|hail."""
    frame = weather()
    rows = [[name for name in LABELS if row[name]] for _, row in frame.iterrows()]
    frame = frame.drop(columns=LABELS).assign(seen=["|".join(row) for row in rows])
    folder = tmp_path_factory.mktemp("texts")
    once = ["--folds", "0", "--val_size", "9", "--test_size", "11", "--pictures", "false"]
    return train(folder, frame, "seen", "--loss", "focal", *once)


def test_texts_of_labels_are_learnt_and_evaluated(of_texts, tmp_path):
    run, metrics = of_texts
    assert set(metrics["by_label"]) == set(LABELS)
    assert sum(its["count"] for its in metrics["by_label"].values()) > 0
    again = cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    assert again == {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


def test_rows_with_a_label_that_is_not_known_are_predicted_and_not_scored(of_texts, tmp_path, capsys):
    weather().drop(columns=LABELS).assign(seen="hail|snow").to_csv(tmp_path / "rows.csv", index=False)
    cli(predict_table.main, None, [str(of_texts[0]), str(tmp_path / "rows.csv"), "--output", str(tmp_path / "p.csv")])
    assert len(pd.read_csv(tmp_path / "p.csv")) == COUNT
    assert "'hail|snow' has a label that no row of the training table has" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_say_what_one_did(of_texts):
    run, metrics = of_texts
    command = [sys.executable, "experiments/evaluate.py", str(run), "--accelerator", "cpu", "--devices", "2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    for stage in ("val", "test"):
        names = ("loss", "map", "macro_f1", "micro_f1", "subset_acc", "hamming")
        wanted = [stage, *(f"{metrics[f'{stage}/{name}']:.4f}" for name in names)]
        assert wanted in [line.split() for line in said.splitlines()]


def test_doctor_knows_labels(tmp_path, capsys):
    weather().to_csv(tmp_path / "weather.csv", index=False)
    what = ["--csv", str(tmp_path / "weather.csv"), "--target", "rain,wind,hail", "--doctor"]
    with pytest.raises(SystemExit):
        cli(table.main, table.RECIPES, [*QUICK, *what])
    assert "chance has ln 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "flags", "said"),
    [
        ("rain,snow", [], "column 'snow' is missing"),
        ("rain,cloud", [], "column 'cloud'"),
        ("rain", [], "0 and 1 are a single label, which --task classification tells apart"),
        ("rain,wind", ["--log_target"], "log_target: a label has no logarithm"),
        ("rain,wind", ["--class_weights", "balanced", "--folds", "0"], "has labels, and has no classes"),
        ("rain,wind", ["--loss", "mse"], "loss 'mse': no such loss; There are bce, focal"),
        ("rain,wind", ["--task", "multilabels"], "task 'multilabels': no such task; did you mean multilabel?"),
        ("rain,wind", ["--drop", "wind"], "drop 'wind': target names it too"),
    ],
)
def test_mistake_is_one_line(tmp_path, refusal, target, flags, said):
    weather().to_csv(tmp_path / "weather.csv", index=False)
    what = ["--csv", str(tmp_path / "weather.csv"), "--target", target]
    line = refusal(table.main, *QUICK, *what, *flags, recipes=table.RECIPES)
    assert said in line, line


def test_value_that_is_neither_0_nor_1_is_named(tmp_path, refusal):
    frame = weather().astype({"wind": object})
    frame.loc[4, "wind"] = "storm"
    frame.to_csv(tmp_path / "weather.csv", index=False)
    what = ["--csv", str(tmp_path / "weather.csv"), "--target", "rain,wind,hail"]
    line = refusal(table.main, *QUICK, *what, recipes=table.RECIPES)
    assert "line 6, column 'wind': 'storm' is neither 0 nor 1" in line


# Focal loss for classes of rows.


def focal(probabilities, labels):
    true = probabilities[np.arange(len(labels)), labels]
    return -((1 - true) ** 2) * np.log(true)


def test_focal_loss_of_rows_is_that_of_the_members_in_training_and_of_their_mean_in_evaluation():
    model = RowClassifier("tabm", (4,), 3, net_args={"size": 2, "widths": [8], "dropout": 0.0}, loss="focal")
    rows, labels = torch.randn(7, 4), torch.arange(7) % 3
    with torch.no_grad():
        shares = softmax(model.net(rows, each=True).double(), 2).numpy()  # (7, 2, 3)
        loss, _ = model.learn(rows, labels)
        model.eval()._evaluate("val", (rows, labels))
    members = [focal(shares[:, member], labels.numpy()).mean() for member in range(2)]
    assert float(loss) == pytest.approx(np.mean(members), rel=1e-5)
    means, _ = model.means["val"].compute()
    assert means["loss"] == pytest.approx(focal(shares.mean(1), labels.numpy()).mean(), rel=1e-5)


def test_tagger_is_made_again_from_its_checkpoint(of_texts):
    model = RowTagger.load_from_checkpoint(next(of_texts[0].glob("checkpoints/best.ckpt")), map_location="cpu")
    assert model.names == sorted(LABELS)
    assert model.hparams["loss"] == "focal"
