"""A recipe's learning rate belongs to its optimizer: what other optimizers get, and that flags take precedence."""

import json

import pytest
import torch
import yaml

from experiments import cifar10, finetune, house_prices, metric_learning, mnist, table
from harness.command_line.cli import cli
from harness.command_line.optimizer_defaults import OPTIONS
from lit_modules.optimizers import OPTIMIZERS
from lit_modules.usual import FAMILIES, RATES, usual_options

SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
MUON = {"optimizer": "muon", "lr": 0.025, "momentum": 0.85, "weight_decay": 0.3}


@pytest.mark.parametrize(
    ("optimizer", "recipe", "expected"),
    [
        ("sgd", SGD, {}),
        ("nesterov", SGD, {}),
        ("adam", SGD, {"lr": 0.001}),
        ("adamw", SGD, {"lr": 0.001, "weight_decay": 0.01}),  # decoupled
        ("rmsprop", SGD, {"lr": 0.001, "momentum": 0.0}),
        ("adam", {**SGD, "backbone_lr": 0.02}, {"lr": 0.001, "backbone_lr": 0.0002}),
        (
            "sgd",
            MUON,
            {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
        ),  # an L2 penalty of 0.3 would be all there is
        ("adamw", MUON, {"lr": 0.001}),
        ("adamw", {**SGD, "weight_decay": 0.0}, {"lr": 0.001}),  # none is wanted
        ("adam", {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.0}, {}),
        ("adma", SGD, {}),  # which is refused later, with the names that there are
    ],
)
def test_options_of_another_optimizer(optimizer, recipe, expected):
    assert usual_options(optimizer, recipe) == expected


def test_every_optimizer_has_a_usual_rate():
    assert {FAMILIES.get(name, name) for name in OPTIMIZERS} == set(RATES)


@pytest.mark.parametrize(
    ("script", "flags", "expected"),
    [
        (mnist, ["--net", "mlp", "--optimizer", "adam"], ("adam", 0.001)),
        (mnist, ["--net", "mlp", "--optimizer=adam", "--lr", "0.1"], ("adam", 0.1)),
        (mnist, ["--net", "mlp", "--config", "lr: 0.02\noptimizer: adam"], ("adam", 0.02)),
        (mnist, ["--net", "mlp", "--config", "optimizer: adam"], ("adam", 0.001)),
        (cifar10, ["--net", "speednet", "--optimizer", "muon"], ("muon", 0.03)),
        (finetune, ["runs/x", "--optimizer", "adagrad"], ("adagrad", 0.01)),
        (table, ["--net", "mlp", "--optimizer", "sgd"], ("sgd", 0.01)),
        (house_prices, ["--net", "linear", "--optimizer", "adadelta"], ("adadelta", 1.0)),
        (metric_learning, ["--optimizer", "rmsprop"], ("rmsprop", 0.001)),
    ],
)
def test_scripts_give_the_usual_rate_unless_one_is_said(script, flags, expected, capsys, tmp_path):
    if "--config" in flags:
        (tmp_path / "flags.yaml").write_text(flags[-1])
        flags = [*flags[:-1], str(tmp_path / "flags.yaml")]
    with pytest.raises(SystemExit):
        cli(script.main, getattr(script, "RECIPES", None), [*flags, "--print_config"])
    said = yaml.safe_load(capsys.readouterr().out)  # nothing else is printed there
    assert (said["optimizer"], said["lr"]) == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--sample", "--accelerator", "cpu", "--net", "mlp", "--optimizer", "adamw", "--weight_decay", "0.02"]
    flags += ["--max_epochs", "5", "--pictures", "false", "--run_dir", str(folder)]
    cli(mnist.main, mnist.RECIPES, flags)
    return next(folder.glob("mnist/*"))


def options_of(run):
    flags = yaml.safe_load((run / "config.yaml").read_text())
    model = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert all(flags[name] == model[name] for name in OPTIONS)
    return model["optimizer"], model["lr"], model["weight_decay"]


def test_a_run_trains_and_is_kept_with_the_usual_rate(trained):
    assert options_of(trained) == ("adamw", 0.001, 0.02)
    assert json.loads((trained / "metrics.json").read_text())["test/acc"] > 0.9  # at the recipe's 0.1 it was 0.77


def test_a_resumed_run_keeps_its_rate_and_is_not_told_of_others(trained, capsys):
    cli(mnist.main, mnist.RECIPES, ["--resume", str(trained), "--max_epochs", "6"])
    assert options_of(trained) == ("adamw", 0.001, 0.02)
    assert "instead of" not in capsys.readouterr().out


def test_a_line_says_which_options_and_why(tmp_path, capsys):
    flags = ["--sample", "--accelerator", "cpu", "--net", "softmax", "--fast_dev_run", "1", "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, [*flags, "--optimizer", "rmsprop"])
    line = "optimizer rmsprop: lr 0.001 instead of 0.02, momentum 0 instead of 0.9, as is usual for it"
    assert any(said.startswith(line) for said in capsys.readouterr().out.splitlines())
    for said in (["--optimizer", "nesterov"], ["--optimizer", "adam", "--lr", "0.02"]):
        cli(mnist.main, mnist.RECIPES, [*flags, *said])
        assert "instead of" not in capsys.readouterr().out
