"""Folders and files of images as people have them, which none of the usual ones are like."""

import csv
import os
import shutil

import numpy as np
import pytest
import torch
from photos import photos, ready, save
from PIL import Image

from basics.errors import InputError
from datamodules.images import channel_mean_std
from datamodules.mask_files import read_classes
from experiments import evaluate, export, finetune, own_images, predict, robustness, segmentation
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.trained import load_data
from lit_modules.normalise import Normalise

QUICK = "--net softmax --max_epochs 1 --pictures false --accelerator cpu --enable_progress_bar false".split()
SMALL = [*QUICK, "--image_size", "16"]


def train(folder, *flags, script=own_images):
    usual = SMALL if script is own_images and "--sample" not in flags else QUICK
    cli(script.main, script.RECIPES, [*usual, "--run_dir", str(folder), *flags])
    (run,) = folder.glob("*/*")
    return run


def table(path, rows, columns=("file", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.mark.parametrize("names", [("Training", "Testing"), ("Train", "Test"), ("TRAIN", "test")])
def test_splits_in_capitals_and_as_nouns_are_no_classes(tmp_path, names):
    photos(tmp_path / "a", ant=20, bee=20)
    photos(tmp_path / "b", ant=4, bee=6)
    for name, other in zip(names, "ab", strict=True):
        (tmp_path / other / "train").rename(tmp_path / "a" / name)
    data = ready(tmp_path / "a")
    assert data.classes == ("ant", "bee")
    assert len(data.arrays.test_labels) == 10


def test_two_names_of_a_split_are_refused(tmp_path):
    photos(tmp_path, ant=2, bee=2)
    shutil.copytree(tmp_path / "train", tmp_path / "Training")
    with pytest.raises(InputError, match=r"Training/ and train/ would both be train/"):
        ready(tmp_path)


def test_channel_of_one_value_is_0_in_the_networks_input():
    red = np.zeros((40, 16, 16, 3), np.uint8)
    red[..., 0] = np.random.default_rng(0).integers(0, 256, red.shape[:3])
    red[..., 1] = 77  # whose variance by rounding is not 0
    mean, std = channel_mean_std(red, np.arange(40))
    assert std[0] == pytest.approx(red[..., 0].std() / 255) and std[1:] == [0, 0]
    images = torch.from_numpy(red).permute(0, 3, 1, 2) / 255
    normalised = Normalise(mean, std)(images)
    assert normalised[:, 0].std() == pytest.approx(1, rel=1e-3)
    assert normalised[:, 1:].abs().max() < 1e-6


def test_images_are_not_written_over(tmp_path, refusal):
    for number in range(12):
        save(tmp_path / "images" / f"{number}.png", (number, 0, 255 - number))
        save(tmp_path / "masks" / f"{number}.png", number % 2, mode="L")
    masks = ["--data_dir", str(tmp_path), "--image_size", "16", "--net", "fcn"]
    segmenter = train(tmp_path / "runs", *masks, script=segmentation)
    classifier = train(tmp_path / "others", "--data_dir", str(photos(tmp_path / "photos", ant=9, bee=9)))
    before = (tmp_path / "images" / "3.png").read_bytes()
    for run, output, said in (
        (segmenter, "images.csv", "images: the masks would be among the images"),
        (classifier, "images/3.csv", "3.png: is one of the images"),
    ):
        flags = [str(run), str(tmp_path / "images"), "--output", str(tmp_path / output)]
        assert said in refusal(predict.main, *flags, "--force")
        assert said in refusal(predict.main, *flags)  # and not that --force would help
    assert (tmp_path / "images" / "3.png").read_bytes() == before


def test_table_of_labels_is_that_of_the_folder_that_is_evaluated(tmp_path):
    names = [f"{number:02}.png" for number in range(20)]
    for folder, labels in (("old", "xy"), ("new", "yx")):
        for number, name in enumerate(names):
            save(tmp_path / folder / name, (255 * (number % 2), number, 0))
        table(tmp_path / folder / "labels.csv", [(name, labels[i % 2]) for i, name in enumerate(names)])
    old = tmp_path / "old"
    run = train(tmp_path / "runs", "--data_dir", str(old), "--labels", str(old / "labels.csv"), "--max_epochs", "15")
    figures = cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    assert figures["test/acc"] == 1
    others = cli(evaluate.main, None, [str(run), "--accelerator", "cpu", "--data_dir", str(tmp_path / "new")])
    assert others["test/acc"] == 0


def test_run_on_the_sample_is_measured_on_files_that_are_named(tmp_path, refusal):
    run = train(tmp_path / "runs", "--sample")
    for script in (evaluate, robustness):
        assert "no folder train/" in refusal(script.main, str(run), "--data_dir", str(tmp_path))


def test_other_data_do_not_go_to_the_folder_of_ones_own_images(tmp_path):
    run = train(tmp_path / "runs", "--data_dir", str(photos(tmp_path / "photos", ant=9, bee=9)))
    read = read_checkpoint(find_checkpoint(str(run)))
    assert str(load_data(read, "cifar10").data_dir) == "data"
    assert str(load_data(read).data_dir) == str(tmp_path / "photos")


def test_further_image_is_noticed_even_where_a_network_brings_its_normalisation(tmp_path, refusal, monkeypatch):
    run = train(tmp_path / "runs", "--data_dir", str(photos(tmp_path / "photos", ant=12, bee=12)))
    monkeypatch.setattr("harness.tasks.trained.own_normalisation", lambda net: ([0.5], [0.5]))  # as of timm's
    cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    save(tmp_path / "photos" / "train" / "ant" / "new.png", (1, 2, 3))
    assert "own_images has changed since the training" in refusal(evaluate.main, str(run), "--accelerator", "cpu")


def test_exchanged_test_images_are_noticed_when_folds_go_on(tmp_path, refusal):
    root = photos(tmp_path / "photos", ant=8, bee=8)
    shutil.copytree(root / "train", root / "test")
    run = train(tmp_path / "runs", "--data_dir", str(root), "--folds", "2", "--jobs", "1")
    (run / "metrics.json").unlink()
    (run / "fold1" / "predictions.npz").unlink()
    (root / "test" / "ant").rename(root / "test" / "x")
    (root / "test" / "bee").rename(root / "test" / "ant")
    (root / "test" / "x").rename(root / "test" / "bee")
    said = refusal(own_images.main, "--resume", str(run), recipes=own_images.RECIPES)
    assert "what no fold has, such as tests, has changed since" in said


def test_class_of_one_group_cannot_be_cross_validated(tmp_path, refusal):
    for number in range(4):
        save(tmp_path / "train" / "ant" / f"only_{number}.png", (number, 0, 0))
        save(tmp_path / "train" / "bee" / f"{'ab'[number % 2]}_{number}.png", (0, number, 0))
    for name in ("ant", "bee"):
        save(tmp_path / "test" / name / "test_1.png")
    flags = [*SMALL, "--data_dir", str(tmp_path), "--group", "prefix", "--folds", "2", "--val_size", "0"]
    assert "class 'ant', of 4 images, has none to train on" in refusal(
        own_images.main, *flags, recipes=own_images.RECIPES
    )


def test_group_in_training_and_in_given_validation_images_is_refused(tmp_path):
    for split, people in (("train", ("anna", "bob", "carl")), ("val", ("dora", "bob")), ("test", ("emil",))):
        for who in people:
            for label in ("ant", "bee"):
                save(tmp_path / split / label / f"{who}_{split}.png", (len(who), len(split), len(label)))
    with pytest.raises(InputError, match=r"--group prefix: train/ant/bob_train.png has its group among the validation"):
        ready(tmp_path, group="prefix")
    assert not len(ready(tmp_path, group="prefix", val_size=0).val_indices)
    for path in tmp_path.glob("val/*/bob_*"):
        path.unlink()
    data = ready(tmp_path, group="prefix")
    assert {data.file_names[row].split("/")[-1][:4] for row in data.val_indices} == {"dora"}


@pytest.mark.parametrize("options", [{}, {"val_size": 0}, {"fold": (0, 2)}])
@pytest.mark.parametrize("split", ["train", "val"])
def test_group_in_test_images_too_is_refused(tmp_path, split, options):
    people = {"train": ["anna", "bob", "carl"], "val": ["dora"], "test": ["emil"]}
    people["test"] += people[split][-1:]
    for folder, names in people.items():
        for who in names:
            save(tmp_path / folder / "ant" / who / f"{folder}.png")
            save(tmp_path / folder / "bee" / who / f"{folder}.png")
    said = rf"--group folder: {split}/ant/{people[split][-1]}/{split}.png has its group among the test images too"
    with pytest.raises(InputError, match=said):
        ready(tmp_path, group="folder", **options)


def test_folders_called_like_a_class_of_a_table_are_groups(tmp_path):
    rows = []
    for split, people in {"train": "abc", "val": "de", "test": "f"}.items():
        for place, name in enumerate(f"{who}/{number}.png" for who in people for number in range(2)):
            save(tmp_path / name, (place, 0, 0))
            rows.append((name, "ab"[place % 2], split))
    path = table(tmp_path / "table.csv", rows, ("file", "label", "split"))
    for number in range(5):
        data = ready(tmp_path, labels=str(path), group="folder", fold=(number, 5), val_size=0)
        held = {data.file_names[row][0] for row in data.test_indices}
        assert len(held) == 1 and held.isdisjoint(data.file_names[row][0] for row in data.train_indices)


@pytest.mark.parametrize("task", ["regression", "multilabel", "classification"])
def test_table_without_training_images_is_refused(tmp_path, refusal, task):
    target = {"regression": range(20), "multilabel": ["a;b", "b"] * 10, "classification": "xy" * 10}[task]
    for number in range(20):
        save(tmp_path / f"{number}.png", (number, 0, 0))
    rows = [(f"{number}.png", its, ("val", "test")[number % 2]) for number, its in enumerate(target)]
    path = table(tmp_path / "table.csv", rows, ("file", "label", "split"))
    flags = [*SMALL, "--data_dir", str(tmp_path), "--labels", str(path), "--task", task]
    assert "names no image for training" in refusal(own_images.main, *flags, recipes=own_images.RECIPES)


def test_table_whose_first_column_has_long_texts_names_no_files(tmp_path, refusal):
    path = table(
        tmp_path / "films.csv", [("a great film " * 30 + str(i), "xy"[i % 2]) for i in range(9)], ("text", "label")
    )
    save(tmp_path / "0.png", (0, 0, 0))
    flags = [*SMALL, "--data_dir", str(tmp_path), "--labels", str(path)]
    assert "films.csv" in refusal(own_images.main, *flags, recipes=own_images.RECIPES)


def test_class_whose_name_is_not_utf8_is_refused(tmp_path):
    photos(tmp_path, ant=2, bee=2)
    os.rename(tmp_path / "train" / "bee", os.fsencode(tmp_path / "train") + b"/caf\xe9")  # noqa: PTH104  bytes
    with pytest.raises(InputError, match=r"caf\\udce9: the name of this class is not UTF-8"):
        ready(tmp_path)


def test_classes_of_masks_may_be_named_in_windows_letters(tmp_path):
    (tmp_path / "classes.txt").write_bytes("Straße\r\nGebäude\r\n".encode("cp1252"))
    assert read_classes(tmp_path, None) == ("Straße", "Gebäude")


def test_arrays_of_another_user_that_cannot_be_read_are_left_alone(tmp_path, monkeypatch):
    root = photos(tmp_path / "photos", ant=9, bee=9)
    (root / ".arrays").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    allowed = os.access
    inside = lambda path, mode: ".arrays" not in str(path) and allowed(path, mode)  # noqa: E731
    monkeypatch.setattr("datamodules.folder.os.access", inside)  # root may read everything
    assert ready(root).folder.is_relative_to(tmp_path / "cache")


def test_masks_of_a_file_whose_name_is_not_utf8_are_written(tmp_path):
    for number in range(12):
        save(tmp_path / "images" / f"{number}.png", (number, 0, 255 - number))
        save(tmp_path / "masks" / f"{number}.png", number % 2, mode="L")
    masks = ["--data_dir", str(tmp_path), "--image_size", "16", "--net", "fcn"]
    run = train(tmp_path / "runs", *masks, script=segmentation)
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(tmp_path / "images" / "3.png", odd)
    cli(predict.main, None, [str(run), os.fsdecode(odd), "--output", str(tmp_path / "p.csv")])
    assert "caf\\udce9.png" in (tmp_path / "p.csv").read_text()
    assert Image.open(tmp_path / "p" / os.fsdecode(b"caf\xe9.png")).size == Image.open(odd).size


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a folder that nobody can write to")  # noqa: PTH112
@pytest.mark.parametrize("ending", [".onnx", ".ckpt"])
def test_place_that_cannot_be_written_is_one_line(tmp_path, refusal, ending):
    run = train(tmp_path / "runs", "--sample")
    how = ["--format", "small"] if ending == ".ckpt" else []
    said = refusal(export.main, str(run), *how, "--output", f"/proc/best{ending}")
    assert said.startswith(f"error: /proc/best{ending}: cannot be written")


def test_flags_that_a_regression_or_finetuning_would_ignore_are_refused(tmp_path, refusal):
    for number in range(20):
        save(tmp_path / f"{number}.png", (number, 0, 0))
    path = table(tmp_path / "ages.csv", [(f"{number}.png", number) for number in range(20)], ("file", "age"))
    flags = [*SMALL, "--data_dir", str(tmp_path), "--labels", str(path), "--task", "regression"]
    said = refusal(own_images.main, *flags, "--metrics", "balanced_acc", recipes=own_images.RECIPES)
    assert "metrics balanced_acc: is for classes" in said
    run = train(tmp_path / "runs", "--sample")
    for flag, value in (("--net", "speednet"), ("--init_from", "nowhere")):
        said = refusal(finetune.main, str(run), "--data", "cifar10", "--sample", flag, value)
        assert said.startswith(f"error: {flag}: the network and its weights are those of {run}")
