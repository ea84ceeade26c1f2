"""Modules and data that know nothing of this project, as Lightning's users write them: what a run makes of them."""

import io
import json
import os
import re
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from basics.errors import InputError
from basics.versions import ROOT
from experiments import evaluate, export
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from harness.training.silence import hearing_of_ranks, silence_libraries
from lit_modules import Classifier

FLAGS = FitFlags(max_epochs=4, monitor="val_loss", accelerator="cpu", devices=1, enable_progress_bar=False)


class Line(LightningModule):
    """A straight line through points, with a scheduler of its own; it saves no hyperparameters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1)

    def loss(self, batch):
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)]


class Untested(Line):
    """Has nothing but a training step, and batches as dicts."""

    validation_step = LightningModule.validation_step
    test_step = LightningModule.test_step

    def loss(self, batch):
        return super().loss((batch["x"], batch["y"]))


class ByHand(Line):
    """Steps its optimizer itself, and returns nothing."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Points(LightningDataModule):
    """Points on y = 3x + 1."""

    def loader(self):
        x = torch.linspace(-1, 1, 40)[:, None]
        return DataLoader(TensorDataset(x, 3 * x + 1), batch_size=8)

    def train_dataloader(self):
        return self.loader()

    def val_dataloader(self):
        return self.loader()

    def test_dataloader(self):
        return self.loader()


class NamedPoints(LightningDataModule):
    """The same, as dicts, and nothing to evaluate."""

    def train_dataloader(self):
        x = torch.linspace(-1, 1, 40)[:, None]
        return DataLoader([{"x": each, "y": 3 * each + 1} for each in x], batch_size=8)


class Rates(Callback):
    """Keeps the learning rate of each epoch."""

    def __init__(self):
        self.rates = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What four epochs leave, and the rates that they were trained with."""
    rates = Rates()
    flags = replace(FLAGS, run_dir=str(tmp_path_factory.mktemp("runs")))
    return fit_and_test("line", Line(), Points(), flags, callbacks=[rates]), rates.rates


def test_run_has_its_files_and_figures(trained):
    run = trained[0].run
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert [path.name for path in (run / "figures").iterdir()] == ["learning_curves.png"]
    curves = EventAccumulator(str(run)).Reload()
    assert len(curves.Scalars("val_loss")) == len(curves.Scalars("train_loss")) == 4


def test_test_loss_is_that_of_the_best_weights(trained):
    result, _ = trained
    saved = torch.load(result.run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    x = torch.linspace(-1, 1, 40)
    errors = (saved["net.weight"] * x + saved["net.bias"][:, None] - (3 * x + 1)).square()
    metrics = json.loads((result.run / "metrics.json").read_text())
    assert metrics["test_loss"] == pytest.approx(errors.mean().item(), abs=1e-6)
    assert (metrics["epochs"], metrics["steps"], metrics["test_evaluations"]) == (4, 20, 1)
    assert torch.equal(result.model.net.weight, saved["net.weight"])


def test_scheduler_of_the_module_is_left_alone(trained):
    assert trained[1] == [0.1, 0.05, 0.025, 0.0125]


def test_resumed_run_equals_the_uninterrupted_one(trained, tmp_path):
    flags = replace(FLAGS, run_dir=str(tmp_path), pictures=False)
    part = fit_and_test("line", Line(), Points(), replace(flags, max_epochs=2), callbacks=[Rates()])
    whole = fit_and_test("line", Line(), Points(), replace(flags, resume=str(part.run)), callbacks=[Rates()])
    assert whole.metrics["test_loss"] == trained[0].metrics["test_loss"]
    assert torch.equal(whole.model.net.weight, trained[0].model.net.weight)


@pytest.mark.parametrize(("kind", "data"), [(Untested, NamedPoints()), (ByHand, Points())])
def test_module_that_lacks_much_is_trained_as_by_a_bare_trainer(tmp_path, kind, data):
    flags = replace(FLAGS, run_dir=str(tmp_path), monitor=None, log_every_n_steps=2, enable_progress_bar=None)
    result = fit_and_test("line", kind(), data, flags)
    assert (result.metrics["steps"], result.metrics["samples_per_second"] > 0) == (20, True)
    bare, quiet = kind(), dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    Trainer(max_epochs=4, accelerator="cpu", devices=1, enable_model_summary=False, **quiet).fit(bare, data)
    assert torch.equal(result.model.net.weight, bare.net.weight)


class Talking(Line):
    """Logs its training loss by step and by epoch, and is validated on two sets; its network has an example."""

    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(2, 1)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", self.loss(batch) + dataloader_idx * self.current_epoch)


class TwoSets(Points):
    def val_dataloader(self):
        return [self.loader(), self.loader()]


@pytest.fixture(scope="module", params=[0, 1])
def talked(tmp_path_factory, request):
    """The run of a module that logs much, by which of two sets its best epoch is chosen, and what it printed."""
    flags = replace(FLAGS, monitor=f"val_loss/dataloader_idx_{request.param}", max_epochs=3, enable_progress_bar=None)
    said = io.StringIO()
    with redirect_stdout(said):
        flags = replace(flags, run_dir=str(tmp_path_factory.mktemp("runs")))
        run = fit_and_test("line", Talking(), TwoSets(), flags, callbacks=[LearningRateMonitor("step")]).run
    return run, request.param, said.getvalue()


def test_best_epoch_is_chosen_by_one_of_two_validation_sets(talked):
    run, chosen_by, _ = talked
    best = json.loads((run / "metrics.json").read_text())["best_epoch"]
    assert best == (1 if chosen_by else 3)  # the second set's loss grows by one each epoch


def test_figure_logged_by_step_and_epoch_is_shown_once(talked):
    lines = [line for line in talked[2].splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    for line in lines:
        assert line.count("train_loss") == 1 and "train_loss_" not in line, line
        assert line.count("dataloader_idx_0") <= 1, line


def test_short_run_has_all_points_of_other_callbacks_and_the_graph(talked):
    curves = EventAccumulator(str(talked[0])).Reload()
    assert len(curves.Scalars("lr-SGD")) == len(curves.Scalars("train_loss_step")) == 15  # 3 epochs of 5 batches
    assert any("Linear[net]" in node.name for node in curves.Graph().node)


def test_own_checkpoints_go_on_in_a_run_that_was_moved(tmp_path):
    def best():
        return ModelCheckpoint(monitor="val_loss", filename="own-{epoch}")

    flags = replace(FLAGS, run_dir=str(tmp_path / "runs"), pictures=False)
    run = fit_and_test("line", Line(), Points(), replace(flags, max_epochs=2), callbacks=[best()]).run
    moved = run.rename(tmp_path / "moved")
    assert [path.name for path in moved.glob("checkpoints/own*")] == ["own-epoch=1.ckpt"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*dirpath has changed.*")
        fit_and_test("line", Line(), Points(), replace(flags, resume=str(moved), max_epochs=3), callbacks=[best()])
    # The second epoch's was the best so far, and has given way to the third's.
    assert [path.name for path in moved.glob("checkpoints/own*")] == ["own-epoch=2.ckpt"]


@pytest.mark.parametrize("tool", [evaluate, export])
def test_tools_for_our_modules_say_what_is_for_others(trained, tool, refusal):
    line = refusal(tool.main, str(trained[0].run))
    assert "best.ckpt: comes from another project or version, or holds a LightningModule of your own" in line
    assert "test it by fit_and_test or a Trainer" in line


UNREDUCED = "It is recommended to use `self.log('{}', ..., sync_dist=True)` when logging on epoch level in distributed"


@pytest.mark.parametrize(
    ("model", "name", "heard"),
    [
        (Line(), "val_loss", True),
        (Line(), "train/samples_per_second", False),  # ours, whatever the module
        (Classifier("softmax", (1, 28, 28), 10), "val/loss", False),
    ],
)
def test_what_is_not_reduced_over_ranks_is_said_of_others_modules(model, name, heard):
    with warnings.catch_warnings(record=True) as caught:
        silence_libraries()
        with hearing_of_ranks(model):
            warnings.warn(UNREDUCED.format(name), stacklevel=1)
        warnings.warn(UNREDUCED.format(name), stacklevel=1)
    assert len(caught) == heard


ON_TWO = """
import sys

from test_plain_modules import FLAGS, Line, Points, replace
from harness.tasks.launch import fit_and_test

if __name__ == "__main__":
    flags = replace(FLAGS, max_epochs=1, devices=2, run_dir=sys.argv[1], pictures=False)
    result = fit_and_test("line", Line(), Points(), flags)
    print("RESULT", result.run)
"""


@pytest.mark.slow
def test_both_ranks_return_the_run_and_hear_once_of_each_figure_that_is_not_reduced(tmp_path):
    (tmp_path / "two.py").write_text(ON_TWO)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "two.py", str(tmp_path / "runs")], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs" / "line").iterdir()  # no rank has made a second one
    assert [line for line in done.stdout.splitlines() if line.startswith("RESULT")] == [f"RESULT {run}"] * 2
    said = re.findall(r"self\.log\('(\w+)', \.\.\., sync_dist=True\)", done.stderr)
    assert sorted(said) == ["test_loss", "train_loss", "val_loss"]


class Kept(Line):
    """Keeps its network among the hyperparameters, as in many templates."""

    def __init__(self, net):
        super().__init__()
        self.save_hyperparameters()


@pytest.mark.parametrize(
    ("model", "flags", "named"),
    [
        (
            Line(),
            {"monitor": FitFlags().monitor},
            r"monitor 'val/acc': validation logs no such metric, only val_loss; name one, by --monitor val_loss, or"
            r" FitFlags\(monitor='val_loss'\) in Python; null, or None, keeps the last epoch",
        ),
        (Untested(), {}, r"monitor val_loss: Untested or Points has no validation; --monitor null"),
        (Line(), {"lr_decay": "cosine"}, r"lr_decay cosine.*: configure_optimizers has a scheduler too"),
        (Line(), {"doctor": True}, r"doctor: knows only modules and data of this project, no Line"),
        (Kept(nn.Linear(1, 1)), {}, r"hyperparameter 'net'.*save_hyperparameters\(ignore=\['net'\]\)"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_run(tmp_path, model, flags, named):
    with pytest.raises(InputError, match=named):
        fit_and_test("line", model, Points(), replace(FLAGS, run_dir=str(tmp_path), **flags))
    assert not list(tmp_path.glob("line/*"))
