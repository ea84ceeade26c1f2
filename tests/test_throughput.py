"""Throughput: every sample counts, validation does not, and totals continue after a resume."""

import json
import time

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks import Throughput
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.comparing.events import read_curve
from lit_modules import Classifier

QUIET = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)


class SlowValidation(Callback):
    def on_validation_batch_start(self, *args):
        time.sleep(0.3)


def fit(*callbacks, resume=None, **flags):
    """Trains with a Throughput of its own, and returns it, the trainer, and the seconds that all took."""
    started, throughput = time.perf_counter(), Throughput()
    trainer = Trainer(**{**QUIET, "enable_checkpointing": False, **flags}, callbacks=[throughput, *callbacks])
    trainer.fit(Classifier("softmax", (1, 28, 28), 10), MNIST(sample=True), ckpt_path=resume, weights_only=True)
    return throughput, trainer, time.perf_counter() - started


def test_every_sample_of_every_epoch_counts():
    throughput, trainer, wall = fit(max_epochs=3)
    assert throughput.samples == 3 * 1293  # 1,437 images less a tenth, 144, for validation
    assert 0 < throughput.seconds < throughput.run_seconds < wall
    assert throughput.samples_per_second == pytest.approx(3 * 1293 / throughput.seconds)
    logged = trainer.callback_metrics
    assert float(logged["train/samples_per_second"] * logged["train/seconds"]) == pytest.approx(1293, rel=1e-4)


def test_validation_is_left_out_also_in_mid_epoch():
    throughput, trainer, _ = fit(SlowValidation(), max_epochs=1, limit_train_batches=4, val_check_interval=2)
    assert throughput.run_seconds - throughput.seconds >= 2 * 0.3
    assert trainer.callback_metrics["train/seconds"] == pytest.approx(throughput.seconds)


def test_no_training_is_no_speed():
    assert Throughput().samples_per_second == 0


@pytest.mark.parametrize(
    "when",
    [
        dict(save_on_train_epoch_end=True),
        dict(every_n_train_steps=5),  # after the last batch, before the epoch's end
        dict(every_n_train_steps=3),
    ],
)
def test_totals_go_on_after_a_resume(tmp_path, when):
    flags = dict(limit_train_batches=5, limit_val_batches=0)
    first, _, _ = fit(ModelCheckpoint(tmp_path, "last", **when), max_epochs=1, enable_checkpointing=True, **flags)
    throughput, trainer, _ = fit(max_epochs=2, resume=tmp_path / "last.ckpt", **flags)
    assert trainer.global_step == 10
    assert throughput.samples == 10 * 64
    assert throughput.seconds > first.seconds / 2
    assert throughput.run_seconds > first.seconds


def test_figures_of_a_run_are_of_all_its_epochs_not_of_those_until_the_best(tmp_path):
    flags = ["--net", "softmax", "--sample", "--max_epochs", "4", "--monitor_mode", "max", "--monitor", "val/loss"]
    cli(mnist.main, mnist.RECIPES, [*flags, "--accelerator", "cpu", "--pictures", "false", "--run_dir", str(tmp_path)])
    (run,) = tmp_path.glob("mnist/*")
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["best_epoch"], metrics["epochs"]) == (1, 4)  # the highest loss is the first
    _, seconds = read_curve(run, "train/seconds")
    assert len(seconds) == 4
    assert metrics["samples_per_second"] == pytest.approx(4 * 1293 / sum(seconds), rel=1e-3)
    assert metrics["seconds"] > sum(seconds)
