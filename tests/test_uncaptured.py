"""`--capture` if a step cannot be recorded, or not in one piece: the run ends like an eager one, and a line says why.

All use the stand-in for CUDA graphs, except the run that is told it has no GPU.
"""

from dataclasses import replace

import pytest
import torch
from interrupt import assert_same_weights, only_run
from lightning.pytorch import LightningModule
from strict_graphs import StrictGraphs
from torch import nn

import callbacks.capture
import lit_modules.nets as package
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags

EPOCHS = 5  # the last batch of each is shorter: it comes often enough to be recorded in the fourth
QUICK = ["--sample", "--accelerator", "cpu", "--pictures", "false", "--batch_size", "200", "--lr", "0.01"]
QUICK += ["--max_epochs", str(EPOCHS), "--optimizer", "adamw"]
EAGERLY = "capture: the step runs eagerly, for "


class Pooled(nn.Module):
    """Takes images of any size."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.filters, self.linear = nn.Conv2d(input_shape[0], 4, 3), nn.Linear(4, num_outputs)

    def forward(self, x):
        return self.linear(self.filters(x).relu().mean((2, 3)))  # (B, num_outputs)


class Brightened(Pooled):
    """Looks at what it gets before it decides."""

    def forward(self, x):
        return super().forward(x if x.mean() > 0 else 2 * x)


class Watched(Pooled):
    """Keeps the number of batches that a layer has seen."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.seen = 0
        self.filters.register_forward_hook(self.count)

    def count(self, *unused):
        self.seen += 1


@pytest.fixture(autouse=True)
def own_nets(monkeypatch):
    nets = package.nets() | {"pooled": Pooled, "brightened": Brightened, "watched": Watched}
    monkeypatch.setattr(package, "nets", lambda: nets)


@pytest.fixture
def graphs(monkeypatch):
    """The stand-ins that are made."""
    made = []

    def graphs_of(trainer):
        made.append(StrictGraphs(trainer.lightning_module))
        return made[-1]

    monkeypatch.setattr(callbacks.capture, "graphs_of", graphs_of)
    return made


def replays(graphs):
    return sum(each.replays for each in graphs)


def lines_of(tmp_path, capsys, *flags):
    """What a run with these flags says of capture, whose weights are those of the eager run."""
    cli(mnist.main, {}, [*QUICK, *flags, "--capture", "false", "--run_dir", str(tmp_path / "eager")])
    assert "capture:" not in capsys.readouterr().out
    cli(mnist.main, {}, [*QUICK, *flags, "--capture", "true", "--run_dir", str(tmp_path / "asked")])
    assert_same_weights(only_run(tmp_path / "eager"), only_run(tmp_path / "asked"))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("capture:")]


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        ("brightened", "it waits for a number from the device (_local_scalar_dense)"),
        ("watched", "Conv2d has a hook, which a graph would not call"),
    ],
)
def test_net_that_cannot_be_recorded(tmp_path, capsys, graphs, net, reason):
    assert lines_of(tmp_path, capsys, "--net", net) == [EAGERLY + reason]
    assert replays(graphs) == 0


def test_batches_and_images_of_other_sizes_have_graphs_of_their_own(tmp_path, capsys, graphs):
    shapes = {"whole": 6, "shorter": 1}  # of a sample's 1,293 images, by 200
    assert lines_of(tmp_path / "same", capsys, "--net", "pooled") == []
    assert replays(graphs) == sum(EPOCHS * count - 3 for count in shapes.values())
    graphs.clear()
    assert lines_of(tmp_path / "grow", capsys, "--net", "pooled", "--augment", "grow:16") == []
    heights = {each.shape[2] for made in graphs for each in made.inputs if each.ndim == 4}
    assert {16, 28} <= heights and replays(graphs) > 0


def test_where_there_is_no_gpu(tmp_path, capsys):
    assert lines_of(tmp_path, capsys, "--net", "pooled") == [EAGERLY + "graphs are CUDA's, and this is cpu"]


def test_nothing_is_said_where_nobody_asked(tmp_path, capsys):
    cli(mnist.main, {}, [*QUICK, "--net", "pooled", "--run_dir", str(tmp_path)])
    assert "capture" not in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["true", "max-autotune"])
def test_compiled_net(tmp_path, capsys, graphs, monkeypatch, mode):
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: None)  # takes a minute
    assert lines_of(tmp_path, capsys, "--net", "pooled", "--compile", mode) == [EAGERLY + "the network is compiled"]
    assert replays(graphs) == 0


class Plain(LightningModule):
    """A module as Lightning's users write them."""

    metrics = ("loss",)

    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
        self.example_input_array = torch.zeros(2, 1, 28, 28)

    def loss(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch, batch_idx):
        self.log_dict({"test/loss": self.loss(batch), "test/samples": 360.0})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def test_module_without_learn(tmp_path, capsys, graphs):
    for capture in (False, True):
        torch.manual_seed(0)
        data = MNIST(batch_size=200, sample=True)
        data.setup()
        flags = FitFlags(max_epochs=1, monitor="val/loss", accelerator="cpu", pictures=False, capture=capture)
        fit_and_test("plain", Plain(), data, replace(flags, run_dir=str(tmp_path / str(capture))))
    assert_same_weights(only_run(tmp_path / "False"), only_run(tmp_path / "True"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("capture:")]
    assert lines == [EAGERLY + "Plain has no `learn` that could be recorded"]
    assert replays(graphs) == 0
