"""--find_lr: a usable suggestion, a figure, and a model that stays as it was."""

import re

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from harness.training.lr_finder import MEMORY, range_test, single_losses, steepest, steps_recorded
from lit_modules import Classifier

FLAGS = ["--sample", "--accelerator", "cpu"]


def find(tmp_path, capsys, *flags):
    cli(mnist.main, mnist.RECIPES, [*FLAGS, "--net", "softmax", "--find_lr", "--run_dir", str(tmp_path), *flags])
    return re.search(r"suggested learning rate: (\S+)", capsys.readouterr().out)[1]


def test_steepest_is_the_middle_of_a_logistic_fall():
    rates = np.logspace(-5, 1, 101)
    losses = 2.3 / (1 + (rates / 0.01) ** 2) + np.where(rates > 0.5, 100 * (rates - 0.5), 0)  # then it diverges
    assert steepest(rates, losses) == pytest.approx(0.01, rel=0.1)


@pytest.mark.slow
def test_suggestion_trains_well(tmp_path, capsys):
    rate = find(tmp_path, capsys)
    flags = [*FLAGS, "--net", "softmax", "--max_epochs", "5", "--lr", rate, "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, flags)
    assert float(re.search(r"\ntest .*? ([\d.]+)%", capsys.readouterr().out)[1]) > 80


def test_test_goes_on_when_the_epochs_of_a_short_run_are_over(tmp_path):
    data = MNIST(sample=True, batch_size=512)  # 3 batches
    data.setup()
    model = Classifier("softmax", data.input_shape, data.num_classes, data.mean, data.std)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    rates, _ = range_test(trainer, model, data, steps=20)
    assert len(rates) > 6
    assert trainer.max_epochs == 2


@pytest.mark.parametrize(("batches", "accumulated"), [(12, 2), (11, 2), (3, 2), (5, 5), (7, 1)])
def test_losses_are_those_of_the_recorded_steps(batches, accumulated):
    """The tuner records whole steps only, but counts those of fewer batches too."""
    losses, mean, averaged, step = [], 0.0, [], 0
    for batch in range(batches * 9):
        place = batch % batches + 1
        step += place % accumulated == 0 or place == batches
        if place % accumulated == 0:
            losses.append(1 + batch % 5)
            mean = MEMORY * mean + (1 - MEMORY) * losses[-1]
            averaged.append(mean / (1 - MEMORY ** (step + 1)))
    recorded = steps_recorded(len(averaged), batches, accumulated)
    np.testing.assert_allclose(single_losses(np.array(averaged), recorded), losses)


def test_steps_that_no_epoch_has_the_batches_for_are_one_line(tmp_path, refusal):
    flags = [
        "--net",
        "softmax",
        "--find_lr",
        "--batch_size",
        "128",
        "--accumulate_grad_batches",
        "16",
        "--run_dir",
        str(tmp_path),
    ]
    line = refusal(mnist.main, *FLAGS, *flags)
    assert "find_lr, accumulate_grad_batches 16: an epoch has only 11 batches" in line


def test_rates_that_were_not_tried_are_named(tmp_path, capsys):
    data = MNIST(sample=True)
    data.setup()
    model = Classifier("mlp", data.input_shape, data.num_classes, backbone_lr=0.002)
    fit_and_test("test", model, data, FitFlags(find_lr=True, run_dir=str(tmp_path), accelerator="cpu"))
    assert "tried for all of the network at once, without backbone_lr 0.002" in capsys.readouterr().out


def test_figure_is_saved_and_nothing_is_trained(tmp_path, capsys):
    find(tmp_path, capsys)
    (run,) = tmp_path.glob("mnist/*")
    assert (run / "figures" / "find_lr.png").read_bytes().startswith(b"\x89PNG")
    assert not (run / "metrics.json").exists()
    assert not list(run.rglob("*.ckpt"))


def test_same_seed_gives_the_same_suggestion(tmp_path, capsys):
    assert find(tmp_path, capsys, "--seed", "3") == find(tmp_path, capsys, "--seed", "3")


@pytest.mark.parametrize("net", ["softmax", pytest.param("cnn", marks=pytest.mark.slow)])
def test_model_stays_as_it_was(tmp_path, net):
    data = MNIST(sample=True)
    data.setup()
    model = Classifier(net, data.input_shape, data.num_classes, data.mean, data.std)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit_and_test("test", model, data, FitFlags(find_lr=True, run_dir=str(tmp_path), accelerator="cpu"))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
