"""optimizers.py: each optimizer's first step computed by hand, the same batches for all, schedules, and bad flags.

lit_modules/optimizers.py has the same name; tests/test_optimizers.py tests that one.
"""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch

import lit_modules.optimizers
from datamodules import MNIST
from experiments import optimizers
from experiments.fundamentals.update_rules import RULES, print_rules
from experiments.optimizers import RATES, lowest, train
from harness.command_line.cli import cli
from lit_modules.optimizers import build_optimizer

ROOT = Path(__file__).parents[1]
START, GRADIENT = 2.0, 3.0
LR = {name: options["lr"] for name, options in RATES.items()}

FIRST_STEPS = {  # from START with GRADIENT, as torch's documentation writes them; states begin at 0
    "sgd": START - LR["sgd"] * GRADIENT,
    "momentum": START - LR["momentum"] * GRADIENT,  # the velocity begins as the gradient
    "nesterov": START - LR["nesterov"] * (GRADIENT + 0.9 * GRADIENT),
    "adagrad": START - LR["adagrad"] * GRADIENT / (math.sqrt(GRADIENT**2) + 1e-10),
    "rmsprop": START - LR["rmsprop"] * GRADIENT / (math.sqrt(0.01 * GRADIENT**2) + 1e-8),
    "adadelta": START - LR["adadelta"] * math.sqrt(1e-6) / math.sqrt(0.1 * GRADIENT**2 + 1e-6) * GRADIENT,
    "adam": START - LR["adam"] * GRADIENT / (GRADIENT + 1e-8),  # both moments without bias
    "adamw": START * (1 - LR["adamw"] * 0.01) - LR["adamw"] * GRADIENT / (GRADIENT + 1e-8),
    "muon": START - LR["muon"] * GRADIENT / (GRADIENT + 1e-8),  # Adam, for what is no hidden matrix
}


@pytest.fixture(scope="module")
def data():
    digits = MNIST(batch_size=256, sample=True)
    digits.setup()
    return digits


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The metrics and the directory of a short run of everything."""
    folder = tmp_path_factory.mktemp("runs")
    metrics = cli(optimizers.main, None, ["--max_epochs", "3", "--batch_size", "128", "--run_dir", str(folder)])
    (path,) = folder.glob("optimizers/*")
    return metrics, path


@pytest.mark.parametrize("name", RATES)
def test_first_step_is_the_one_computed_by_hand(name):
    w = torch.tensor([START], dtype=torch.float64, requires_grad=True)
    w.grad = torch.tensor([GRADIENT], dtype=torch.float64)
    build_optimizer(name, [w], **RATES[name]).step()
    assert w.item() == pytest.approx(FIRST_STEPS[name], rel=1e-12)


def test_every_optimizer_of_the_project_has_a_rate_and_a_rule():
    assert set(RATES) == set(RULES) == set(lit_modules.optimizers.OPTIMIZERS)


def test_table_of_rules_has_the_first_steps_computed_by_hand_in_80_columns(capsys):
    print_rules(RATES)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    printed = {line.split()[0]: float(line.split()[-1]) for line in lines if line.split() and line.split()[0] in RATES}
    assert printed == pytest.approx(FIRST_STEPS, abs=1e-6)


# The rules as they are printed, with the little that is added to what is divided by or put under a root.
def after_three_steps(name, gradients):
    w, lr, v, m, s, u = START, LR[name], 0.0, 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        if name in ("momentum", "nesterov"):
            v = 0.9 * v + g
            w -= lr * (v if name == "momentum" else g + 0.9 * v)
        elif name in ("adagrad", "rmsprop"):
            s = s + g**2 if name == "adagrad" else 0.99 * s + 0.01 * g**2
            w -= lr * g / (math.sqrt(s) + 1e-8)
        elif name == "adadelta":
            s = 0.9 * s + 0.1 * g**2
            d = g * math.sqrt((u + 1e-6) / (s + 1e-6))
            w -= lr * d
            u = 0.9 * u + 0.1 * d**2
        elif name in ("adam", "adamw", "muon"):
            betas = (0.9, 0.95) if name == "muon" else (0.9, 0.999)
            m, s = betas[0] * m + (1 - betas[0]) * g, betas[1] * s + (1 - betas[1]) * g**2
            w -= lr * 0.01 * w if name == "adamw" else 0
            w -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(s / (1 - betas[1] ** t)) + 1e-8)
        else:
            w -= lr * g
    return w


@pytest.mark.parametrize("name", RATES)
def test_rules_are_what_the_optimizers_do_in_three_steps(name):
    gradients = (3.0, -1.0, 0.5)
    w = torch.tensor([START], dtype=torch.float64, requires_grad=True)
    optimizer = build_optimizer(name, [w], **RATES[name])
    for gradient in gradients:
        w.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert w.item() == pytest.approx(after_three_steps(name, gradients), rel=1e-8)


def test_two_modules_of_one_name_stay_apart():
    assert Path(optimizers.__file__) == ROOT / "experiments" / "optimizers.py"
    assert Path(lit_modules.optimizers.__file__) == ROOT / "lit_modules" / "optimizers.py"


def test_checksum_is_of_the_batches_in_their_order(data):
    seen, digits = hashlib.sha256(), MNIST(batch_size=256, sample=True)
    digits.setup()
    for images, labels in digits.train_dataloader():
        seen.update(images.numpy().tobytes())
        seen.update(labels.numpy().tobytes())
    assert train(data, "adam", 1, 0, lr=0.001).checksum() == seen.hexdigest()[:16]


def test_runs_see_the_same_batches_whatever_the_optimizer_and_others_with_another_seed(data):
    one, two = (train(data, name, 2, 0, **RATES[name]) for name in ("sgd", "muon"))
    other = MNIST(batch_size=256, sample=True, seed=1)
    other.setup()
    assert one.checksum() == two.checksum()
    assert train(other, "sgd", 2, 0, **RATES["sgd"]).checksum() != one.checksum()


def test_all_runs_of_the_script_saw_the_same_batches_and_learned(run):
    metrics, path = run
    assert len(metrics["batches"]) == 16
    assert set(metrics["curves"]) == {*RATES, "constant", "step", "linear", "cosine", "onecycle", "plateau"}
    for curves in metrics["curves"].values():
        assert len(curves["train/loss"]) == len(curves["val/acc"]) == 3
        assert curves["train/loss"][-1] < curves["train/loss"][0]
    assert json.loads((path / "metrics.json").read_text())["curves"] == metrics["curves"]
    for name in ("optimizers", "schedules"):
        assert (path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "low", "high"), [("muon", 0, 3e-4), ("nesterov", 3e-4, 3e-3), ("rmsprop", 0.01, 0.04)]
)
def test_losses_of_the_default_run_are_those_of_the_header(name, low, high):
    digits = MNIST(batch_size=64, sample=True)
    digits.setup()
    curves = train(digits, name, 15, 0, **RATES[name])
    assert low < curves.losses[-1] < high
    assert 0.93 < curves.accuracies[-1] < 0.98


def test_schedules_change_the_rate_as_they_say(run):
    rates = {name: curves["rates"] for name, curves in run[0]["curves"].items()}
    steps, peak = len(rates["constant"]), RATES["momentum"]["lr"]
    assert rates["constant"] == [peak] * steps
    assert rates["step"][-1] == pytest.approx(peak / 100)  # a tenth at half and at three quarters of the run
    assert rates["linear"] == pytest.approx([peak * (1 - step / steps) for step in range(steps)])
    assert rates["cosine"] == pytest.approx(
        [peak * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    )
    assert rates["onecycle"][0] == pytest.approx(peak / 25)
    assert max(rates["onecycle"]) == pytest.approx(peak, rel=0.05)


def test_constant_schedule_is_the_plain_run(run):
    curves = run[0]["curves"]
    assert curves["constant"] == curves["momentum"]


def test_sweep_names_the_rate_of_the_lowest_loss(tmp_path):
    flags = ["--optimizer", "sgd", "--sweep", "--max_epochs", "2", "--batch_size", "256", "--run_dir", str(tmp_path)]
    metrics = cli(optimizers.main, None, flags)
    losses = metrics["val_losses"]["sgd"]
    assert list(losses) == pytest.approx([LR["sgd"] * factor for factor in (0.1, 0.3, 1, 3, 10)])
    assert losses[metrics["sgd/lr"]] == min(losses.values())
    assert lowest({1.0: math.nan, 2.0: 5.0, 3.0: 4.0}) == 3.0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--optimizer", "adagrd"], "optimizer 'adagrd': no such optimizer; did you mean adagrad?"),
        (["--optimizer", "sgd,"], "optimizer ''"),
        (["--lr", "0"], "lr 0.0: must be positive"),
        (["--lr", "-0.1"], "lr -0.1: must be at least 0"),
        (["--max_epochs", "0"], "max_epochs 0: must be at least 1"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
    ],
)
def test_bad_flag_ends_with_one_line_and_writes_nothing(refusal, flags, named):
    assert named in refusal(optimizers.main, *flags)
