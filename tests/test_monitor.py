"""The monitored metric: which way is better, and that it exists before training."""

import pytest
import torch
from lightning.pytorch import Trainer

from callbacks import BestCheckpoint, EarlyStop, LRDecay, MonitorCheck, monitor_mode
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.comparing.run_files import lower_is_better
from lit_modules import Classifier


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val/loss", "min"),
        ("val/rmse", "min"),
        ("val/mse", "min"),
        ("val/mae", "min"),
        ("val/log_rmse", "min"),
        ("test/error", "min"),
        ("val/acc", "max"),
        ("val/f1", "max"),
        ("val/r2", "max"),
        ("val/perplexity", "min"),
        ("val/nll", "min"),
        ("val/fid", "min"),
        ("val/cross_entropy", "min"),
        ("val/top5_error", "min"),
        ("val/TotalLoss", "min"),
        ("loss/val", "min"),
        ("val/mape", "min"),
        ("val/map_at_r", "max"),
        ("val/MulticlassAccuracy", "max"),
        ("val/precision_at_1", "max"),
        ("val/macro_f1", "max"),
        ("val/acc_loss", "min"),  # a loss, whatever it is of
        ("seconds", "min"),
    ],
)
def test_mode_follows_from_the_name(monitor, mode):
    assert monitor_mode(monitor) == mode
    assert lower_is_better(monitor) == (mode == "min")  # in compare.py and sweep.py, without torch


def test_unknown_names_ask_for_the_mode():
    with pytest.raises(ValueError, match=r"'val/fluency'.*--monitor_mode min or --monitor_mode max"):
        monitor_mode("val/fluency")
    assert monitor_mode("val/fluency", "min") == "min"
    assert monitor_mode("val/loss", "max") == "max"  # what is said goes before
    with pytest.raises(ValueError, match="monitor_mode 'lowest': must be min or max"):
        monitor_mode("val/loss", "lowest")


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_the_mode_reaches_each_callback(tmp_path, mode, sign):
    assert EarlyStop("val/fluency", 3, mode).mode == mode
    assert BestCheckpoint(tmp_path, "val/fluency", mode).mode == mode
    assert LRDecay("plateau", monitor="val/fluency", mode=mode).sign == sign
    for make in (
        lambda: EarlyStop("val/fluency", 3),
        lambda: BestCheckpoint(tmp_path, "val/fluency"),
        lambda: LRDecay("plateau", monitor="val/fluency"),
    ):
        with pytest.raises(ValueError, match="--monitor_mode"):
            make()


def test_runs_say_which_way_their_own_metric_is_better():
    flags = {"monitor": "val/fluency", "monitor_mode": "min"}
    assert lower_is_better("test/fluency", flags)
    assert not lower_is_better("test/acc", flags)
    assert not lower_is_better("test/loss", {"monitor": "val/loss", "monitor_mode": "max"})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--monitor", "val/fluency"], "--monitor_mode min or --monitor_mode max"),
        (["--monitor_mode", "lowest"], "monitor_mode 'lowest': must be min or max"),
    ],
)
def test_scripts_refuse_before_training_and_leave_nothing(tmp_path, refusal, flags, said):
    quiet = [*"--sample --accelerator cpu --net softmax --pictures false --run_dir".split(), str(tmp_path / "runs")]
    assert said in refusal(mnist.main, *quiet, *flags, recipes=mnist.RECIPES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_best_epoch_is_chosen_as_the_mode_says(tmp_path):
    """The lowest accuracy is of the first epoch, which here becomes the model."""
    flags = ["--sample", "--accelerator", "cpu", "--net", "softmax", "--max_epochs", "3", "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, [*flags, "--pictures", "false", "--monitor_mode", "min"])
    (best,) = tmp_path.rglob("best.ckpt")
    assert torch.load(best, weights_only=True)["epoch"] == 0


def trainer_with(monitor):
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        limit_train_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MonitorCheck(monitor)],
    )


def test_unlogged_metric_stops_before_the_first_step():
    trainer = trainer_with("val/f1")
    with pytest.raises(ValueError, match=r"'val/f1'.*val/acc, val/loss"):
        trainer.fit(Classifier("softmax", (1, 28, 28), 10), MNIST(sample=True))
    assert trainer.global_step == 0


def test_logged_metric_trains():
    trainer = trainer_with("val/acc")
    trainer.fit(Classifier("softmax", (1, 28, 28), 10), MNIST(sample=True))
    assert trainer.global_step == 2


def test_rounds_that_are_not_finite_count_as_without_improvement():
    """As when steps are skipped; otherwise FiniteGuard has ended the run."""
    stop = EarlyStop("val/loss", 2)
    outcomes = [stop._evaluate_stopping_criteria(torch.tensor(value))[0] for value in (1.0, float("nan"), 0.5)]
    assert outcomes == [False, False, False]
    assert [stop._evaluate_stopping_criteria(torch.tensor(float("nan")))[0] for _ in range(2)] == [False, True]
