"""Names of runs: what stands in a directory's name, what is refused, and that a name changes nothing else."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from basics.errors import InputError
from experiments import mnist
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
    assert labels == ["softmax_wide", "softmax_1e-3", "softmax_sample_max_epochs1"]
    assert [yaml.safe_load((run / "config.yaml").read_text())["name"] for run in runs] == list(NAMES)


def test_name_changes_nothing_else(runs):
    weights = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in runs]
    for others in weights[1:]:
        assert all(torch.equal(others[key], value) for key, value in weights[0].items())
    assert len({json.loads((run / "metrics.json").read_text())["test/loss"] for run in runs}) == 1
    groups = group_runs(read_runs(runs), "val/acc")
    assert [len(group.runs) for group in groups] == [3]  # one configuration


def test_named_runs_are_told_apart_in_tables_and_labels(runs):
    read = [
        run._replace(flags=run.flags | {"lr": lr}) for run, lr in zip(read_runs(runs), (0.1, 0.2, 0.3), strict=True)
    ]
    tables, _ = make_tables(read, None)
    head, *lines = write_tables(tables, "table").splitlines()[2:]
    assert head.split()[:2] == ["name", "lr"]
    assert sorted(line.split()[0] for line in lines) == ["-", "1e-3", "wide"]
