"""The monitored metric: which way is better, and that it exists before training."""

import pytest
from lightning.pytorch import Trainer

from callbacks import MonitorCheck, monitor_mode
from datamodules import MNIST
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
    ],
)
def test_mode_follows_from_the_name(monitor, mode):
    assert monitor_mode(monitor) == mode


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
