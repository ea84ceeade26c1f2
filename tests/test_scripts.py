"""Every script as a whole, from its command line to its metrics, on one and on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datamodules import samples
from datamodules.arrays import write_arrays
from experiments import cifar10, cifar100, fashion_mnist, mnist
from harness.command_line.cli import cli

ROOT = Path(__file__).parents[1]
SCRIPTS = {script.__name__.rpartition(".")[2]: script for script in (mnist, fashion_mnist, cifar10, cifar100)}


def launch_script(script, *flags):
    """Runs a script as a user does, from the root of the project, and returns what it printed."""
    command = [sys.executable, f"experiments/{script}.py", "--accelerator", "cpu", "--pictures", "false", *flags]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def read_metrics(folder):
    (path,) = folder.glob("*/*/metrics.json")
    return json.loads(path.read_text()), path.parent


# What a net must reach in a few epochs on a sample; chance is 10 %, or 1 % on cifar100.
@pytest.mark.parametrize(
    ("script", "net", "epochs", "at_least"),
    [
        ("mnist", "softmax", 5, 0.85),
        ("mnist", "mlp", 5, 0.85),
        ("mnist", "lenet5", 6, 0.85),
        ("mnist", "cnn", 4, 0.90),
        pytest.param("fashion_mnist", "cnn", 4, 0.90, marks=pytest.mark.slow),
        pytest.param("cifar10", "cnn", 6, 0.60, marks=pytest.mark.slow),
        pytest.param("cifar100", "cnn", 4, 0.08, marks=pytest.mark.slow),
    ],
)
def test_net_learns_the_sample_on_one_process(tmp_path, script, net, epochs, at_least):
    flags = ["--sample", "--net", net, "--max_epochs", str(epochs), "--batch_size", "64", "--accelerator", "cpu"]
    flags += ["--pictures", "false"]
    cli(SCRIPTS[script].main, SCRIPTS[script].RECIPES, [*flags, "--run_dir", str(tmp_path)])
    metrics, _ = read_metrics(tmp_path)
    assert metrics["test/acc"] >= at_least


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["fashion_mnist", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cifar10", "cifar100"))]
)
def test_script_runs_on_two_processes(tmp_path, script):
    flags = ["--sample", "--net", "cnn", "--max_epochs", "1", "--limit_train_batches", "3", "--devices", "2"]
    done = launch_script(script, *flags, "--run_dir", str(tmp_path))
    metrics, _ = read_metrics(tmp_path)
    assert metrics["test/samples"] == len(SCRIPT_TESTS[script]().test_labels)
    assert done.stdout.count("parameters") == 1  # only one process speaks


SCRIPT_TESTS = {"fashion_mnist": samples.digits, "cifar10": samples.shapes, "cifar100": samples.shapes_by_hue}


def test_two_processes_train_and_test_as_one_does(tmp_path):
    digits = samples.digits()
    write_arrays(tmp_path / "data" / "mnist", digits._replace(
        train_images=digits.train_images[:702], train_labels=digits.train_labels[:702],
        test_images=digits.test_images[:101], test_labels=digits.test_labels[:101],
    ))  # fmt: skip
    flags = ["--data_dir", str(tmp_path / "data"), "--net", "mlp", "--net_args.widths", "[64]", "--max_epochs", "3"]
    flags += ["--lr", "0.05", "--lr_decay", "cosine", "--net_args.dropout", "0", "--augment", ""]
    alone = ["--accelerator", "cpu", "--pictures", "false", "--batch_size", "64", "--run_dir", str(tmp_path / "one")]
    cli(mnist.main, mnist.RECIPES, [*flags, *alone])
    launch_script("mnist", *flags, "--devices", "2", "--batch_size", "32", "--run_dir", str(tmp_path / "two"))
    results = []
    for folder in ("one", "two"):
        metrics, run = read_metrics(tmp_path / folder)
        results.append((metrics, torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]))
    (one, one_weights), (two, two_weights) = results
    assert one["test/samples"] == two["test/samples"] == 101
    for name in ("val/loss", "test/loss", "val/acc", "test/acc"):
        assert two[name] == pytest.approx(one[name], abs=2e-6), name  # metrics.json has six digits
    for name, weight in one_weights.items():
        torch.testing.assert_close(two_weights[name], weight, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_run_of_two_processes_goes_on_in_one(tmp_path):
    net = ["--sample", "--net", "mlp", "--net_args.widths", "[32]", "--net_args.dropout", "0", "--augment", ""]
    flags = [*net, "--val_size", "145", "--max_epochs", "2", "--lr_decay", "constant"]  # 1,292 images: 19 batches of 68
    two, one = ["--devices", "2", "--batch_size", "34"], ["--devices", "1", "--batch_size", "68"]
    launch_script("mnist", *flags, *two, "--max_steps", "25", "--run_dir", str(tmp_path / "part"))
    (part,) = tmp_path.glob("part/*/*")
    launch_script("mnist", "--resume", str(part), *one, "--max_steps", "-1")
    launch_script("mnist", *flags, *one, "--run_dir", str(tmp_path / "whole"))
    (metrics, run), (others, whole) = (read_metrics(tmp_path / name) for name in ("part", "whole"))
    assert metrics["steps"] == others["steps"] == 38
    assert metrics["test/samples"] == others["test/samples"] == len(samples.digits().test_labels)
    for name in ("val/loss", "test/loss", "test/acc"):
        assert metrics[name] == pytest.approx(others[name], abs=2e-6), name
    weights, wanted = (torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (run, whole))
    for name, weight in wanted["state_dict"].items():
        torch.testing.assert_close(weights["state_dict"][name], weight, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_frozen_epochs_are_the_same_on_two_processes(tmp_path):
    net = ["--net", "mlp", "--net_args.widths", "[16]", "--net_args.dropout", "0"]
    launch_script("mnist", "--sample", *net, "--max_epochs", "1", "--run_dir", str(tmp_path))
    _, source = read_metrics(tmp_path)
    flags = ["--sample", "--data", "fashion_mnist", "--freeze_epochs", "1", "--max_epochs", "2", "--val_size", "145"]
    states = []
    for devices, batch_size in (("1", "68"), ("2", "34")):  # 1,292 training images are 19 batches
        run_dir = tmp_path / devices
        places = ["--devices", devices, "--batch_size", batch_size, "--run_dir", str(run_dir)]
        launch_script("finetune", str(source), *flags, *places)
        _, run = read_metrics(run_dir)
        states.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_monitor_that_is_never_logged_ends_two_processes_with_one_line(tmp_path):
    flags = ["--sample", "--net", "softmax", "--max_epochs", "1", "--devices", "2", "--monitor", "val/f1"]
    command = [sys.executable, "experiments/mnist.py", "--accelerator", "cpu", *flags, "--run_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
