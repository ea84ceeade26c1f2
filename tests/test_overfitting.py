"""Overfitting: few images and their folds, what is measured, the script's claims, and choosing without test images."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import KFold
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules import samples
from datamodules.arrays import write_arrays
from datamodules.table_data import Fold
from experiments import overfitting
from experiments.fundamentals.few_images import (
    PLAIN_NET,
    FewImages,
    Settings,
    prepare,
    read_curves,
    train_in,
    validate_fold,
)
from harness.command_line.cli import cli

QUICK = Settings(images=40, max_epochs=2, lr=0.01, batch_size=16, seed=0, sample=True, data_dir="data")


def ready(settings, **options):
    data = FewImages(settings, **options)
    data.setup()
    return data


def test_few_images_are_drawn_by_the_seed_and_none_validates():
    few, other = ready(QUICK), ready(QUICK._replace(seed=1))
    assert (len(few.train_indices), len(few.val_indices)) == (40, 300)
    assert not set(few.train_indices) & set(few.val_indices)
    assert set(few.train_indices) != set(other.train_indices)
    assert few.mean == pytest.approx((few.arrays.train_images[few.train_indices] / 255).mean((0, 1, 2)))


def test_folds_are_scikit_learns_of_the_few():
    few, seen = set(ready(QUICK).train_indices), []
    for number, (train, held_out) in enumerate(KFold(2, shuffle=True, random_state=0).split(np.zeros(40))):
        data = ready(QUICK, fold=Fold(number, 2, 0))
        assert (len(data.train_indices), len(data.val_indices)) == (len(train), len(held_out)) == (20, 20)
        assert set(data.train_indices) | set(data.val_indices) == few
        seen += data.val_indices.tolist()
    assert sorted(seen) == sorted(few)


def test_measures_are_of_the_plain_images_with_dropout_off(tmp_path):
    options = dict(augment="crop:4,noise:0.5", net_args=PLAIN_NET | {"dropout": 0.9}, label_smoothing=0.5)
    result = train_in(tmp_path / "run", QUICK, **options)
    data, model = prepare(QUICK, **options)
    model.load_state_dict(torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    model.eval()
    images, labels, test_images, test_labels = map(torch.from_numpy, data.arrays)
    for split, pixels, its_labels in (
        ("train", images[data.train_indices], labels[data.train_indices].long()),
        ("val", images[data.val_indices], labels[data.val_indices].long()),
        ("test", test_images, test_labels.long()),
    ):
        logits = model(pixels.permute(0, 3, 1, 2) / 255)
        assert result[f"{split}/loss"] == pytest.approx(F.cross_entropy(logits, its_labels).item(), abs=1e-5)
        assert result[f"{split}/acc"] == pytest.approx((logits.argmax(1) == its_labels).float().mean().item(), abs=1e-6)


def run(tmp_path, *flags):
    metrics = cli(overfitting.main, None, [*flags, "--jobs", "1", "--run_dir", str(tmp_path / "runs")])
    (folder,) = (tmp_path / "runs").glob("overfitting/*")
    return metrics, folder


@pytest.mark.slow
def test_variants_do_what_the_header_says(tmp_path, capsys):
    metrics, folder = run(tmp_path, "--variants", "[baseline, augmentation, early_stopping, too_small]")
    baseline, augmentation, stopped, too_small = metrics["variants"].values()
    assert max(too_small["train/acc"], too_small["test/acc"]) < 0.5 < baseline["test/acc"]
    assert too_small["acc_gap"] < baseline["acc_gap"] / 2
    assert baseline["train/acc"] == 1
    assert baseline["acc_gap"] > 0.3
    assert augmentation["acc_gap"] < baseline["acc_gap"] / 2
    assert augmentation["test/acc"] > baseline["test/acc"] + 0.05
    assert augmentation["loss_gap"] < baseline["loss_gap"] / 2
    assert stopped["loss_gap"] < baseline["loss_gap"]
    assert stopped["epochs"] < baseline["epochs"] == 30
    for result in metrics["variants"].values():
        assert result["acc_gap"] == pytest.approx(result["train/acc"] - result["test/acc"])
        assert result["loss_gap"] == pytest.approx(result["test/loss"] - result["train/loss"])
    assert f"{baseline['test/acc']:.1%}" in capsys.readouterr().out
    assert json.loads((folder / "metrics.json").read_text())["variants"] == metrics["variants"]
    assert {path.name for path in folder.glob("figures/*")} == {"loss.png", "accuracy.png", "gaps.png"}
    # The curve of a variant is its own run below one parent, with the same tags, and ends where it was measured.
    for name, result in metrics["variants"].items():
        curves = read_curves(folder / name, overfitting.CURVES)
        assert [len(values) for values in curves.values()] == [result["epochs"]] * 4
        if name == "early_stopping":  # the checkpoint counts epochs from 0
            kept = torch.load(folder / name / "checkpoints/best.ckpt", weights_only=True)["epoch"] + 1
            assert overfitting.chosen_epoch(curves["val/loss"]) == kept < result["epochs"]
        best = min(curves["val/loss"]) if name == "early_stopping" else curves["val/loss"][-1]
        assert best == pytest.approx(result["val/loss"], abs=1e-5)
        assert "custom_scalars__config__" in EventAccumulator(str(folder / name)).Reload().Tags()["tensors"]


def test_epochs_with_better_validation_are_counted_and_explained(capsys):
    ours = {"val/acc": [0.1, 0.5, 0.7], "train/acc": [0.2, 0.4, 0.6]}
    assert overfitting.epochs_above(ours["val/acc"], ours["train/acc"]) == 2
    overfitting._print_crossings({"dropout": ours, "l2": {"val/acc": [0.1] * 3, "train/acc": [0.2] * 3}})
    said = capsys.readouterr().out
    assert "above training accuracy: dropout (2)\n" in said and "l2" not in said


def test_weight_decay_is_chosen_without_the_test_images(tmp_path):
    shapes, results = samples.shapes(num_train=400, num_test=60), []
    for number, test_images in enumerate((shapes.test_images, 255 - shapes.test_images)):
        write_arrays(tmp_path / str(number) / "cifar10", shapes._replace(test_images=test_images))
        settings = QUICK._replace(sample=False, data_dir=str(tmp_path / str(number)))
        flags = ["--sample", "false", "--data_dir", settings.data_dir, "--images", "40", "--max_epochs", "2"]
        flags += ["--folds", "3", "--weight_decays", "[3, 0]"]  # 3 shrinks all weights at once
        metrics, folder = run(tmp_path / str(number), *flags)
        results.append(metrics)
    one, other = results
    assert one["by_weight_decay"] == other["by_weight_decay"]
    assert (one["weight_decay"], one["val/loss"]) == (other["weight_decay"], other["val/loss"])
    assert one["test/loss"] != other["test/loss"]
    scores = [validate_fold(settings, 0.0, Fold(number, 3, 0)) for number in range(3)]
    (loss, acc), (loss_error, acc_error) = np.mean(scores, 0), np.std(scores, 0, ddof=1) / np.sqrt(3)
    expected = {"loss": loss, "loss_error": loss_error, "acc": acc, "acc_error": acc_error}
    assert other["by_weight_decay"]["0"] == pytest.approx(expected, abs=1e-5)
    losses = {float(value): score["loss"] for value, score in other["by_weight_decay"].items()}
    assert other["weight_decay"] == min(losses, key=losses.get)
    assert (folder / "figures" / "weight_decay.png").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--variants", "[baseline, dropuot]"], "variant 'dropuot': no such variant; did you mean dropout?"),
        (["--variants", "[]"], "variants []: name at least one"),
        (["--folds", "1"], "folds 1: must be from 2 to the number of images, 300"),
        (["--folds", "-1"], "folds -1: must be at least 0"),
        (["--folds", "301"], "folds 301: must be from 2 to the number of images, 300"),
        (["--folds", "2", "--batch_size", "151"], "batch_size 151: there are only 150 training images"),
        (["--folds", "2", "--weight_decays", "[0.1, -0.1]"], "weight_decays [0.1, -0.1]: must be at least 0"),
        (["--folds", "2", "--weight_decays", "[]"], "weight_decays []: need some"),
        (["--batch_size", "301"], "batch_size 301: there are only 300 training images"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
        (["--images", "1701"], "images 1701: must be from 2 to 1,700"),
        (["--images", "1"], "images 1: must be from 2"),
        (["--max_epochs", "0"], "max_epochs 0: must be at least 1"),
        (["--sizes", "50"], "sizes [50]: need two or more, in ascending order"),
        (["--sizes", "100,50"], "sizes [100, 50]: need two or more, in ascending order"),
        (["--sizes", "50,50"], "sizes [50, 50]: need two or more, in ascending order"),
        (["--sizes", "0,50"], "sizes [0, 50]: must be from 16, for 10 classes and batches of 16, to 1,700"),
        (["--sizes", "9,50", "--batch_size", "4"], "sizes [9, 50]: must be from 10, for 10 classes and batches of 4"),
        (["--sizes", "50,1701"], "sizes [50, 1701]: must be from 16, for 10 classes and batches of 16, to 1,700"),
        (["--sizes", "50,100", "--images", "1"], "images 1: must be from 2"),
        (["--sizes", "50,100", "--draws", "0"], "draws 0: must be at least 1"),
        (["--sizes", "50,100", "--folds", "2"], "sizes and folds: two studies"),
        (["--lr", "-1"], "lr -1.0: must be at least 0"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(overfitting.main, *flags)
