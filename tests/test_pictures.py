"""Pictures of whole runs: what a run leaves, and that drawing does not change the training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from datamodules import MNIST
from experiments import metric_learning, mnist, table
from harness.command_line.cli import cli
from harness.drawing import figures, pictures
from harness.drawing.projector import add_to_projector
from lit_modules import Classifier

ROOT = Path(__file__).parents[1]
OF_CLASSES = {"by_class", "confusion", "precision_recall", "calibration"}
OF_IMAGES = {"wrong", "augmented", "kernels", "feature_maps"}
QUICK = ["--sample", "--max_epochs", "2", "--accelerator", "cpu", "--enable_progress_bar", "false"]


def run_mnist(folder, *flags):
    """Trains a small network with dropout and augmentation, and returns its run directory."""
    net = "--net mlp --net_args.widths [16] --net_args.dropout 0.2 --augment crop:2 --lr_decay constant".split()
    cli(mnist.main, mnist.RECIPES, [*QUICK, *net, "--run_dir", str(folder), *flags])
    return next(iter(folder.glob("mnist/*")))


def names(folder):
    return {path.stem for path in folder.glob("*.png")}


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run with all pictures, also after its second epoch of three."""
    flags = ["--pictures_every", "2", "--histograms", "--mixup", "0.2", "--max_epochs", "3"]
    return run_mnist(tmp_path_factory.mktemp("drawn"), *flags)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same run without any."""
    flags = ["--pictures", "false", "--mixup", "0.2", "--max_epochs", "3"]
    return run_mnist(tmp_path_factory.mktemp("plain"), *flags)


def test_a_run_leaves_every_picture_as_a_file_and_in_tensorboard(drawn):
    figures = OF_CLASSES | (OF_IMAGES - {"feature_maps"})  # an MLP has no maps
    assert names(drawn / "figures") == figures | {"learning_curves", "histograms"}
    assert names(drawn / "figures" / "epoch_2") == figures
    assert not (drawn / "figures" / "epoch_1").exists()
    events = EventAccumulator(str(drawn), size_guidance={"images": 0}).Reload()
    shown = {tag.removeprefix("visuals/"): events.Images(tag) for tag in events.Tags()["images"]}
    assert set(shown) == figures | {"learning_curves", "histograms"}
    assert [len(shown["confusion"]), len(shown["histograms"])] == [2, 1]
    assert shown["confusion"][-1].encoded_image_string == (drawn / "figures" / "confusion.png").read_bytes()
    assert {f"test/{digit}" for digit in range(10)} <= set(events.Tags()["tensors"])  # the PR tab


def test_histograms_have_each_epoch_of_weights_and_gradients(drawn):
    events = EventAccumulator(str(drawn), size_guidance={"histograms": 0}).Reload()
    wanted = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in weights(drawn)}
    assert set(events.Tags()["histograms"]) == wanted
    for name, weight in weights(drawn).items():
        histograms = events.Histograms(f"weights/{name}")
        assert len(histograms) == 3
        assert histograms[-1].histogram_value.sum == pytest.approx(float(weight.double().sum()), abs=1e-4)


@pytest.mark.parametrize(("by", "places"), [("step", [20, 41, 62]), ("epoch", [1, 2, 3])])
def test_resumed_run_has_those_of_each_epoch(tmp_path, by, places):
    flags = ["--histograms", "--pictures_every", "1", "--curves_by", by, "--batch_size", "64"]
    run = run_mnist(tmp_path, *flags)
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "3"])
    events = EventAccumulator(str(run), size_guidance={"histograms": 0, "images": 0}).Reload()
    for tag in events.Tags()["histograms"]:
        assert [event.step for event in events.Histograms(tag)] == places
    assert [event.step for event in events.Images("visuals/confusion")][:3] == places  # then that of the test


def test_projector_has_test_images_with_sprites(drawn):
    (points,) = drawn.glob("*/test/tensors.tsv")
    features = np.loadtxt(points, delimiter="\t")
    digits = MNIST(sample=True)
    digits.setup()
    model = Classifier.load_from_checkpoint(drawn / "checkpoints" / "best.ckpt", weights_only=True).eval()
    images = (torch.from_numpy(digits.arrays.test_images).flatten(1) / 255 - digits.mean[0]) / digits.std[0]
    with torch.no_grad():
        hidden = model.net.hidden(images)
    np.testing.assert_allclose(features, F.normalize(hidden), atol=1e-5)
    assert (points.parent / "metadata.tsv").read_text().split() == [str(y) for y in digits.arrays.test_labels]
    sprite = np.asarray(Image.open(points.parent / "sprite.png"))
    assert sprite.shape == (19 * 28, 19 * 28, 3)  # 19 * 19 >= 360
    np.testing.assert_allclose(sprite[:28, 28:56, 0], 255 - digits.arrays.test_images[1], atol=1)


def test_projector_takes_images_that_are_not_square(tmp_path):
    images = torch.rand(4, 3, 20, 24)
    with SummaryWriter(str(tmp_path)) as writer:
        add_to_projector(writer, torch.rand(4, 2), ["a", "b", "a", "b"], images, "test")
    (path,) = tmp_path.glob("*/test/sprite.png")
    sprite = np.asarray(Image.open(path))
    assert sprite.shape == (48, 48, 3)
    np.testing.assert_allclose(sprite[:20, 24:48], 255 * images[1].permute(1, 2, 0), atol=1)
    assert not sprite[20:24].any()


def test_training_and_figures_are_the_same_with_and_without_pictures(drawn, plain):
    others = weights(plain)
    assert all(torch.equal(weight, others[name]) for name, weight in weights(drawn).items())
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (drawn, plain)]
    for name in ("val/loss", "val/acc", "test/loss", "test/acc", "test/samples"):
        assert metrics[0][name] == metrics[1][name]
    assert not (plain / "figures").exists()
    assert not list(plain.glob("*/test"))


def test_resumed_run_has_pictures_and_weights_of_the_uninterrupted_one(tmp_path, drawn):
    flags = ["--pictures_every", "1", "--mixup", "0.2"]
    run = run_mnist(tmp_path, *flags)
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "3"])
    others = weights(drawn)
    assert all(torch.equal(weight, others[name]) for name, weight in weights(run).items())
    assert names(run / "figures" / "epoch_3") == names(drawn / "figures" / "epoch_2")
    for name in ("confusion", "wrong", "learning_curves"):
        assert (run / "figures" / f"{name}.png").read_bytes() == (drawn / "figures" / f"{name}.png").read_bytes()


def test_dry_run_draws_nothing(tmp_path):
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--fast_dev_run", "--pictures_every", "1", "--run_dir", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_pictures_every_must_be_an_epoch(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run_mnist(tmp_path, "--pictures_every", "-1")
    assert end.value.code == 2
    assert "pictures_every -1: must be at least 0" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.yaml"))


def test_picture_that_fails_costs_no_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pictures, "draw_calibration", lambda *args: 1 / 0)
    run = run_mnist(tmp_path, "--pictures_every", "1")
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2
    assert "a picture could not be drawn" in capsys.readouterr().err
    assert names(run / "figures") == {"learning_curves"}


def test_convolutional_network_shows_its_maps(tmp_path):
    flags = ["--net", "lenet5", "--max_epochs", "1", "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, [*QUICK, *flags])
    (folder,) = tmp_path.glob("mnist/*/figures")
    assert names(folder) == OF_CLASSES | OF_IMAGES | {"learning_curves", "why"}


def test_other_tasks_get_what_applies(tmp_path):
    (tmp_path / "rows.csv").write_text("x,kind\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(60)))
    flags = ["--csv", str(tmp_path / "rows.csv"), "--target", "kind", "--task", "classification", *QUICK[1:]]
    cli(table.main, table.RECIPES, [*flags, "--net", "linear", "--folds", "0", "--run_dir", str(tmp_path)])
    (folder,) = tmp_path.glob("table/*/figures")
    assert names(folder) == OF_CLASSES | {"columns", "learning_curves", "importance", "partial_dependence"}
    flags = ["--max_epochs", "1", "--net", "softmax", "--baselines", "false", "--accelerator", "cpu"]
    cli(metric_learning.main, metric_learning.RECIPES, [*flags, "--run_dir", str(tmp_path)])
    (folder,) = tmp_path.glob("metric_learning/*/figures")
    assert names(folder) == {"learning_curves", "embedding", "recall", "neighbours"}


def test_regression_gets_predicted_against_true_numbers(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).normal(0, 1, 80)
    rows = "".join(f"{row},{3 * row + error}\n" for row, error in enumerate(noise))
    (tmp_path / "rows.csv").write_text("x,y\n" + rows)
    drawn = []
    monkeypatch.setattr(
        pictures, "draw_predicted", lambda *args: drawn.append(figures.draw_predicted(*args)) or drawn[-1]
    )
    flags = ["--csv", str(tmp_path / "rows.csv"), "--target", "y", *QUICK[1:], "--pictures_every", "2"]
    cli(table.main, table.RECIPES, [*flags, "--net", "linear", "--folds", "0", "--run_dir", str(tmp_path)])
    (run,) = tmp_path.glob("table/*")
    assert names(run / "figures") == {"columns", "predicted", "learning_curves", "importance", "partial_dependence"}
    assert names(run / "figures" / "epoch_2") == {"predicted"}
    metrics = json.loads((run / "metrics.json").read_text())
    (during,), (axes,) = (figure.axes for figure in drawn)
    assert axes.get_title() == f"RMSE {metrics['test/rmse']:.4g}; 8 test rows"
    assert "7 validation rows" in during.get_title()
    points = axes.collections[0].get_offsets()
    assert np.sqrt(np.mean((points[:, 1] - points[:, 0]) ** 2)) == pytest.approx(metrics["test/rmse"], rel=1e-4)
    (diagonal,) = axes.lines
    np.testing.assert_array_equal(*diagonal.get_data())


@pytest.mark.slow
def test_two_processes_draw_what_one_does(tmp_path):
    # 1,292 training images are 19 batches on one process and on two.
    flags = "--sample --net softmax --max_epochs 1 --val_size 145 --pictures_every 1 --augment".split()
    flags += ["", "--lr_decay", "constant", "--accelerator", "cpu", "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, [*flags, "--batch_size", "68"])
    (one,) = tmp_path.glob("mnist/*")
    command = [sys.executable, "experiments/mnist.py", *flags, "--devices", "2", "--batch_size", "34"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "picture" not in done.stderr
    (two,) = set(tmp_path.glob("mnist/*")) - {one}
    for name in ("figures/confusion", "figures/wrong", "figures/epoch_1/confusion"):
        shown = [np.asarray(Image.open(run / f"{name}.png")) for run in (one, two)]
        np.testing.assert_array_equal(*shown, err_msg=name)
