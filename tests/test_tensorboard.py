"""TensorBoard on a run's directory, in a browser: each tab shows this run's data."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import mnist
from harness.command_line.cli import cli

pytest.importorskip("selenium", reason="selenium, which drives the browser, is not installed")
from tensorboard_page import missing_programs, tensorboard_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]
FLAGS = ["--sample", "--net", "softmax", "--max_epochs", "2", "--accelerator", "cpu", "--log_every_n_steps", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cli(mnist.main, mnist.RECIPES, [*FLAGS, "--run_dir", str(folder)])
    (run,) = folder.glob("mnist/*")
    return run


@pytest.fixture(scope="module")
def page(run):
    with tensorboard_page(run.parents[1]) as page:  # the folder of all runs: alone, a run has no figures in HPARAMS
        yield page


def test_curves(page, run):
    metrics = json.loads((run / "metrics.json").read_text())
    page.open("timeseries", "tagFilter=test/acc")
    page.wait_for("/acc", f"{metrics['test/acc']:.4g}")
    page.open("scalars")
    page.wait_for("step/loss", "step/lr", "test", "train", "val")
    page.each("button.heading:not([open-button])", "element.click()")
    page.wait_for("tag: train/loss", "tag: val/loss", "tag: val/acc", "tag: test/acc")


def test_custom_scalars_have_training_and_validation_on_one_chart(page):
    page.open("custom_scalars")
    text = page.wait_for("training and validation", "train/loss", "val/acc", "step/lr", "Matches (1)")
    assert text.count("Matches (2)") == 2  # loss and accuracy
    assert "Matches (0)" not in text


def test_text_says_how_the_run_was_started(page):
    page.open("text")
    page.wait_for("run/command", "run/config", "run/environment", "run/code")
    page.wait_for("python experiments/mnist.py " + " ".join(FLAGS))
    page.wait_for("net: softmax", "batch_size: 128", f"torch {torch.__version__}", "lightning 2.")


def test_hparams_have_the_flags_and_the_final_figures(page, run):
    metrics = json.loads((run / "metrics.json").read_text())
    page.open("hparams")
    page.wait_for("label_smoothing", "lr_decay", f"{metrics['test/acc']:#.5g}", str(metrics["test/loss"])[:5])


def test_graph_has_the_network(page):
    page.open("graphs")
    page.wait_for("Main Graph", "Softmax", "input", "2\u00d71\u00d728\u00d728")


def test_images_are_the_figures_of_the_run(page, run):
    page.open("images")
    page.wait_for("confusion", "wrong", "calibration", "step 22")
    page.each("button.heading:not([open-button])", "element.click()")
    sizes = {Image.open(path).width for path in run.glob("figures/*.png")}
    page.wait_until(lambda: set(page.each("img", "element.naturalWidth")) == sizes, f"images {sizes} pixels wide")


def test_precision_and_recall_of_each_class(page):
    page.open("pr_curves")
    page.wait_for("tag: test/3", "at step 22")


def test_projector_draws_the_test_images(page):
    page.open("projector")
    page.wait_for("Points: 360", "Dimension: 784", "Total variance described")
    page.wait_until(lambda: dark_pixels(page) > 500, "the digits' ink")


def dark_pixels(page):
    return (np.asarray(page.screenshot().convert("L"))[150:750, 400:1000] < 60).sum()
