"""`--precision auto`: bfloat16 only where the device has instructions for it."""

import json
import platform
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from test_launch import QUICK

from experiments import evaluate, mnist
from harness.command_line.cli import cli
from harness.comparing.scripts import EXPERIMENTS
from harness.runs.checkpoints import find_checkpoint
from harness.runs.states import read_config
from harness.tasks.classification import ImageFlags
from harness.training.flags import TrainerFlags
from harness.training.precision import CHOICE, choose_precision, computes_in_bfloat16, not_emulated
from harness.training.trainer import build_trainer

RECIPES = {"softmax": ImageFlags(net="softmax", precision="auto")}
NOTE = "note: this CPU emulates bf16-mixed, which is several times slower than 32-true\n"


@pytest.fixture
def machine(monkeypatch):
    """Lets torch report the instructions of another CPU."""

    def become(*instructions):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))

    monkeypatch.delenv(CHOICE, raising=False)
    return become


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_evaluation_on_a_cpu_that_would_emulate_is_in_float32(machine, precision):
    machine("avx2")
    assert not_emulated(precision, "cpu") == not_emulated(precision, CPUAccelerator()) == "32-true"
    machine("avx512_bf16")
    assert not_emulated(precision, "cpu") == precision


def run(folder, *flags):
    cli(mnist.main, RECIPES, [*QUICK, "--run_dir", str(folder), *flags])
    return sorted(folder.glob("mnist/*"))[-1]


def computed_in(run):
    return torch.load(find_checkpoint(str(run)), weights_only=True)["precision"]


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").is_file(), reason="for Linux on x86")
def test_it_knows_what_linux_knows_of_the_processor():
    words = Path("/proc/cpuinfo").read_text().split()
    assert computes_in_bfloat16("cpu") == bool({"avx512_bf16", "amx_bf16"} & {*words})


@pytest.mark.parametrize("accelerator", ["cpu", CPUAccelerator()])
@pytest.mark.parametrize(
    ("instructions", "precision"),
    [
        (["avx2", "avx512_f"], "32-true"),
        (["avx2", "avx512_f", "avx512_bf16"], "bf16-mixed"),
        (["amx_bf16"], "bf16-mixed"),
        (["neon"], "32-true"),
        (["neon", "bf16"], "bf16-mixed"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_computes_in_it(machine, instructions, precision, accelerator):
    machine(*instructions)
    assert build_trainer(TrainerFlags(precision="auto", accelerator=accelerator, devices=1)).precision == precision


@pytest.mark.parametrize("computes", [True, False])
def test_auto_on_a_gpu_asks_the_gpu(machine, monkeypatch, computes):
    machine("avx512_bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or computes)
    assert [computes_in_bfloat16(asked) for asked in ("auto", "gpu", "cuda", "tpu", "cpu")] == [
        *[computes] * 3,
        False,
        True,
    ]


def test_a_run_goes_on_in_the_precision_it_began_in(machine, tmp_path, capsys):
    machine("avx512_bf16")
    begun = run(tmp_path)
    machine("avx2")
    assert run(tmp_path, "--resume", str(begun), "--max_epochs", "3") == begun
    said, metrics = capsys.readouterr().out, json.loads((begun / "metrics.json").read_text())
    assert " on 1 x cpu, bf16-mixed\n" in said and NOTE in said
    assert (computed_in(begun), read_config(begun)["precision"]) == ("bf16-mixed", "auto")
    assert metrics["hardware"].endswith(", bf16-mixed")


def test_an_interrupted_run_is_found_on_a_machine_of_another_kind(machine, tmp_path):
    machine("avx2")
    begun = run(tmp_path, "--max_epochs", "2")
    (begun / "metrics.json").unlink()  # as if it had been killed before the test
    machine("avx512_bf16")
    assert run(tmp_path, "--max_epochs", "2", "--resume", "auto") == begun
    assert computed_in(begun) == "32-true"
    assert json.loads((begun / "metrics.json").read_text())["hardware"].count("bf16") == 0


def test_ranks_compute_as_rank_zero_does(machine, monkeypatch):
    machine("avx2")
    monkeypatch.setenv(CHOICE, "bf16-mixed")  # of the run that rank zero has found
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_precision(TrainerFlags(precision="auto", accelerator="cpu")) == "bf16-mixed"


@pytest.mark.parametrize(("instructions", "notes"), [("avx2", 1), ("avx512_bf16", 0)])
def test_whoever_asks_for_bfloat16_gets_it_and_hears_what_it_costs(machine, tmp_path, capsys, instructions, notes):
    machine(instructions)
    assert computed_in(run(tmp_path, "--precision", "bf16-mixed", "--max_epochs", "1")) == "bf16-mixed"
    assert capsys.readouterr().out.count(NOTE) == notes


@pytest.mark.parametrize(("instructions", "precision"), [("avx2", "32-true"), ("avx512_bf16", "bf16-mixed")])
def test_evaluation_does_not_emulate_what_a_faster_machine_computed(
    machine, tmp_path, monkeypatch, instructions, precision
):
    machine("avx512_bf16")
    trained, built = run(tmp_path, "--max_epochs", "1"), []
    machine(instructions)
    monkeypatch.setattr(evaluate, "build_trainer", lambda flags: built.append(build_trainer(flags)) or built[-1])
    evaluate.main(str(trained), replace(evaluate.DEFAULTS, accelerator="cpu", devices=1))
    assert [trainer.precision for trainer in built] == [precision]


@pytest.mark.parametrize("script", sorted(path.stem for path in EXPERIMENTS.glob("*.py")))
def test_no_recipe_is_slow_on_an_ordinary_processor(script):
    recipes = getattr(import_module(f"experiments.{script}"), "RECIPES", {})
    assert {getattr(recipe, "precision", None) for recipe in recipes.values()} <= {None, "32-true", "auto"}
