"""Modules and data that know nothing of this project, as Lightning's users write them: what a run makes of them."""

import json
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from basics.errors import InputError
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags

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


class Kept(Line):
    """Keeps its network among the hyperparameters, as in many templates."""

    def __init__(self, net):
        super().__init__()
        self.save_hyperparameters()


@pytest.mark.parametrize(
    ("model", "flags", "named"),
    [
        (Line(), {"monitor": "val/acc"}, r"monitor 'val/acc': validation logs no such metric, only val_loss"),
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
