"""Folds of images: figures, files and predictions are those of a loop with scikit-learn's splitter."""

import json
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from photos import save
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from datamodules import MNIST, ImageFolder, samples
from datamodules.groups import groups_of_files
from datamodules.image_targets import ImageNumbers
from datamodules.table_splits import Fold
from experiments import mnist, own_images, predict
from harness.command_line.cli import cli
from harness.tasks import classification, fold_report, image_evidence
from harness.tasks.image_folds import ImageFolds
from lit_modules import Classifier
from lit_modules.evidence import evidence

QUICK = [
    *("--sample", "--net", "softmax", "--accelerator", "cpu", "--enable_progress_bar", "false", "--pictures", "false"),
    *("--max_epochs", "2", "--batch_size", "100", "--val_size", "0", "--seed", "3"),
]
SPLITTER = StratifiedKFold(3, shuffle=True, random_state=4)
DIGITS = samples.digits()


@pytest.fixture(scope="module")
def cross_validated(tmp_path_factory):
    """The run of three folds, its metrics and its printed lines."""
    folder = tmp_path_factory.mktemp("folds")
    cli(
        mnist.main, mnist.RECIPES, [*QUICK, "--folds", "3", "--fold_seed", "4", "--jobs", "1", "--run_dir", str(folder)]
    )
    (run,) = folder.glob("mnist/*")
    return run, json.loads((run / "metrics.json").read_text())


def killed(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def test_run_whose_process_is_killed_stays_with_its_logs(tmp_path, monkeypatch, refusal):
    monkeypatch.setattr(classification, "_train_fold", killed)
    flags = [*QUICK, "--folds", "2", "--jobs", "2", "--run_dir", str(tmp_path)]
    assert "was killed" in refusal(mnist.main, *flags, recipes=mnist.RECIPES)
    (run,) = tmp_path.glob("mnist/*")
    assert (run / "config.yaml").exists()


@torch.no_grad()
def said_by(run, images):
    model = Classifier.load_from_checkpoint(run / "checkpoints" / "last.ckpt", map_location="cpu").eval()
    return model(torch.from_numpy(images).unsqueeze(1) / 255).double().softmax(1).numpy()


@pytest.fixture(scope="module")
def by_loop(tmp_path_factory):
    """For each of scikit-learn's splits the held-out images, and a run that was trained as if there were no such."""
    runs = []
    for number, (training, held) in enumerate(SPLITTER.split(DIGITS.train_images, DIGITS.train_labels)):
        its = [part[rows] for rows in (training, held) for part in (DIGITS.train_images, DIGITS.train_labels)]
        folder = tmp_path_factory.mktemp(f"alone{number}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MNIST, "make_sample", staticmethod(lambda its=its: samples.ImageArrays(*its)))
            cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder)])
        runs.append((held, next(folder.glob("mnist/*"))))
    return runs


def test_each_fold_is_a_training_without_its_held_out_images(cross_validated, by_loop):
    run, metrics = cross_validated
    for number, (_, alone) in enumerate(by_loop):
        own, wanted = (json.loads((its / "metrics.json").read_text()) for its in (run / f"fold{number}", alone))
        assert {name: own[name] for name in own if name.startswith("test/")} == pytest.approx(
            {name: wanted[name] for name in wanted if name.startswith("test/")}, abs=2e-6
        )
    assert metrics["folds"] == 3


def test_out_of_fold_figures_and_file_are_those_of_the_loop(cross_validated, by_loop):
    run, metrics = cross_validated
    pooled = np.zeros((len(DIGITS.train_labels), 10))
    for held, alone in by_loop:
        pooled[held] = said_by(alone, DIGITS.train_images[held])
    wanted = {
        "log_loss": log_loss(DIGITS.train_labels, pooled),
        "acc": accuracy_score(DIGITS.train_labels, pooled.argmax(1)),
        "balanced_acc": balanced_accuracy_score(DIGITS.train_labels, pooled.argmax(1)),
    }
    assert {name: metrics[f"cv/{name}"] for name in wanted} == pytest.approx(wanted, abs=2e-6)
    by_fold = [accuracy_score(DIGITS.train_labels[held], pooled[held].argmax(1)) for held, _ in by_loop]
    assert metrics["cv/fold_acc"] == pytest.approx(by_fold, abs=2e-6)
    file = pd.read_csv(run / "out_of_fold.csv")
    assert file["image"].tolist() == list(range(len(pooled)))
    assert file["label"].tolist() == DIGITS.train_labels.tolist()
    np.testing.assert_allclose(file[[f"p({digit})" for digit in range(10)]], pooled, rtol=1e-5, atol=1e-9)


def test_mean_of_the_models_is_tested_on_the_test_files(cross_validated, by_loop):
    _, metrics = cross_validated
    mean = np.mean([said_by(alone, DIGITS.test_images) for _, alone in by_loop], axis=0)
    assert metrics["test/samples"] == len(DIGITS.test_labels)
    assert metrics["test/acc"] == pytest.approx(accuracy_score(DIGITS.test_labels, mean.argmax(1)), abs=2e-6)
    assert metrics["test/log_loss"] == pytest.approx(log_loss(DIGITS.test_labels, mean), abs=2e-6)


def test_mean_of_the_models_predicts_files(cross_validated, tmp_path):
    run, _ = cross_validated
    for number in range(3):
        Image.fromarray(DIGITS.test_images[number]).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    said = []
    for name in ("", "fold0", "fold1", "fold2"):
        table = tmp_path / f"said{name}.csv"
        cli(predict.main, None, [str(run / name), *files, "--output", str(table)])
        said.append(pd.read_csv(table)[[f"p({digit})" for digit in range(10)]].to_numpy())
    np.testing.assert_allclose(said[0], np.mean(said[1:], axis=0), atol=2e-6)


def test_explanation_by_folds_is_the_mean_of_their_maps(tmp_path, monkeypatch):
    flags = [*QUICK, "--net", "lenet5", "--max_epochs", "1", "--folds", "2", "--jobs", "1"]
    cli(mnist.main, mnist.RECIPES, [*flags, "--run_dir", str(tmp_path)])
    (run,), drawn = tmp_path.glob("mnist/*"), []
    draw = image_evidence.draw_evidence
    monkeypatch.setattr(image_evidence, "draw_evidence", lambda *its: drawn.append(its) or draw(*its))
    for number in range(3):
        Image.fromarray(DIGITS.test_images[number]).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    cli(predict.main, None, [str(run), *files, "--centred", "no", "--explain", "--output", str(tmp_path / "said.csv")])
    ((images, found, captions),) = drawn
    np.testing.assert_allclose(images[:, 0].numpy(), DIGITS.test_images[:3] / 255, atol=1e-6)
    labels = torch.from_numpy(pd.read_csv(tmp_path / "said.csv").label.to_numpy())
    assert [caption[0][0].split(",")[0] for caption in captions] == [str(label) for label in labels.tolist()]
    models = [Classifier.load_from_checkpoint(run / f"fold{fold}" / "checkpoints" / "last.ckpt") for fold in range(2)]
    by_fold = [evidence(model.cpu().eval(), images, labels) for model in models]
    for maps, its in zip(found, zip(*by_fold, strict=True), strict=True):
        torch.testing.assert_close(maps, sum(its) / 2)
        assert not torch.equal(its[0], its[1])
    assert Image.open(tmp_path / "said_why.png").width == 960


def of_fold(number, val_size=0.1, arrays=DIGITS):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MNIST, "make_sample", staticmethod(lambda: arrays))
        data = MNIST(sample=True, seed=1, val_size=val_size, fold=Fold(number, 3, 4))
        data.setup()
    return data


def test_folds_have_their_share_of_each_class_and_each_image_once():
    folds = [of_fold(number) for number in range(3)]
    counts = np.array([np.bincount(DIGITS.train_labels[data.test_indices], minlength=10) for data in folds])
    assert (counts.max(0) - counts.min(0)).max() <= 1
    assert sorted(np.concatenate([data.test_indices for data in folds])) == list(range(len(DIGITS.train_labels)))
    for data in folds:
        parts = [data.test_indices, data.val_indices, data.train_indices]
        assert sorted(np.concatenate(parts)) == list(range(len(DIGITS.train_labels)))
        labels = torch.cat([labels for _, labels in data.test_dataloader()])
        assert labels.tolist() == DIGITS.train_labels[data.test_indices].tolist()


def test_held_out_images_leave_what_is_fitted_as_it_is():
    before, images = of_fold(1), DIGITS.train_images.copy()
    images[before.test_indices] = 255 - images[before.test_indices]
    after = of_fold(1, arrays=DIGITS._replace(train_images=images))
    assert (after.mean, after.std) == (before.mean, before.std)
    assert of_fold(2, arrays=DIGITS._replace(train_images=images)).mean != of_fold(2).mean
    for one, other in zip(before.train_dataloader(), after.train_dataloader(), strict=True):
        assert torch.equal(one[0], other[0])


NAMES = [
    f"{split}/{label}/{who}_{number}.png"
    for split in ("train", "val")
    for label in "ab"
    for who in ("ann", "bob", "cy", "dee")
    for number in range(2)
]


def test_groups_by_prefix_and_by_folder():
    prefixes = groups_of_files("prefix", NAMES, "ab")
    assert prefixes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 4
    files = ["train/a/x/1.png", "train/b/x/2.png", "train/a/1.png", "train/a/2.png", "train/a/y/z/1.png"]
    numbers = groups_of_files("folder", files, "ab").tolist()
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 4
    assert groups_of_files("prefix", ["_x1.jpg", "_y2.jpg", "x1_2.jpg"], "ab").tolist() == [0, 1, 0]


def test_figures_of_folds_of_images_speak_of_images():
    data = ImageNumbers(sample=True, fold=Fold(0, 2))
    data.setup()
    folds = ImageFolds(data)
    figures = fold_report._draw(folds, folds.targets + np.random.default_rng(0).normal(size=len(folds.targets)))
    said = f"{len(folds.targets):,} images, none seen by its model"
    assert figures["residuals"].axes[0].get_title() == said
    assert figures["predicted"].axes[0].get_title().endswith(said)


def test_folders_within_the_folder_of_a_group_are_of_the_group():
    files = ["train/ant/anna/day1/1.jpg", "train/ant/anna/day2/2.jpg", "train/bee/bob/day1/3.jpg"]
    assert groups_of_files("folder", files, ("ant", "bee")).tolist() == [0, 0, 1]


def test_groups_of_a_table_of_labels_are_its_folders_and_images_beside_them_are_alone():
    files = ["1.jpg", "2.jpg", "v/3.jpg", "v/4.jpg", "w/v/5.jpg"]
    assert groups_of_files("folder", files, ("ant", "bee")).tolist() == [0, 1, 2, 2, 3]


def test_folds_of_groups_are_those_of_scikit_learn_and_part_no_group(tmp_path):
    for place, name in enumerate([*NAMES, "test/a/eve_1.png", "test/b/eve_2.png"]):
        save(tmp_path / name, (place, 0, 255 - place))
    labels = np.array([int(name.split("/")[1] == "b") for name in NAMES])
    groups = groups_of_files("prefix", NAMES, "ab")
    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=5)
    for number, (_, held) in enumerate(splitter.split(labels, labels, groups)):
        data = ImageFolder(str(tmp_path), image_size=16, val_size=4, fold=Fold(number, 2, 5), group="prefix")
        data.prepare_data()
        data.setup()
        assert data.file_names == NAMES
        assert data.test_indices.tolist() == held.tolist()
        parts = [set(groups[rows]) for rows in (data.train_indices, data.val_indices, data.test_indices)]
        assert sum(map(len, parts)) == 4
        assert all(parts)


@pytest.mark.parametrize(
    ("script", "flags", "named"),
    [
        (mnist, ["--folds", "1"], "folds 1: must be at least 2"),
        (mnist, ["--folds", "999"], "999 folds need a class of as many; the largest has"),
        (mnist, ["--folds", "2", "--refit"], "--refit"),
        (mnist, ["--group", "prefix"], "--group prefix: these images have no files of their own"),
        (own_images, ["--group", "prefx"], "did you mean prefix"),
    ],
)
def test_mistake_is_one_line(refusal, script, flags, named):
    assert named in refusal(script.main, "--sample", "--accelerator", "cpu", *flags, recipes=script.RECIPES)


@pytest.mark.parametrize("tram", ["tram", "train"])
def test_class_may_be_called_like_the_folder_of_a_split(tram):
    files = ["train/bus/anna/1.jpg", "train/bus/bert/2.jpg", f"train/{tram}/anna/1.jpg", f"train/{tram}/carl/3.jpg"]
    assert groups_of_files("folder", files, ("bus", tram)).tolist() == [0, 1, 0, 2]
    assert groups_of_files("folder", [file.removeprefix("train/") for file in files], ("bus", tram)).tolist() == [
        *(0, 1, 0, 2)
    ]
