"""`--compile` and torch's modes, from the command line. Only the slow test compiles; the others record the calls."""

import pytest
import torch
import yaml
from interrupt import only_run
from torch import nn

from experiments import mnist
from harness.command_line.cli import cli
from harness.training.compiling import compile_mode
from lit_modules import Regressor

QUICK = ["--sample", "--net", "mlp", "--net_args.widths", "[16]", "--accelerator", "cpu", "--pictures", "false"]
SHORT = ["--max_epochs", "1", "--limit_train_batches", "2", "--limit_val_batches", "1"]


@pytest.fixture
def modes(monkeypatch):
    """Those that networks are compiled in, which then stay as they are."""
    asked = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: asked.append(mode))
    return asked


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        (["--compile"], "default"),
        (["--compile", "true"], "default"),
        (["--compile", "default"], "default"),
        (["--compile=max-autotune"], "max-autotune"),
        (["--compile", "reduce-overhead"], "reduce-overhead"),
        (["--compile", "max-autotune-no-cudagraphs"], "max-autotune-no-cudagraphs"),
    ],
)
def test_flag_is_a_mode_of_torch(tmp_path, modes, flags, mode):
    cli(mnist.main, mnist.RECIPES, [*QUICK, *SHORT, *flags, "--run_dir", str(tmp_path)])
    assert modes == [mode]
    config = only_run(tmp_path) / "config.yaml"
    cli(mnist.main, mnist.RECIPES, ["--config", str(config), "--run_dir", str(tmp_path / "again")])
    assert modes == [mode, mode]


@pytest.mark.parametrize("flags", [[], ["--compile", "false"]])
def test_nothing_is_compiled_unless_asked(tmp_path, modes, flags):
    cli(mnist.main, mnist.RECIPES, [*QUICK, *SHORT, *flags, "--run_dir", str(tmp_path)])
    assert modes == []


def test_unknown_mode_is_one_line_with_the_names(refusal):
    line = refusal(mnist.main, *QUICK, "--compile", "max-autotun")
    assert "compile mode 'max-autotun'" in line and "did you mean max-autotune?" in line
    assert all(mode in line for mode in ("default", "reduce-overhead", "max-autotune-no-cudagraphs"))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"])
def test_modes_are_those_that_torch_takes(mode):
    assert compile_mode(mode) == mode
    torch.compile(nn.Linear(1, 1), mode=mode)  # refuses others; compiles at the first call only


@pytest.mark.slow
def test_compiled_run_keeps_the_plain_names(tmp_path):
    cli(mnist.main, mnist.RECIPES, [*QUICK, *SHORT, "--compile", "--run_dir", str(tmp_path / "compiled")])
    cli(mnist.main, mnist.RECIPES, [*QUICK, *SHORT, "--run_dir", str(tmp_path / "plain")])
    states = [
        torch.load(only_run(tmp_path / name) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("compiled", "plain")
    ]
    assert states[0].keys() == states[1].keys()
    for name, weight in states[1].items():
        torch.testing.assert_close(states[0][name], weight, rtol=0, atol=1e-4)


def test_runs_of_before_have_true_or_false(tmp_path, modes):
    cli(mnist.main, mnist.RECIPES, [*QUICK, *SHORT, "--compile", "--run_dir", str(tmp_path)])
    assert yaml.safe_load((only_run(tmp_path) / "config.yaml").read_text())["compile"] is True


@pytest.mark.parametrize("net", ["mlp", "tabm"])
def test_network_of_a_table_is_compiled_in_training(net):
    """An ensemble too, whose members are trained one by one."""
    graphs = []
    model = Regressor(net, (4,))
    model.net.compile(backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    model.training_step((torch.zeros(5, 4), torch.zeros(5)), 0)
    assert graphs
