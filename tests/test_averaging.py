"""Averages of the weights: against the definitions, in what is validated and saved, and across a resume."""

import json
import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from basics.lightning_internals import average_of
from callbacks import LastCheckpoint, LRDecay, weight_averaging
from datamodules import MNIST
from experiments import mnist, table
from harness.command_line.cli import cli
from lit_modules import Classifier

QUIET = dict(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=3
)


class Weights(Callback):
    """Keeps the weights after each step; stands before the averaging in the list."""

    def __init__(self):
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(pl_module.net.linear.weight.detach().clone())


class ValidatedWeights(Callback):
    """Keeps the weights that validation sees, once an epoch."""

    def __init__(self):
        self.seen = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 0 and not trainer.sanity_checking:
            self.seen.append(pl_module.net.linear.weight.detach().clone())


class SaveFirst(Callback):
    """Saves first.ckpt after the first epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.folder / "first.ckpt")


def train(folder, ema=0.0, swa=0.0, resume=None, extra=(), **flags):
    data = MNIST(sample=True, batch_size=128)
    data.setup()
    torch.manual_seed(0)
    model = Classifier("softmax", data.input_shape, data.num_classes, data.mean, data.std, lr=0.05)
    weights, validated = Weights(), ValidatedWeights()
    callbacks = [weights, *weight_averaging(ema, swa), validated, LRDecay(), *extra]
    callbacks.append(LastCheckpoint(folder))
    Trainer(**QUIET | flags, callbacks=callbacks).fit(model, data, ckpt_path=resume, weights_only=True)
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    return model, weights.after, validated.seen, saved


@pytest.mark.parametrize("ema", [0.7, 0.9, 0.9999])  # the rise ends at the 21st step, the 81st, and never
def test_ema_is_the_recursion(tmp_path, ema):
    model, after, validated, saved = train(tmp_path, ema=ema)
    averages = after[:1]
    for step, weight in enumerate(after[1:], start=1):
        decay = min(ema, (1 + step) / (10 + step))
        averages.append(decay * averages[-1] + (1 - decay) * weight)
    steps = len(after) // 3
    for epoch, seen in enumerate(validated, start=1):
        torch.testing.assert_close(seen, averages[epoch * steps - 1])
    torch.testing.assert_close(model.net.linear.weight, averages[-1])
    torch.testing.assert_close(saved["state_dict"]["net.linear.weight"], averages[-1])
    assert torch.equal(saved["current_model_state"]["net.linear.weight"], after[-1])


@pytest.mark.parametrize("averages", [{"ema": 0.9, "swa": 0.0}, {"ema": 0.0, "swa": 0.5}])
def test_infinite_bounds_stay_as_they_are(averages):
    (callback,) = weight_averaging(**averages)
    callback.first_step = 0
    average = callback._kwargs["avg_fn"]
    bounds, weights = torch.tensor([-math.inf, math.inf, 1.0]), torch.tensor([-math.inf, math.inf, 3.0])
    after = average(bounds, weights, torch.tensor(1))
    assert after[0] == -math.inf and after[1] == math.inf and 1 < after[2] < 3


def test_ema_of_a_table_ends_in_finite_figures(tmp_path):
    flags = ["--sample", "--folds", "0", "--ema", "0.9", "--max_epochs", "2", "--pictures", "false"]
    assert math.isfinite(cli(table.main, table.RECIPES, [*flags, "--run_dir", str(tmp_path)])["test/rmse"])


def test_swa_is_the_mean_from_its_start_on(tmp_path):
    model, after, validated, saved = train(tmp_path, swa=0.5)
    start = len(after) // 2
    torch.testing.assert_close(model.net.linear.weight, torch.stack(after[start:]).mean(0))
    torch.testing.assert_close(saved["state_dict"]["net.linear.weight"], model.net.linear.weight)
    torch.testing.assert_close(validated[0], after[len(after) // 3 - 1])  # no average yet: the weights themselves


QUICK = ["--sample", "--accelerator", "cpu", "--net", "softmax", "--pictures", "false", "--max_epochs", "4"]


def run_mnist(folder, *flags):
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder), *flags])
    (run,) = folder.glob("mnist/*")
    metrics = json.loads((run / "metrics.json").read_text())
    return metrics, {path.stem: torch.load(path, weights_only=True) for path in run.glob("checkpoints/*.ckpt")}


def test_best_epoch_is_one_of_averaged_weights(tmp_path):
    # The first epoch has the highest loss, and would be the best.
    metrics, saved = run_mnist(tmp_path, "--swa", "0.5", "--monitor", "val/loss", "--monitor_mode", "max")
    assert saved["best"]["global_step"] == 3 * metrics["steps"] / 4
    assert metrics["val/loss"] == pytest.approx(
        float(saved["best"]["callbacks"]["EpochCheckpoint(best)"]["current_score"])
    )


def test_weights_in_training_are_those_of_a_run_without_an_average_in_any_type(tmp_path):
    """They are in the module again after each validation, which is of the average."""
    for precision in ("32-true", "64-true", "bf16-true"):
        states = [train(tmp_path, ema, precision=precision)[3] for ema in (0.0, 0.9)]
        weights, its = states[0]["state_dict"]["net.linear.weight"], states[1]["current_model_state"]
        assert torch.equal(its["net.linear.weight"], weights)
        if precision == "64-true":
            assert not torch.equal(weights, weights.float().double())  # so that float32 would have shown


def test_validations_leave_the_average_of_narrow_weights_as_it_is(tmp_path):
    flags = {"ema": 0.999, "precision": "bf16-true"}
    often, never = train(tmp_path, **flags)[3], train(tmp_path, **flags, limit_val_batches=0)[3]
    average = often["state_dict"]["net.linear.weight"]
    assert average.dtype == torch.float32
    assert torch.equal(average, never["state_dict"]["net.linear.weight"])


def test_average_is_on_the_device_of_the_training(monkeypatch):
    (callback,) = weight_averaging(0.9, 0)
    trainer = Trainer(**QUIET)
    monkeypatch.setattr(type(trainer.strategy), "root_device", torch.device("meta"))
    callback.setup(trainer, Classifier("softmax", (1, 4, 4), 2), "fit")  # before the strategy moves the module
    assert {tensor.device.type for tensor in average_of(callback)} == {"meta"}


def test_run_that_ends_before_its_average_starts_says_so(tmp_path, capsys):
    early = ["--early_stopping", "1", "--lr", "1e-9", "--lr_decay", "constant"]  # the second epoch is no better
    metrics, saved = run_mnist(tmp_path, "--swa", "0.75", *early)
    assert (metrics["epochs"], set(saved)) == (2, {"last"})
    half = metrics["steps"]
    out = capsys.readouterr().out
    assert (
        f"nothing was averaged, because training ended after step {half}"
        f" and the average starts after step {3 * half // 2}" in out
    )


def test_average_of_an_endless_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_mnist(
            tmp_path, "--swa", "0.75", "--max_epochs", "-1", "--max_time", "00:00:01:00", "--lr_decay", "constant"
        )
    assert "swa 0.75: is a share of a run without an end" in capsys.readouterr().err
    assert not list(tmp_path.glob("mnist/*"))


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"swa": 0.3}])
def test_resumed_run_ends_as_the_whole_one(tmp_path, options):
    *_, whole = train(tmp_path / "whole", **options, extra=[SaveFirst(tmp_path)])
    *_, resumed = train(tmp_path / "resumed", **options, resume=tmp_path / "first.ckpt")
    for part in ("state_dict", "current_model_state"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, resumed[part][name]), (part, name)


@pytest.mark.parametrize(
    ("ema", "swa", "named"),
    [(1.0, 0.0, "ema 1.0"), (-0.1, 0.0, "ema -0.1"), (0.0, 1.5, "swa 1.5"), (0.9, 0.5, "one of these ways")],
)
def test_bad_option_is_named(ema, swa, named):
    with pytest.raises(ValueError, match=named):
        weight_averaging(ema, swa)


def test_off_is_no_callback():
    assert weight_averaging(0.0, 0.0) == []
