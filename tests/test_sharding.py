"""`--strategy fsdp`: any net trains as it does without it, and its checkpoint is a plain one."""

import json
import subprocess
import sys

import pytest
import torch
from interrupt import ROOT, only_run
from lightning.pytorch.demos.boring_classes import BoringModel

from basics.errors import InputError
from experiments import metric_learning, mnist
from harness.command_line.cli import cli
from harness.training.sharding import check_sharded
from lit_modules import Classifier

# In a process of their own, for the process group stays. TabM is an ensemble, whose `members` are called.
ALL = """
import sys
from harness.command_line.cli import cli
import torch
from experiments import house_prices, mnist
torch.set_num_threads(1)
quick = ["--sample", "--accelerator", "cpu", "--devices", "1", "--strategy", "fsdp", "--enable_progress_bar", "false"]
for net in ("lenet5", "residual_mnist"):
    cli(mnist.main, mnist.RECIPES, [*quick, "--fast_dev_run", "--net", net, "--batch_size", "8"])
cli(house_prices.main, {}, [*quick, "--fast_dev_run", "--net", "tabm", "--folds", "0"])
cli(mnist.main, mnist.RECIPES, [*quick, *sys.argv[1:]])
cli(mnist.main, mnist.RECIPES, [*quick, *sys.argv[1:], "--resume", "auto"])
"""
FLAGS = ["--net", "mlp", "--net_args.widths", "[32]", "--max_epochs", "2", "--pictures", "false"]


@pytest.mark.slow
def test_sharded_run_equals_the_plain_one(tmp_path):
    flags = [*FLAGS, "--run_dir", str(tmp_path / "sharded")]
    command = [sys.executable, "-c", ALL, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    plain = [*FLAGS, "--sample", "--accelerator", "cpu", "--run_dir", str(tmp_path / "plain")]
    cli(mnist.main, mnist.RECIPES, plain)
    runs = sorted((tmp_path / "sharded" / "mnist").iterdir())
    assert len(runs) == 2  # the first was finished, so that the second one is new
    other = only_run(tmp_path / "plain")
    model = Classifier.load_from_checkpoint(other / "checkpoints" / "best.ckpt", weights_only=True)
    for run in runs:
        sharded = Classifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(sharded.state_dict()[name], weight, rtol=0, atol=1e-6)
        metrics = [json.loads((folder / "metrics.json").read_text())["test/loss"] for folder in (run, other)]
        assert metrics[0] == pytest.approx(metrics[1], abs=2e-6)


MUON = """
import sys
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from lit_modules.muon import Muon

def trained(sharded):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(96, 5), nn.ReLU(), nn.Linear(5, 3))
    if sharded:
        fully_shard(net)
    weights = list(net.parameters())
    optimizer = Muon(weights, [weights[0], weights[2]], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(4, 1, 6, 6)).square().sum().backward()
        optimizer.step()
    return [weight.full_tensor() if sharded else weight for weight in weights]

distributed.init_process_group("gloo")
for one, other in zip(trained(False), trained(True), strict=True):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_muon_moves_weights_in_parts_as_it_moves_whole_ones(tmp_path):
    script = tmp_path / "muon.py"
    script.write_text(MUON)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_losses_with_weights_of_their_own_are_refused(tmp_path, capsys):
    flags = [
        "--sample",
        "--accelerator",
        "cpu",
        "--devices",
        "1",
        "--net",
        "mlp",
        "--strategy",
        "fsdp",
        "--fast_dev_run",
    ]
    with pytest.raises(SystemExit) as stop:
        cli(metric_learning.main, metric_learning.RECIPES, [*flags, "--loss", "softmax", "--run_dir", str(tmp_path)])
    assert stop.value.code == 2
    assert "this --loss has weights beside it" in capsys.readouterr().err


def test_module_without_a_net_is_refused():
    with pytest.raises(InputError, match="shards what a module calls `net`, and BoringModel has none"):
        check_sharded(BoringModel())


@pytest.mark.slow
def test_optimizer_without_a_state_is_refused(tmp_path):
    flags = [*FLAGS, "--optimizer", "sgd", "--momentum", "0", "--strategy", "fsdp", "--run_dir", str(tmp_path)]
    command = [sys.executable, "experiments/mnist.py", "--sample", "--accelerator", "cpu", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "error: --strategy fsdp: needs an optimizer with a state; give sgd a --momentum"
    )
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize(("flag", "value"), [("ema", "0.9"), ("swa", "0.5"), ("l1", "0.1")])
def test_what_needs_whole_weights_is_refused(tmp_path, capsys, flag, value):
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, {}, ["--sample", "--strategy", "fsdp", f"--{flag}", value, "--run_dir", str(tmp_path)])
    assert stop.value.code == 2
    assert f"--{flag}" in capsys.readouterr().err
    assert not list(tmp_path.glob("mnist/*"))
