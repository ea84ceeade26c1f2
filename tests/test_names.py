"""Names of runs: what stands in a directory's name, what is refused, and that a name changes nothing else."""

import json

import pytest
import torch
import yaml
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from basics.errors import InputError
from experiments import mnist, tensors
from harness.command_line.cli import cli
from harness.comparing.comparison import group_runs, make_tables, short_labels
from harness.comparing.run_files import read_runs
from harness.comparing.tables import write_tables
from harness.runs.names import changed_flags, run_label
from harness.tasks.study import Study, StudyFlags

QUICK = ["--sample", "--net", "softmax", "--max_epochs", "1", "--accelerator", "cpu", "--pictures", "false"]
NAMES = ("wide", "1e-3", None)  # one that YAML might read as a number


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run under two names and under none."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for name in NAMES:
        before = set(folder.glob("mnist/*"))
        cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder), *(["--name", name] if name else [])])
        found += set(folder.glob("mnist/*")) - before
    return found


def test_name_or_what_differs_from_the_recipe_follows_the_date(runs):
    labels = [run.name.split("_", 2)[2] for run in runs]
    assert labels == ["softmax_wide", "softmax_1e-3", "softmax_sample_max_epochs=1"]
    assert [yaml.safe_load((run / "config.yaml").read_text())["name"] for run in runs] == list(NAMES)


def test_name_changes_nothing_else(runs):
    weights = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in runs]
    for others in weights[1:]:
        assert all(torch.equal(others[key], value) for key, value in weights[0].items())
    assert len({json.loads((run / "metrics.json").read_text())["test/loss"] for run in runs}) == 1
    groups = group_runs(read_runs(runs), "val/acc")
    assert [len(group.runs) for group in groups] == [3]  # one configuration


def test_named_runs_are_told_apart_in_tables_and_labels(runs):
    rates = dict(zip(NAMES, (0.1, 0.2, 0.3), strict=True))
    read = [run._replace(flags=run.flags | {"lr": rates[run.flags["name"]]}) for run in read_runs(runs)]
    tables, _ = make_tables(read, None)
    head, *lines = write_tables(tables, "table").splitlines()[2:]
    assert head.split()[:2] == ["name", "lr"]
    assert {tuple(line.split()[:2]) for line in lines} == {("wide", "0.1"), ("1e-3", "0.2"), ("-", "0.3")}
    assert set(short_labels(tables[0].groups)) == {"wide lr=0.1", "1e-3 lr=0.2", "lr=0.3"}
    found = {tuple(row["names"]): row["flags"] for row in json.loads(write_tables(tables, "json"))}
    assert found == {("wide",): {"lr": 0.1}, ("1e-3",): {"lr": 0.2}, (): {"lr": 0.3}}


def test_a_resumed_run_keeps_its_name(runs, capsys):
    again = ["--resume", str(runs[0]), "--max_epochs", "2"]
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, mnist.RECIPES, [*again, "--name", "narrow"])
    assert stop.value.code == 2
    assert "--name narrow" in capsys.readouterr().err
    cli(mnist.main, mnist.RECIPES, [*again, "--name", "wide"])
    assert json.loads((runs[0] / "metrics.json").read_text())["epochs"] == 2
    (runs[0] / "metrics.json").unlink()  # as if it had been interrupted
    for name, found in (("narrow", False), ("wide", True)):
        flags = [*QUICK, "--max_epochs", "2", "--run_dir", str(runs[0].parents[1]), "--resume", "auto", "--name", name]
        cli(mnist.main, mnist.RECIPES, flags)
        assert ("starting a new one" not in capsys.readouterr().out) == found


@pytest.mark.parametrize("name", ["a b", "a/b", "..", "", "größe", "x" * 61, "a\nb", "$HOME", "*"])
def test_what_no_directory_should_be_called_is_refused_in_one_line(tmp_path, name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(tmp_path / "runs"), f"--name={name}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert (stop.value.code, line.startswith("error: --name "), list(tmp_path.iterdir())) == (2, True, [])
    with pytest.raises(InputError):  # from Python too
        run_label("lenet5", name, {})


def test_flags_that_stand_in_for_a_name():
    changed = {"net": "mlp", "lr": 0.30000001, "augment": "crop:4,flip", "ema": 0.0, "channels_last": False}
    assert run_label("mlp", None, changed) == "mlp_lr=0.3_augment=crop-4-flip_ema=0"  # 40 characters have room
    assert run_label("mlp", None, {"monitor": None, "seed": 3, "run_dir": "x"}) == "mlp_no_monitor_seed=3"
    assert run_label("mlp", None, {"init_from": "runs/mnist/" + "x" * 30, "swa": 0.75}) == "mlp_init_from_swa=0.75"
    assert run_label("mlp", None, {"lr_milestones": [0.5, 0.9]}) == "mlp_lr_milestones=0.5-0.9"


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ({}, "defaults"),
        ({"chapters": ["shape"]}, "chapters=shape"),
        ({"chapters": ["shape", "memory"], "run_dir": "x"}, "chapters=shape-memory"),
        ({"chapters": ["broadcasting", "picking"]}, "chapters"),  # too long for its value
    ],
)
def test_name_of_a_study_says_which_flags_differ_and_how(tmp_path, monkeypatch, flags, label):
    monkeypatch.chdir(tmp_path)
    assert Study("tensors", tensors.TensorFlags(**flags)).run.name.split("_", 2)[2] == label


def test_only_what_differs_counts_as_changed():
    flags = {"lr": 0.1, "net_args": {"dropout": 0.2, "width": 3}, "clip": [0.1], "seed": 1}
    defaults = {"lr": 0.1, "net_args": {"dropout": 0.2}, "clip": (0.1,), "seed": 0}
    assert changed_flags(flags, defaults) == {"width": 3, "seed": 1}


def test_figures_of_a_study_are_a_text_and_no_charts(tmp_path):
    study = Study("odd", StudyFlags(run_dir=str(tmp_path), name="mine"))
    by_net = {"mlp": {"acc": 0.5, "loss": 2}, "cnn": {"acc": 0.75}}
    odd = {"curve": [1, 2], "curves": {"mlp": {"acc": [0.5]}}}
    study.conclude({"lowest": 1.25, "points": 7, "nets": by_net, **odd}, {"surface": Figure()})
    assert study.run.name.split("_", 2)[2] == "mine"
    events = EventAccumulator(str(study.run)).Reload()
    assert events.Tags()["scalars"] == []
    assert events.Tags()["images"] == ["visuals_of_odd/surface"]
    text = events.Tensors("results/odd/text_summary")[0].tensor_proto.string_val[0].decode()
    assert {"| lowest | 1.25 |", "| points | 7 |"} <= set(text.splitlines()) and "curve" not in text
    assert text.endswith("| nets | accuracy | loss |\n| --- | --- | --- |\n| mlp | 0.5 | 2 |\n| cnn | 0.75 |  |")
    assert not list(study.run.glob("*hparams*"))  # HPARAMS compares trainings
