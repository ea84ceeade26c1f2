"""evaluate.py gives the figures of the run that made the checkpoint, on one process and on two."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import cifar10, evaluate, house_prices, metric_learning, mnist, table
from harness.command_line.cli import cli

ROOT = Path(__file__).parents[1]
MNIST_SAMPLE = ["--sample", "--max_epochs", "2", "--accelerator", "cpu", "--pictures", "false"]
TRAININGS = {  # what is trained, with one more than usual of all that a figure depends on
    "softmax": (mnist, [*MNIST_SAMPLE, "--net", "softmax", "--seed", "3", "--val_size", "100", "--test_flip"]),
    "bfloat16 and average": (
        cifar10,
        [*MNIST_SAMPLE, "--net", "cnn", "--net_args.widths", "4,8,16", "--max_epochs", "1",
         "--limit_train_batches", "3", "--precision", "bf16-mixed", "--ema", "0.9", "--channels_last"],
    ),
    "regression": (table, [*MNIST_SAMPLE, "--net", "linear", "--drop", "[sex]", "--folds", "0"]),
    "classification": (
        table, [*MNIST_SAMPLE, "--net", "mlp", "--task", "classification", "--seed", "1", "--folds", "0"],
    ),
    "embedding": (
        metric_learning, ["--net", "mlp", *MNIST_SAMPLE, "--max_epochs", "1", "--baselines", "false"],
    ),
}  # fmt: skip


def train(folder, script, flags):
    cli(script.main, getattr(script, "RECIPES", None), [*flags, "--run_dir", str(folder)])
    (run,) = folder.glob("*/*")
    return run


def figures_of(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


@pytest.mark.parametrize("kind", TRAININGS)
def test_figures_are_those_of_the_run(tmp_path, capsys, kind, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})  # or float32 would be faster
    run = train(tmp_path, *TRAININGS[kind])
    printed = capsys.readouterr().out.split("best epoch")[1].split("test samples")[0]
    assert cli(evaluate.main, None, [str(run), "--accelerator", "cpu"]) == figures_of(run)
    assert capsys.readouterr().out.split("best epoch")[1].split("test samples")[0] == printed


@pytest.mark.slow
def test_two_processes_say_what_one_did(tmp_path):
    run = train(tmp_path, *TRAININGS["softmax"])
    command = [sys.executable, "experiments/evaluate.py", str(run), "--accelerator", "cpu", "--devices", "2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    for stage in ("val", "test"):
        loss, acc = (figures_of(run)[f"{stage}/{name}"] for name in ("loss", "acc"))
        assert f"{stage:<10}{loss:>10.4f}{f'{acc:.2%}':>10}" in said.splitlines()
    assert said.count("best epoch") == 1
    assert f"balanced accuracy {figures_of(run)['test/balanced_acc']:.2%}, macro F1" in said
    assert f"ROC-AUC {figures_of(run)['test/roc_auc']:.4f}, average precision {figures_of(run)['test/ap']:.4f}" in said


def test_fold_of_a_cross_validated_run(tmp_path):
    flags = ["--sample", "--net", "linear", "--folds", "2", "--jobs", "1", "--max_epochs", "2", "--pictures", "false"]
    run = train(tmp_path, house_prices, flags) / "fold1"
    assert cli(evaluate.main, None, [str(run), "--accelerator", "cpu"]) == figures_of(run)


def test_checkpoint_alone_is_enough_and_other_data_are_taken_where_they_fit(tmp_path):
    run = train(tmp_path / "runs", *TRAININGS["softmax"])
    alone = tmp_path / "model.ckpt"
    alone.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    assert cli(evaluate.main, None, [str(alone), "--accelerator", "cpu"]) == figures_of(run)
    # The sample of Fashion-MNIST is that of MNIST.
    other = cli(evaluate.main, None, [str(alone), "--accelerator", "cpu", "--data", "fashion_mnist"])
    assert other["test/acc"] == figures_of(run)["test/acc"]


def refusal(capsys, *flags):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli(evaluate.main, None, [*flags, "--accelerator", "cpu"])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_what_cannot_be_evaluated_is_one_line(tmp_path, capsys):
    run = train(tmp_path / "runs", *TRAININGS["softmax"])
    best = run / "checkpoints" / "best.ckpt"
    assert "no checkpoint" in refusal(capsys, str(tmp_path))
    assert all(part in refusal(capsys, str(run), "--data", "cifar10") for part in (str(best), "28", "cifar10", "32"))
    assert "limit_test_batches 0" in refusal(capsys, str(run), "--limit_test_batches", "0")
    assert "--csv: means nothing for mnist" in refusal(capsys, str(run), "--csv", "my.csv")
    assert "limit_test_batches 0.1: of 1 batch" in refusal(capsys, str(run), "--limit_test_batches", "0.1")
    assert "did you mean cifar10?" in refusal(capsys, str(run), "--data", "cifr10")
    content = torch.load(best, weights_only=True)
    spoilt = {
        "older": {name: part for name, part in content.items() if name != "datamodule_hyper_parameters"},
        "another project": content | {"hyper_parameters": {"backbone": "resnet50", "lr": 0.1}},
        "another network": content | {"hyper_parameters": content["hyper_parameters"] | {"net": "lenet5"}},
        "not a checkpoint of this project": {"model": content["state_dict"]},
    }
    for named, parts in spoilt.items():
        path = tmp_path / f"{named}.ckpt"
        torch.save(parts, path)
        line = refusal(capsys, str(path))
        assert str(path) in line
        assert named in line
    for named, whole in {
        "text.ckpt": b"not a checkpoint\n" * 100,
        "empty.ckpt": b"",
        "cut.ckpt": best.read_bytes()[:-900],
    }.items():
        (tmp_path / named).write_bytes(whole)
        assert named in refusal(capsys, str(tmp_path / named))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "image.png")
    assert "image.png" in refusal(capsys, str(tmp_path / "image.png"))


def test_changed_training_data_is_noticed(tmp_path, capsys):
    rows = ["a,b,y"] + [f"{n},{n % 3},{2 * n + n % 3}" for n in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    quick = "--net linear --max_epochs 1 --folds 0 --pictures false".split()
    flags = ["--csv", str(tmp_path / "t.csv"), "--target", "y", *quick]
    run = train(tmp_path / "runs", table, [*flags, "--accelerator", "cpu"])
    moved = (tmp_path / "t.csv").rename(tmp_path / "moved.csv")
    assert "t.csv: no such file" in refusal(capsys, str(run))
    before = figures_of(run)
    figures = cli(evaluate.main, None, [str(run), "--csv", str(moved), "--accelerator", "cpu"])
    assert {name: figures[name] for name in before} == pytest.approx(before)
    cli(table.main, table.RECIPES, ["--resume", str(run), "--csv", str(moved), "--max_epochs", "2"])
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2
    moved.write_text("\n".join([*rows[:-1], "1000,1,5"]))
    assert "table has changed since the training" in refusal(capsys, str(run))
