"""Several labels at once: figures and losses are scikit-learn's and torch's, for images from any form of table."""

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photos import save
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_score,
    recall_score,
)
from sklearn.model_selection import KFold
from torch.nn.functional import binary_cross_entropy

from basics.errors import InputError
from datamodules import image_targets
from datamodules.image_targets import ImageTags
from datamodules.scenes import CLASSES, scenes
from experiments import evaluate, own_images, predict
from harness.command_line.cli import cli
from lit_modules.image_tagger import ImageTagger
from lit_modules.label_scores import by_label, label_scores
from lit_modules.label_stages import bce, chance_level, focal
from lit_modules.row_tagger import RowTagger

ROOT = Path(__file__).parents[1]
COUNT = 43
SMALL = ["--net", "softmax", "--image_size", "16", "--lr", "0.05", "--batch_size", "8", "--accelerator", "cpu"]
QUICK = [*SMALL, "--task", "multilabel", "--max_epochs", "6", "--enable_progress_bar", "false"]


def by_scikit_learn(probabilities, hits):
    said, there = probabilities >= 0.5, hits.any(0)
    options = dict(zero_division=0)
    return {
        "map": average_precision_score(hits[:, there], probabilities[:, there], average="macro"),
        "macro_f1": f1_score(hits[:, there], said[:, there], average="macro", **options),
        "micro_f1": f1_score(hits, said, average="micro", **options),
        "subset_acc": accuracy_score(hits, said),
        "hamming": hamming_loss(hits, said),
    }


def drawn(count=200, labels=5, absent=2):
    """Probabilities with many equal ones, and labels that go with them; one of them no sample has."""
    rng = np.random.default_rng(0)
    hits = rng.random((count, labels)) < [0.5, 0.1, 0.3, 0.9, 0.2]
    hits[:, absent] = False
    return np.round(np.clip(0.3 * hits + rng.random((count, labels)) * 0.7, 0, 1), 1), hits


def test_figures_are_those_of_scikit_learn():
    probabilities, hits = drawn()
    scores = label_scores(torch.from_numpy(probabilities), torch.from_numpy(hits))
    assert scores == pytest.approx(by_scikit_learn(probabilities, hits), rel=1e-9)
    rows = by_label(torch.from_numpy(probabilities), torch.from_numpy(hits), "abcde")
    for number, name in enumerate("abcde"):
        true, said = hits[:, number], probabilities[:, number] >= 0.5
        figures = {"recall": recall_score, "precision": precision_score, "f1": f1_score}
        wanted = {figure: score(true, said, zero_division=0) for figure, score in figures.items()}
        wanted |= {"ap": average_precision_score(true, probabilities[:, number]) if true.any() else 0}
        assert rows[name] == pytest.approx({**wanted, "count": true.sum()}, abs=1e-6)


def test_losses_are_binary_cross_entropy_and_its_focal_form():
    logits, targets = torch.randn(6, 3, dtype=torch.float64), torch.randint(2, (6, 3)).double()
    probabilities = logits.sigmoid()
    entropy = binary_cross_entropy(probabilities, targets, reduction="none")
    true = torch.where(targets > 0, probabilities, 1 - probabilities)
    assert torch.allclose(bce(logits, targets), entropy)
    assert torch.allclose(focal(logits, targets), (1 - true) ** 2 * -true.log())
    assert chance_level("bce")[0] == pytest.approx(np.log(2))
    assert chance_level("focal")[0] == pytest.approx(np.log(2) / 4)


def test_members_of_an_ensemble_predict_their_mean_probability():
    model = RowTagger("tabm", (4,), ["a", "b", "c"], net_args={"size": 3, "widths": [8]}).eval()
    rows = torch.randn(5, 4)
    with torch.no_grad():
        members = model.net(rows, each=True)  # (5, 3 members, 3 labels)
        assert members.std(1).min() > 0
        assert torch.allclose(model.predicted(model(rows)), members.sigmoid().mean(1), atol=1e-6)


# Tables and images.


def has(number):
    """Red and green images, those that are both, and black ones."""
    return number % 2 == 1, number % 3 == 1


def colour(number):
    red, green = has(number)
    return 60 + 150 * red, 60 + 150 * green, 3 * number


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Plain images with some red, some green, or both; their labels in columns of 0 and 1."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        save(root / f"{number}.png", colour(number))
    rows = [f"{number},{int(has(number)[0])},{'yes' if has(number)[1] else 'no'}" for number in range(COUNT)]
    (root / "labels.csv").write_text("\n".join(["file,red,green", *rows]))
    return root


def names_of(number):
    return [name for name, there in zip(("red", "green"), has(number), strict=True) if there]


def ready(pictures, **options):
    data = ImageTags(str(pictures), **{"labels": "labels.csv", "image_size": 16, **options})
    data.prepare_data()
    data.setup()
    return data


FORMS = {
    "columns": lambda n: [f"{n}.png,{int(has(n)[0])},{int(has(n)[1])},{n}"],
    "semicolons": lambda n: [f"{n}.png,{' ; '.join(names_of(n))}"],
    "bars": lambda n: [f"{n}.png,{'|'.join(names_of(n))}"],
    "rows": lambda n: [f"{n}.png,{name}" for name in names_of(n) or [""]],
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_read_from_any_form_of_table(pictures, tmp_path, form):
    header = "file,red,green,size" if form == "columns" else "file,tags"
    rows = [row for number in range(COUNT) for row in FORMS[form](number)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
    data = ready(pictures, labels=str(tmp_path / "t.csv"), target="red,green" if form == "columns" else "")
    assert set(data.classes) == {"red", "green"}
    order = [data.classes.index(name) for name in ("red", "green")]
    for images, targets in ((data.arrays.train_images, data.arrays.train_labels), data.arrays[2:]):
        assert targets[:, order].tolist() == (images[:, 0, 0, :2] > 100).tolist()
    said = {"columns": "labels are the 2 columns red, green, of 0 and 1", "bars": "'|' between, in column 'tags'"}
    assert said.get(form, "';' between, in column 'tags'") in data.describe()


def test_shapes_of_a_sample_scene_are_those_of_its_mask(monkeypatch):
    monkeypatch.setattr(image_targets, "scenes", partial(scenes, 20, 8))
    data = ImageTags(sample=True)
    data.prepare_data()
    data.setup()
    masks = scenes(20, 8).test_labels
    assert data.classes == CLASSES[1:]
    for mask, row in zip(masks, data.arrays.test_labels, strict=True):
        assert {name for name, there in zip(data.classes, row, strict=True) if there} == {
            CLASSES[number] for number in np.unique(mask) if number
        }


def train(pictures, folder, *flags):
    of = ["--data_dir", str(pictures), "--labels", str(pictures / "labels.csv"), "--run_dir", str(folder)]
    cli(own_images.main, own_images.RECIPES, [*QUICK, *of, *flags])
    (run,) = folder.glob("own_images/*")
    return run, json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    return train(pictures, tmp_path_factory.mktemp("runs"), "--val_size", "9", "--monitor", "val/map")


@torch.no_grad()
def said_by(run, images):
    (path,) = run.glob("checkpoints/best.ckpt")
    model = ImageTagger.load_from_checkpoint(path, map_location="cpu").eval()
    return model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).double().sigmoid().numpy()


def test_figures_of_a_run_are_scikit_learns(pictures, trained):
    run, metrics = trained
    data = ready(pictures, val_size=9)
    arrays, rows = data.arrays, data.val_indices
    for stage, images, targets in (
        ("test", arrays.test_images, arrays.test_labels),
        ("val", arrays.train_images[rows], arrays.train_labels[rows]),
    ):
        said = said_by(run, images)
        figures = by_scikit_learn(said, targets > 0)
        figures["loss"] = binary_cross_entropy(torch.from_numpy(said), torch.from_numpy(targets).double()).item()
        assert {name: metrics[f"{stage}/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    assert metrics["val/map"] > 0.9
    assert set(metrics["by_label"]) == {"red", "green"}
    assert (run / "figures" / "by_label.png").exists()
    again = cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    assert again == {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


def test_columns_in_another_order_are_not_taken_for_the_same_labels(trained, pictures, refusal):
    (run, _), table = trained, pictures / "labels.csv"
    before = table.read_text()
    pd.read_csv(table)[["file", "green", "red"]].to_csv(table, index=False)
    try:
        assert "says red where image_tags has green" in refusal(evaluate.main, str(run), "--accelerator", "cpu")
    finally:
        table.write_text(before)


@pytest.mark.slow
def test_two_processes_say_what_one_did(trained):
    run, metrics = trained
    command = [sys.executable, "experiments/evaluate.py", str(run), "--accelerator", "cpu", "--devices", "2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    for stage in ("val", "test"):
        names = {"loss": 10, "map": 10, "macro_f1": 10, "micro_f1": 10, "subset_acc": 12, "hamming": 10}
        cells = [f"{metrics[f'{stage}/{name}']:>{width}.4f}" for name, width in names.items()]
        line = next(line for line in said.splitlines() if line.startswith(f"{stage} "))
        assert line.split() == [stage, *"".join(cells).split()]


def test_predictions_have_a_probability_for_each_label(pictures, trained, tmp_path, capsys):
    run, _ = trained
    files = [str(pictures / f"{number}.png") for number in range(7)]
    cli(predict.main, None, [str(run), *files, "--output", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = np.stack([np.full((16, 16, 3), colour(number), np.uint8) for number in range(7)])
    said = said_by(run, images)
    assert np.array([[float(row[f"p({name})"]) for name in ("red", "green")] for row in rows]) == pytest.approx(
        said, abs=2e-6
    )
    assert [row["labels"] for row in rows] == [
        ";".join(name for name, share in zip(("red", "green"), row, strict=True) if share >= 0.5) for row in said
    ]
    assert (tmp_path / "p.png").exists()
    assert "7 predictions by softmax" in capsys.readouterr().out


def test_folds_are_those_of_scikit_learn_and_their_mean_predicts(pictures, tmp_path):
    flags = ["--folds", "2", "--jobs", "1", "--val_size", "0", "--max_epochs", "3", "--pictures", "false"]
    run, metrics = train(pictures, tmp_path / "runs", *flags)
    out, arrays = pd.read_csv(run / "out_of_fold.csv"), ready(pictures).arrays
    assert out[["red", "green"]].to_numpy().tolist() == arrays.train_labels.tolist()
    figures = by_scikit_learn(out[["p(red)", "p(green)"]].to_numpy(), arrays.train_labels > 0)
    assert {name: metrics[f"cv/{name}"] for name in figures} == pytest.approx(figures, abs=2e-6)
    held = [np.load(run / f"fold{number}" / "predictions.npz")["rows"].tolist() for number in range(2)]
    assert held == [rows.tolist() for _, rows in KFold(2, shuffle=True, random_state=0).split(out)]
    cli(predict.main, None, [str(run), str(pictures / "1.png"), "--output", str(tmp_path / "p.csv")])
    pixels = torch.full((1, 3, 16, 16), 0.0) + torch.tensor(colour(1)).view(3, 1, 1) / 255
    shares = []
    for path in run.glob("fold*/checkpoints/last.ckpt"):
        model = ImageTagger.load_from_checkpoint(path, map_location="cpu").eval()
        shares.append(model(pixels).sigmoid().detach().numpy()[0])
    (row,) = pd.read_csv(tmp_path / "p.csv")[["p(red)", "p(green)"]].to_numpy()
    assert row == pytest.approx(np.mean(shares, axis=0), abs=2e-6)


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        (["file,a,b", "0,1,0", "1,2,1"], [], "line 3, column 'a': '2' is neither 0 nor 1; --target a,b,c names the"),
        (["file,a,b", "0,1,0", "1,,1"], [], "line 3, column 'a': '' is neither 0 nor 1"),
        (["file,a", "0,1", "1,0"], [], "column 'a': 0 and 1 are a single label, which --task classification tells"),
        (["file,tags", "0,x", "1,x"], [], "column 'tags': several labels need two or more names, found x"),
        (["file,tags", "0,x;y", "1,y|z"], [], "both ';' and '|' stand between labels: 'x;y', 'y|z'"),
        (["file,a,b", "0,1,0", "1,0,1"], ["--target", "a,c"], "column 'c' is missing"),
        (["file,a,b", "0,1,0", "0,0,1"], [], "line 3: 0.png has another label in an earlier line"),
        (["file,a,b", "0,1,0", "1,0,1"], ["--metrics", "macro_f1"], "metrics macro_f1: is for classes"),
        (["file,a,b", "0,1,0", "1,0,1"], ["--class_weights", "balanced"], "--class_weights balanced: is for classes"),
    ],
)
def test_mistake_is_one_line(pictures, refusal, tmp_path, rows, flags, said):
    more = [f"{number},0,0" for number in range(2, 12)] if "--metrics" in flags else []  # enough for three splits
    (tmp_path / "t.csv").write_text("\n".join([*rows, *more]))
    of = ["--data_dir", str(pictures), "--labels", str(tmp_path / "t.csv")]
    line = refusal(own_images.main, *QUICK, *of, *flags, recipes=own_images.RECIPES)
    assert said in line, line


def test_single_label_is_refused_by_the_modules():
    with pytest.raises(InputError, match="must be two or more names"):
        ImageTagger("softmax", (3, 16, 16), ["a"])
