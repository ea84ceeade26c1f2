"""Images with a number as the target: figures are scikit-learn's, and predictions those of the trained network."""

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from photos import save
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import KFold

from basics.digits import rounded, rounded_each
from datamodules import ImageData, ImageFolder, image_targets
from datamodules.image_targets import ImageNumbers
from datamodules.scenes import scenes
from experiments import evaluate, export, own_images, predict
from harness.command_line.cli import cli
from harness.tasks.trained import data_by_name
from lit_modules.image_regressor import ImageRegressor

ROOT = Path(__file__).parents[1]
COUNT = 43
SMALL = ["--net", "softmax", "--image_size", "16", "--lr", "0.001", "--batch_size", "8", "--accelerator", "cpu"]
QUICK = [*SMALL, "--task", "regression", "--target", "age", "--max_epochs", "6", "--enable_progress_bar", "false"]


def age(number):
    return number / 2 + 3


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Plain images that are the brighter, the older; and their table."""
    root = tmp_path_factory.mktemp("people")
    for number in range(COUNT):
        save(root / f"{number % 3}" / f"{number}.png", (5 * number, 255 - 5 * number, 3 * number))
    rows = [f"{number % 3}/{number};{age(number):.1f};f".replace(".", ",") for number in range(COUNT)]
    (root / "ages.csv").write_text("\n".join(["file;age;sex", *rows]))
    return root


def of(people):
    return ["--data_dir", str(people), "--labels", str(people / "ages.csv")]


def train(folder, *flags):
    cli(own_images.main, own_images.RECIPES, [*QUICK, *flags, "--run_dir", str(folder)])
    (run,) = folder.glob("own_images/*")
    return run, json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), *of(people))


def ready(people, **options):
    data = ImageNumbers(str(people), **{"labels": "ages.csv", "image_size": 16, "target": "age", **options})
    data.prepare_data()
    data.setup()
    return data


@torch.no_grad()
def said_by(run, images):
    (path,) = run.glob("checkpoints/best.ckpt")
    model = ImageRegressor.load_from_checkpoint(path, map_location="cpu").eval()
    return model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()


def by_scikit_learn(true, predicted):
    return {
        "rmse": root_mean_squared_error(true, predicted),
        "mae": mean_absolute_error(true, predicted),
        "r2": r2_score(true, predicted),
    }


def test_each_image_has_its_number_in_every_split(people):
    data = ready(people)
    for images, targets in ((data.arrays.train_images, data.arrays.train_labels), data.arrays[2:]):
        assert targets.tolist() == [age(red / 5) for red in images[:, 0, 0, 0].tolist()]
    assert len(data.arrays.test_labels) == 4  # a tenth of 43
    assert len(data.val_indices) == 4
    training = data.train_labels
    assert data.target_mean_std() == pytest.approx((training.mean(), training.std()))
    (images, ages), *_ = data.test_dataloader()
    assert ages.tolist() == data.arrays.test_labels.tolist()
    assert images.shape == (4, 3, 16, 16)
    text = f"'age': {training.min():g} to {training.max():g}, mean {training.mean():.4g}, standard deviation"
    assert text in data.describe()


def test_arrays_on_disk_serve_every_column_of_the_table(people, tmp_path):
    (tmp_path / "other.csv").write_text("file,weight\n" + "\n".join(f"{n % 3}/{n}.png,{n}" for n in range(COUNT)))
    other = ready(people, labels=str(tmp_path / "other.csv"), target="")
    assert other.folder == ready(people).folder
    assert other.target == "weight"
    assert other.arrays.train_labels.tolist() == [red / 5 for red in other.arrays.train_images[:, 0, 0, 0].tolist()]


def test_figures_are_scikit_learns(people, trained):
    run, metrics = trained
    arrays, data = ready(people).arrays, ready(people)
    figures = by_scikit_learn(arrays.test_labels, said_by(run, arrays.test_images))
    assert {name: metrics[f"test/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    rows = data.val_indices
    figures = by_scikit_learn(arrays.train_labels[rows], said_by(run, arrays.train_images[rows]))
    assert {name: metrics[f"val/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    assert metrics["test/r2"] > 0.5
    assert (run / "figures" / "predicted.png").exists()


def test_names_in_checkpoints_lead_to_their_data():
    known = data_by_name(ImageData)
    assert known["own_images"] is ImageFolder
    assert known["image_numbers"] is ImageNumbers


def test_evaluation_has_the_figures_of_the_run(trained):
    run, metrics = trained
    again = cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    assert again == {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


@pytest.mark.slow
def test_two_processes_say_what_one_did(trained):
    run, metrics = trained
    command = [sys.executable, "experiments/evaluate.py", str(run), "--accelerator", "cpu", "--devices", "2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    for stage in ("val", "test"):
        figures = [metrics[f"{stage}/{name}"] for name in ("loss", "rmse", "mae", "r2")]
        assert f"{stage:<10}" + "".join(f"{figure:>10.4f}" for figure in figures) in said.splitlines()
    assert "4 test samples" in said


def test_predictions_are_those_of_the_network(people, trained, tmp_path, capsys):
    run, _ = trained
    cli(predict.main, None, [str(run), str(people / "1"), "--output", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(Path(row["file"]).stem) for row in rows]
    assert sorted(numbers) == [*range(1, COUNT, 3)]
    images = np.array([np.full((16, 16, 3), (5 * n, 255 - 5 * n, 3 * n), np.uint8) for n in numbers])
    assert [float(row["age"]) for row in rows] == pytest.approx(said_by(run, images), abs=2e-6)
    assert (tmp_path / "p.png").exists()
    out = capsys.readouterr().out
    assert "age from " in out
    assert f"{len(rows)} predictions by softmax" in out


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0.9953, 0.9953),
        (1234.5678912, 1234.567891),
        (1.7e9, 1.7e9),
        (1e-7 / 3, 3.333333e-8),
        (0, 0),
        (-2 / 3, -0.6666667),
    ],
)
def test_small_numbers_keep_seven_digits_and_large_ones_six_decimals(value, kept):
    assert rounded(value) == kept
    assert rounded(np.float32(0.9953)) == 0.9953  # which is 0.99529999 as float64
    assert rounded_each(np.array([[value, 1 / 3]])).tolist() == [[kept, 0.3333333]]


def test_folds_are_those_of_scikit_learn_and_their_mean_predicts(people, tmp_path):
    flags = ["--folds", "2", "--jobs", "1", "--val_size", "0", "--max_epochs", "2", "--pictures", "false"]
    run, metrics = train(tmp_path, *of(people), *flags)
    arrays = ready(people).arrays
    held = np.zeros(len(arrays.train_labels))
    for number, (_, rows) in enumerate(KFold(2, shuffle=True, random_state=0).split(held)):
        its = pd.DataFrame(np.load(run / f"fold{number}" / "predictions.npz")["rows"])[0]
        assert its.tolist() == rows.tolist()
        (path,) = (run / f"fold{number}" / "checkpoints").glob("last.ckpt")
        model = ImageRegressor.load_from_checkpoint(path, map_location="cpu").eval()
        pixels = torch.from_numpy(arrays.train_images[rows]).permute(0, 3, 1, 2) / 255
        held[rows] = model(pixels).detach().numpy()
    figures = by_scikit_learn(arrays.train_labels, held)
    assert {name: metrics[f"cv/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    out = pd.read_csv(run / "out_of_fold.csv")
    assert out["age"].tolist() == arrays.train_labels.tolist()
    assert out["predicted"].tolist() == pytest.approx(held, abs=2e-6)
    assert metrics["test/samples"] == len(arrays.test_labels)


def test_interrupted_run_ends_as_if_it_had_not_been(people, trained, tmp_path):
    run, _ = train(tmp_path, *of(people), "--max_epochs", "3", "--lr_epochs", "6", "--pictures", "false")
    cli(own_images.main, own_images.RECIPES, ["--resume", str(run), "--max_epochs", "6"])
    again = json.loads((run / "metrics.json").read_text())
    assert {name: again[name] for name in trained[1] if name.startswith("val/")} == pytest.approx(
        {name: value for name, value in trained[1].items() if name.startswith("val/")}
    )


def test_number_of_a_sample_scene_is_its_covered_share(monkeypatch):
    monkeypatch.setattr(image_targets, "scenes", partial(scenes, 20, 8))
    data = ImageNumbers(sample=True)
    data.prepare_data()
    data.setup()
    masks = scenes(20, 8).test_labels
    assert data.arrays.test_labels[7] == pytest.approx(100 * np.count_nonzero(masks[7]) / 48**2)


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        (["file,age", "0/0,1", "1/1,old"], [], "ages.csv, line 3, column 'age': 'old' is not a number"),
        (["file,age", "0/0,1", "1/1,"], [], "line 3, column 'age': '' is missing; each image needs a number"),
        (["file,age", "0/0,2", "1/1,2"], [], "column 'age': always '2'; nothing to learn"),
        (["file,age", "0/0,1", "0/0,2"], [], "line 3: 0/0.png has another label in an earlier line"),
        (["file,aged", "0/0,1", "1/1,2"], [], "column 'age' is missing; is it column 2, 'aged'?"),
        (["file,age", "0/0,1", "9/9,2"], [], "names files that are not in"),
        (["file,age", "0/0,1", "1/1,2"], ["--mixup", "0.2"], "--mixup 0.2: is for classes, and --task regression"),
        (["file,age", "0/0,1", "1/1,2"], ["--test_flip"], "--test_flip True: is for classes, and --task regression"),
        (["file,age", "0/0,1", "1/1,2"], ["--loss", "ce"], "loss 'ce': no such loss; "),
        (["file,age", "0/0,1", "1/1,2"], ["--task", "regresion"], "task 'regresion': no such task; did you mean regr"),
        (["file,age", "0/0,1", "1/1,2"], ["--labels", ""], "target age: is a column of --labels FILE.csv"),
    ],
)
def test_mistake_is_one_line(people, refusal, tmp_path, rows, flags, said):
    table = tmp_path / "ages.csv"
    table.write_text("\n".join(rows) + "\n")
    line = refusal(
        own_images.main, *QUICK, "--data_dir", str(people), "--labels", str(table), *flags, recipes=own_images.RECIPES
    )
    assert said in line, line


@pytest.mark.parametrize(("format", "suffix", "tolerance"), [("onnx", ".onnx", 1e-4), ("small", ".small.ckpt", 1e-2)])
def test_exported_network_gives_the_numbers(trained, people, tmp_path, format, suffix, tolerance):
    run, _ = trained
    target = tmp_path / f"ages{suffix}"
    cli(export.main, None, [str(run), "--format", format, "--output", str(target), "--images", "20"])
    paths = [people / "0" / "0.png", people / "2" / "5.png"]
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((16, 16))) for path in paths])  # plain colours
    model = ImageRegressor.load_from_checkpoint(run / "checkpoints" / "best.ckpt", map_location="cpu").eval()
    with torch.no_grad():
        wanted = model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
    if format == "onnx":
        (numbers,) = onnxruntime.InferenceSession(target).run(None, {"images": images})
    else:
        small = ImageRegressor.load_from_checkpoint(target, map_location="cpu").eval()
        numbers = small(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).detach().numpy()
    assert numbers == pytest.approx(wanted, rel=tolerance)
    assert abs(wanted[0] - wanted[1]) > 0.5  # they are not all alike


def test_recipe_with_what_is_for_classes_serves_numbers_too(people, tmp_path):
    quick = ["--task", "regression", "--target", "age", "--image_size", "16", "--max_epochs", "2"]
    plain = ["--precision", "32-true", "--accelerator", "cpu", "--enable_progress_bar", "false"]
    assert own_images.RECIPES["speednet"].test_flip
    flags = ["--net", "speednet", *quick, *plain, *of(people), "--run_dir", str(tmp_path)]
    cli(own_images.main, own_images.RECIPES, flags)
    assert len(list(tmp_path.glob("own_images/*/metrics.json"))) == 1


def test_no_table_is_one_line(people, refusal):
    flags = [*SMALL, "--task", "regression", "--data_dir", str(people)]
    line = refusal(own_images.main, *flags, recipes=own_images.RECIPES)
    assert "task regression: needs --labels FILE.csv, which has a number for each image" in line


def test_what_is_for_classes_is_refused_of_numbers(people, trained, refusal):
    run, _ = trained
    assert "shows what speaks for a class" in refusal(predict.main, str(run), str(people / "1"), "--explain")
    assert "which mnist is not for" in refusal(evaluate.main, str(run), "--data", "mnist", "--sample", "true")
