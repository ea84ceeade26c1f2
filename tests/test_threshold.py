"""Of two classes, predictions name the second one from the probability on that validation chose."""

import json

import numpy as np
import pandas as pd
import pytest
from photos import photos
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from experiments import own_images, predict, predict_table, table
from harness.command_line.cli import cli
from harness.serving.subjects import answers_of
from harness.tasks.decisions import LIKELIEST, decision_for

QUICK = ["--accelerator", "cpu", "--enable_progress_bar", "false", "--pictures", "false", "--max_epochs", "3"]


def patients(count=120):
    """Rows of which a sixth is ill, which follows roughly from a number."""
    rng = np.random.default_rng(0)
    dose = rng.random(count).round(3)
    return pd.DataFrame({"dose": dose, "state": np.where(dose + 0.2 * rng.standard_normal(count) > 0.85, "ill", "fit")})


def only(folder):
    (run,) = folder.glob("*/*")
    return run


@pytest.fixture(scope="module")
def row_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    patients().to_csv(folder / "rows.csv", index=False)
    what = ["--csv", str(folder / "rows.csv"), "--target", "state", "--task", "classification", "--net", "linear"]
    cli(table.main, table.RECIPES, [*QUICK, *what, "--folds", "0", "--val_size", "40", "--run_dir", str(folder / "r")])
    return only(folder / "r")


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    root = photos(folder / "photos", ant=30, bee=10)
    flags = ["--data_dir", str(root), "--image_size", "16", "--net", "softmax", "--val_size", "12"]
    cli(own_images.main, own_images.RECIPES, [*QUICK, *flags, "--run_dir", str(folder / "r")])
    return only(folder / "r"), root


def chosen(run):
    return json.loads((run / "metrics.json").read_text())["val/threshold"]


@pytest.mark.parametrize("asked", [None, 0.5, 0.05])
def test_rows_are_of_the_second_class_from_the_threshold_on(row_run, tmp_path, capsys, asked):
    patients().to_csv(tmp_path / "rows.csv", index=False)
    flags = [] if asked is None else ["--threshold", str(asked)]
    files = [str(tmp_path / "rows.csv"), "--output", str(tmp_path / "p.csv")]
    cli(predict_table.main, None, [str(row_run), *files, *flags])
    out, printed = pd.read_csv(tmp_path / "p.csv"), capsys.readouterr().out
    threshold = chosen(row_run) if asked is None else asked
    wanted = np.where(out["p(ill)"] >= threshold, "ill", "fit")
    assert out["state"].tolist() == wanted.tolist()
    assert out["probability"].tolist() == [row[f"p({row['state']})"] for _, row in out.iterrows()]
    assert f"balanced_acc {balanced_accuracy_score(patients()['state'], wanted):.2%}" in printed
    said = f"ill is named from a probability of {threshold:.3f} on, as validation chose; --threshold 0.5 takes"
    assert (said if asked is None else f"ill is named from a probability of {asked:g} on") in printed
    assert chosen(row_run) != 0.5


def test_images_are_too_and_the_page_says_so(image_run, tmp_path, capsys):
    run, root = image_run
    cli(predict.main, None, [str(run), str(root / "train"), "--output", str(tmp_path / "p.csv")])
    out = pd.read_csv(tmp_path / "p.csv")
    assert out["label"].tolist() == np.where(out["p(bee)"] >= chosen(run), "bee", "ant").tolist()
    assert f"bee is named from a probability of {chosen(run):.3f} on, as validation chose" in capsys.readouterr().out
    assert Image.open(tmp_path / "p.png").width > 300
    answers = answers_of(str(run), threshold=0.999)
    (note,) = answers.answer((root / "train" / "bee" / "0.png").read_bytes())["notes"]
    share = dict(answers.answer((root / "train" / "bee" / "0.png").read_bytes())["shares"])["bee"]
    assert note == f"Taken as {'bee' if share >= 0.999 else 'ant'}: bee is named from a probability of 0.999 on."


def test_page_of_rows_says_it(row_run):
    (note, *_) = answers_of(str(row_run)).answer(json.dumps({"dose": "0.9"}).encode())["notes"]
    assert note.startswith("Taken as ")
    assert f"from a probability of {chosen(row_run):.3f} on, as validation chose" in note


def test_file_is_known_by_its_bare_name_too(row_run, monkeypatch):
    monkeypatch.chdir(row_run / "checkpoints")
    (note, *_) = answers_of("best.ckpt").answer(json.dumps({"dose": "0.9"}).encode())["notes"]
    assert f"from a probability of {chosen(row_run):.3f} on" in note


def test_threshold_is_that_of_the_best_epochs_weights_only(row_run):
    best, last = (row_run / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    assert decision_for([best], ["fit", "ill"], None).threshold == chosen(row_run)
    assert decision_for([last], ["fit", "ill"], None) == LIKELIEST
    assert decision_for([best.with_name("best.small.ckpt")], ["fit", "ill"], None).threshold == chosen(row_run)
    assert decision_for([best, best], ["fit", "ill"], None) == LIKELIEST
    assert decision_for([best], ["a", "b", "c"], None) == LIKELIEST


@pytest.mark.parametrize(("asked", "said"), [("1.5", "must be between 0 and 1"), ("0", "must be between 0 and 1")])
def test_mistake_is_one_line(row_run, tmp_path, refusal, asked, said):
    patients().to_csv(tmp_path / "rows.csv", index=False)
    assert said in refusal(predict_table.main, str(row_run), str(tmp_path / "rows.csv"), "--threshold", asked)
