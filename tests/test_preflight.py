"""What is checked before the first step, from the command line."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from basics.errors import InputError
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.runs.checkpoints import Checkpoint
from harness.training.preflight import check_position, check_reloads
from lit_modules import Classifier
from lit_modules.nets import build_net

QUICK = "--sample --net softmax --max_epochs 2 --accelerator cpu --batch_size 128 --pictures false".split()


def run(tmp_path, *flags):
    cli(mnist.main, {}, [*QUICK, "--run_dir", str(tmp_path), *flags])
    return next(tmp_path.glob("mnist/*"))


def refused(tmp_path, capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, *flags)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--checkpoint_every", "23"], ["checkpoint_every 23", "22 steps"]),
        (["--checkpoint_every", "-1"], ["checkpoint_every -1"]),
        (["--checkpoint_minutes", "nan"], ["checkpoint_minutes nan"]),
        (["--checkpoint_epochs", "0"], ["checkpoint_epochs 0"]),
        (["--check_val_every_n_epoch", "3"], ["check_val_every_n_epoch 3", "2 epochs"]),
        (["--check_val_every_n_epoch", "0"], ["check_val_every_n_epoch 0"]),
        (["--accumulate_grad_batches", "0"], ["accumulate_grad_batches"]),
        (["--log_every_n_steps", "-1"], ["log_every_n_steps -1"]),
        (["--early_stopping", "-2"], ["early_stopping -2"]),
        (["--lr_patience", "-1"], ["lr_patience -1"]),
        (["--limit_train_batches", "0"], ["limit_train_batches 0"]),
        (["--limit_val_batches", "0"], ["monitor val/acc", "--monitor null"]),
        (["--on_nonfinite", "ignore"], ["on_nonfinite 'ignore'", "skip"]),
        (["--num_sanity_val_steps", "0", "--monitor", "val/f1"], ["val/f1", "val/acc"]),
        (["--val_size", "1436"], ["train split", "1 sample;"]),
    ],
)
def test_number_that_would_never_fire_is_named(tmp_path, capsys, flags, named):
    line = refused(tmp_path, capsys, *flags)
    assert all(part in line for part in named), line
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--val_size", "1.0"], ["val_size 1: is neither a share"]),
        (["--limit_test_batches", "0.1"], ["limit_test_batches 0.1: of 1 batch"]),  # 360 images, by 512
        (["--limit_val_batches", "0.9"], ["limit_val_batches 0.9: of 1 batch"]),
        (["--limit_train_batches", "0.09"], ["limit_train_batches 0.09: of 11 batches"]),  # 1,293 images, by 128
        (["--overfit_batches", "0.01"], ["overfit_batches 0.01"]),
        (["--val_check_interval", "12"], ["val_check_interval 12: an epoch has only 11 batches"]),
        (
            ["--val_check_interval", "6", "--limit_train_batches", "0.5"],
            ["val_check_interval 6: an epoch has only 5"],
        ),
        (["--max_time", "00:00:00:00"], ["max_time: must be above 0"]),
        (["--max_epochs", "0"], ["max_epochs 0"]),
        (["--find_lr", "--fast_dev_run"], ["find_lr, fast_dev_run"]),
        (["--net", "cnn", "--batch_size", "1"], ["batch_size 1", "single samples"]),
        (["--net", "lenet5", "--augment", "grow:20"], ["augment grow:20", "20 x 20"]),
        (["--augment", "shift:28"], ["augment 'shift:28'", "below 28"]),
    ],
)
def test_what_cannot_be_trained_is_named_and_leaves_no_run(tmp_path, capsys, flags, named):
    line = refused(tmp_path, capsys, *flags)
    assert all(part in line for part in named), line
    assert not list(tmp_path.glob("mnist/*"))


@pytest.mark.parametrize(
    "flags",
    [
        ["--limit_train_batches", "0.1", "--limit_val_batches", "1.0", "--val_check_interval", "1"],
        ["--val_check_interval", "11"],
        ["--val_check_interval", "12", "--check_val_every_n_epoch", "null"],
        ["--val_check_interval", "00:00:00:01"],
        ["--net", "residual_mnist", "--augment", "grow:20", "--limit_train_batches", "2"],
        ["--batch_size", "1", "--limit_train_batches", "2"],  # no BatchNorm there
    ],
)
def test_number_that_just_fires_is_taken(tmp_path, flags):
    assert (run(tmp_path, *flags) / "metrics.json").exists()


@pytest.mark.parametrize(("flags", "states"), [([], 3), (["--ema", "0.9"], 4)])
def test_disk_without_room_is_named(tmp_path, capsys, monkeypatch, flags, states):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5000))
    line = refused(tmp_path, capsys, *flags)
    assert "5,000 bytes are free" in line
    assert f"{3 * states * 4 * 7850:,}" in line  # checkpoints, states of a weight, bytes, weights
    assert not list(tmp_path.rglob("*.yaml"))


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        (["--batch_size", "64"], "--batch_size 128 --accumulate_grad_batches 1"),
        (["--accumulate_grad_batches", "2"], "--accumulate_grad_batches 1"),
    ],
)
def test_resume_with_other_steps_is_refused_and_changes_nothing(tmp_path, capsys, flags, advice):
    folder = run(tmp_path)
    before = (folder / "config.yaml").read_text()
    assert advice in refused(tmp_path, capsys, "--resume", str(folder), "--max_epochs", "3", *flags)
    assert (folder / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    ("devices", "advice"),
    [(2, "continue with --batch_size 64 --accumulate_grad_batches 1"), (3, "3 devices cannot share these equally")],
)
def test_advice_for_other_devices_is_not_refused_in_turn(devices, advice):
    data = MNIST(sample=True, batch_size=128)
    data.setup()
    state = {"batch": 128, "step": 128, "within_epoch": True, "split": data.split_fingerprint()}
    trainer = SimpleNamespace(world_size=devices, accumulate_grad_batches=1)
    with pytest.raises(InputError, match=advice):
        check_position(Checkpoint(Path("last.ckpt"), {"MNIST": state}), data, trainer)


def test_resume_at_an_epochs_end_may_accumulate_what_was_one_batch(tmp_path):
    folder = run(tmp_path)
    flags = ["--resume", str(folder), "--max_epochs", "3", "--batch_size", "64", "--accumulate_grad_batches", "2"]
    run(tmp_path, *flags)
    assert yaml.safe_load((folder / "config.yaml").read_text())["batch_size"] == 64


class Stubborn(Classifier):
    """Has a hyperparameter of any type."""

    def __init__(self, extra=None, **others):
        super().__init__("softmax", (1, 28, 28), 10)
        self.save_hyperparameters()


class Forgetful(Classifier):
    """Is rebuilt with another network."""

    def __init__(self, net="softmax"):
        super().__init__(net, (1, 28, 28), 10)
        self.hparams.clear()
        self.net = build_net("lenet5", (1, 28, 28), 10) if net == "lenet5" else self.net


@pytest.mark.parametrize("extra", [np.float64(0.5), torch.nn.ReLU(), lambda: 1, object()])
def test_hyperparameter_that_cannot_be_read_back_is_named(extra):
    with pytest.raises(ValueError, match=r"Stubborn: its hyperparameter 'extra', a .* cannot be read back"):
        check_reloads(Stubborn(extra))


def test_network_that_its_hyperparameters_do_not_make_is_named():
    with pytest.raises(ValueError, match=r"Forgetful: its hyperparameters make another network; net\."):
        check_reloads(Forgetful("lenet5"))


def test_check_leaves_the_random_state(tmp_path):
    model = Classifier("lenet5", (1, 28, 28), 10)
    before = torch.get_rng_state()
    check_reloads(model)
    assert torch.equal(torch.get_rng_state(), before)
