"""Own callbacks and loggers, from a script and by `--callbacks` and `--loggers`: what they get, and what is refused."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from interrupt import assert_same_weights, only_run
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, Timer
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from basics.errors import InputError
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from harness.training.own_parts import own_parts
from lit_modules import Classifier

QUICK = ["--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false", "--batch_size", "500"]
FLAGS = FitFlags(max_epochs=3, accelerator="cpu", pictures=False, enable_progress_bar=False)
MONITOR = "lightning.pytorch.callbacks.LearningRateMonitor"


class Growing(Callback):
    """Multiplies each gradient by the number of steps that it has seen: a state on which the weights depend."""

    def __init__(self):
        self.seen = 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen += 1
        for parameter in pl_module.parameters():
            parameter.grad *= self.seen

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class Unsaved(Callback):
    """Keeps what no checkpoint can hold without code."""

    def state_dict(self):
        return {"path": Path("somewhere")}


def train(folder, *callbacks, **flags):
    torch.manual_seed(0)
    data = MNIST(batch_size=500, sample=True)
    data.setup()
    model = Classifier("softmax", data.input_shape, 10, lr=0.001)
    return fit_and_test("mnist", model, data, replace(FLAGS, run_dir=str(folder), **flags), callbacks).run


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run of two epochs with a callback of the script."""
    return train(tmp_path_factory.mktemp("runs"), Growing(), max_epochs=2)


def test_flags_name_callbacks_and_loggers_with_their_arguments(tmp_path):
    named = FitFlags(
        callbacks=f'{MONITOR}(logging_interval="epoch"), lightning.pytorch.callbacks.Timer("00:02:00:00")',
        loggers='lightning.pytorch.loggers.CSVLogger(name="csv")',
    )
    (monitor, timer), (logger,) = own_parts(named, tmp_path)
    assert (type(monitor), monitor.logging_interval) == (LearningRateMonitor, "epoch")
    assert (type(timer), timer.time_remaining()) == (Timer, 2 * 60 * 60)
    assert (type(logger), logger.log_dir) == (CSVLogger, str(tmp_path / "csv" / "version_0"))


def test_run_with_both_is_resumed_with_both(tmp_path):
    begin = [*QUICK, "--run_dir", str(tmp_path), "--max_epochs", "1", "--log_every_n_steps", "1"]
    own = ["--callbacks", MONITOR, "--loggers", "lightning.pytorch.loggers.CSVLogger"]
    cli(mnist.main, mnist.RECIPES, [*begin, *own])
    run = only_run(tmp_path)
    assert yaml.safe_load((run / "config.yaml").read_text())["callbacks"] == MONITOR
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2"])
    tables = sorted(run.glob("lightning_logs/version_*/metrics.csv"))
    assert all("val/acc" in table.read_text().splitlines()[0] for table in tables)
    assert len(tables) == 2
    curves = EventAccumulator(str(run)).Reload()
    theirs, ours = ({point.step: point.value for point in curves.Scalars(tag)} for tag in ("lr-SGD", "step/lr"))
    assert theirs == ours
    assert len(ours) == 2 * 3  # 1,293 images, by 500


def test_state_of_a_callback_continues_in_a_resumed_run(grown, tmp_path):
    whole = train(tmp_path / "whole", Growing())
    train(tmp_path, Growing(), resume=str(grown))
    assert_same_weights(whole, grown)
    saved = torch.load(grown / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert {"seen": 9} in saved.values()


@pytest.mark.parametrize("callbacks", [[], [LearningRateMonitor()], [Growing(), LearningRateMonitor()]])
def test_run_is_not_resumed_with_other_callbacks_of_the_script(grown, tmp_path, callbacks):
    with pytest.raises(InputError, match=r"callbacks of the script \[.*: .* was started with \['.*Growing'\]"):
        train(tmp_path, *callbacks, resume=str(grown))


def test_run_is_not_resumed_with_other_callbacks_of_the_command_line(grown, tmp_path):
    with pytest.raises(InputError, match=rf"--callbacks {MONITOR}: .* was started with '', and keeps that"):
        train(tmp_path, Growing(), resume=str(grown), callbacks=MONITOR)


def test_state_that_no_checkpoint_can_hold_is_named_before_training(tmp_path):
    with pytest.raises(InputError, match="Unsaved: its state_dict cannot be read back"):
        train(tmp_path, Unsaved())
    assert not list(tmp_path.glob("mnist/*"))


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [
        ("callbacks", "os.system('touch here')", "os.system: may not be imported; only classes in basics, callbacks"),
        ("callbacks", "sneaky.Mine", "sneaky.Mine: may not be imported"),
        ("callbacks", "lightning.pytorch.Trainer", "may not be imported"),
        ("callbacks", "lightning.pytorch.callbacks_of_mine.Mine", "may not be imported"),
        ("callbacks", "callbacks.lr_decay.Nothing", "callbacks.lr_decay.Nothing: there is no Nothing in it"),
        ("callbacks", "callbacks.nothing.Nothing", "ModuleNotFoundError"),
        ("callbacks", "callbacks.lr_decay.math", "callbacks.lr_decay.math: is not a Callback"),
        ("callbacks", "lit_modules.Classifier", "lit_modules.Classifier: is not a Callback"),
        ("callbacks", "callbacks.LRDecay(open('x'))", "arguments must be plain"),
        ("callbacks", "callbacks.LRDecay(*[1])", "arguments must be plain"),
        ("callbacks", "__import__('os').system('touch here')", "expected import paths"),
        ("callbacks", "[callbacks.LRDecay for x in y]", "expected import paths"),
        ("callbacks", "(" * 300 + "a" + ")" * 300, "expected import paths"),
        ("callbacks", "LRDecay", "LRDecay: is no import path; did you mean callbacks.LRDecay?"),
        ("callbacks", "EarlyStopping", "did you mean lightning.pytorch.callbacks.EarlyStopping?"),
        ("loggers", "CSVLogger(name='csv')", "did you mean lightning.pytorch.loggers.CSVLogger?"),
        ("callbacks", "Mine", "Mine: is no import path; it takes one such as lightning.pytorch.callbacks.Timer("),
        ("callbacks", "callbacks.LRDecay(schedul='cosine')", "unexpected keyword argument 'schedul'"),
        ("callbacks", "callbacks.LRDecay, callbacks.LRDecay", "more than one stateful callback"),
        ("loggers", "lightning.pytorch.callbacks.Timer", "lightning.pytorch.callbacks.Timer: is not a Logger"),
    ],
)
def test_what_is_no_callback_or_may_not_be_imported_is_one_line(refusal, tmp_path, monkeypatch, flag, value, named):
    (tmp_path / "sneaky.py").write_text("import pathlib; pathlib.Path('here').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    line = refusal(mnist.main, *QUICK, f"--{flag}={value}")
    assert named in line
    assert not (tmp_path / "here").exists() and "sneaky" not in sys.modules
