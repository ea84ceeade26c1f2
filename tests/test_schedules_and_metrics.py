"""Own learning-rate schedules and own metrics: found by name, exact, and refused in one line where they are wrong."""

import json
import sys
from functools import cache

import numpy as np
import pytest
import torch
from interrupt import only_run
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score, median_absolute_error
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

import callbacks.schedules
import lit_modules.metrics
from basics.errors import InputError
from callbacks import LRDecay
from datamodules import samples
from experiments import mnist
from harness.command_line.cli import cli
from lit_modules import Classifier, Regressor
from lit_modules.metrics import build_metrics

QUICK = ["--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false", "--batch_size", "500"]
ROOT_DECAY = "__all__ = ['root_decay']\ndef root_decay(progress):\n    return (1 - progress) ** 0.5\n"
MEDIAN = """
import torch
from torchmetrics import Metric
__all__ = ["Median_Error"]
class Median_Error(Metric):
    def __init__(self, num_outputs):
        super().__init__()
        self.add_state("errors", default=[], dist_reduce_fx="cat")
    def update(self, outputs, targets):
        self.errors.append((outputs - targets).abs())
    def compute(self):
        return torch.cat(self.errors).quantile(0.5)
"""


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Puts a file of this content beside those of a package, for one test."""

    def write(package, name, text):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.setattr(package, "_files", cache(package._files.__wrapped__))  # an empty cache
        sys.modules.pop(f"{package.__name__}.{name}", None)  # an earlier test's
        (tmp_path / f"{name}.py").write_text(text)

    return write


def test_schedule_in_one_file_is_the_learning_rate_of_each_step(bring, tmp_path):
    bring(callbacks.schedules, "brought_schedule", ROOT_DECAY)
    flags = ["--lr_decay", "root_decay", "--lr", "0.02", "--max_epochs", "3", "--run_dir", str(tmp_path)]
    cli(mnist.main, {}, [*QUICK, *flags, "--log_every_n_steps", "1"])
    points = EventAccumulator(str(only_run(tmp_path))).Reload().Scalars("step/lr")
    assert [point.value for point in points] == pytest.approx([0.02 * (1 - step / 9) ** 0.5 for step in range(9)])


def test_schedule_begins_after_the_warm_up(bring):
    bring(callbacks.schedules, "brought_schedule", ROOT_DECAY)
    decay = LRDecay("root_decay")
    assert [decay.factor(step, 10, 2) for step in (0, 1, 2, 6)] == [0.5, 1.0, 1.0, 0.5**0.5]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (ROOT_DECAY.replace("1 - progress", "progress - 2"), "complex"),
        (ROOT_DECAY.replace("(1 - progress) ** 0.5", "0.5 - progress"), "is -0.01 at progress 0.51"),
        (ROOT_DECAY.replace("(1 - progress) ** 0.5", "1 / progress"), "at progress 0: ZeroDivisionError"),
        (ROOT_DECAY.replace("def", "df"), "line 2: SyntaxError"),
        ("def root_decay(progress):\n    return 1.0\n", "has no __all__ that names its schedules"),
    ],
)
def test_schedule_that_gives_no_rate_is_one_line(bring, text, named):
    bring(callbacks.schedules, "root_decay", text)
    with pytest.raises(InputError, match=named):
        LRDecay("root_decay")


def test_metrics_of_validation_and_test_are_those_of_all_samples(tmp_path):
    flags = ["--metrics", "macro_f1, top5_acc", "--monitor", "val/macro_f1", "--max_epochs", "2"]
    cli(mnist.main, {}, [*QUICK, *flags, "--run_dir", str(tmp_path)])
    run = only_run(tmp_path)
    model = Classifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", map_location="cpu").eval()
    digits = samples.digits()
    with torch.no_grad():
        logits = model(torch.from_numpy(digits.test_images)[:, None] / 255).numpy()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/macro_f1"] == pytest.approx(
        f1_score(digits.test_labels, logits.argmax(1), average="macro"), abs=1e-5
    )
    among = (np.argsort(-logits, axis=1)[:, :5] == digits.test_labels[:, None]).any(1)
    assert metrics["test/top5_acc"] == pytest.approx(among.mean(), abs=1e-5)
    curves = EventAccumulator(str(run)).Reload()
    assert max(point.value for point in curves.Scalars("val/macro_f1")) == pytest.approx(
        metrics["val/macro_f1"], abs=1e-5
    )


def test_metric_in_one_file_that_is_no_mean_of_batches(bring):
    bring(lit_modules.metrics, "brought_metric", MEDIAN)
    draws = torch.Generator().manual_seed(0)
    rows, targets = torch.rand(11, 3, generator=draws), 1000 + torch.rand(11, generator=draws)
    model = Regressor("mlp", (3,), mean=1000.0, std=2.0, metrics="median_error")
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
    batches = DataLoader(TensorDataset(rows, targets), batch_size=4)  # batches of 4, 4 and 3
    for _ in range(2):  # the second time as if there had been no first
        (scores,) = trainer.test(model, batches, verbose=False)
        with torch.no_grad():
            expected = median_absolute_error(targets, model.eval()(rows))
        assert scores["test/median_error"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        ("macro_f2", "metrics 'macro_f2': no such metric; did you mean macro_f1"),
        ("median_error", "metrics median_error: TypeError"),
        ("number", "metrics number: makes a int; it must make a torchmetrics.Metric"),
    ],
)
def test_metric_that_is_none_is_one_line(bring, names, named):
    text = MEDIAN.replace("(self, num_outputs)", "(self)")
    text = text.replace('["Median_Error"]', '["Median_Error", "number"]')
    bring(lit_modules.metrics, "brought_metric", text + "def number(num_outputs):\n    return num_outputs\n")
    with pytest.raises(InputError, match=named):
        build_metrics(names, 10)


def test_metric_of_several_numbers_is_named(bring):
    bring(lit_modules.metrics, "brought_metric", MEDIAN.replace(".quantile(0.5)", ""))
    (metric,) = build_metrics("median_error", 1).values()
    metric.update(torch.zeros(3), torch.ones(3))
    with pytest.raises(InputError, match="metrics median_error: its compute gives 3 numbers"):
        lit_modules.metrics.read("median_error", metric)
