"""compare.py: groups, means, order, formats, curves, and runs that are unfinished, broken or of another kind."""

import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import compare
from command_line import cli
from comparing.comparison import format_mean, group_runs, seeds_of, short_labels
from comparing.comparison_figure import Curve, draw_curves
from comparing.events import read_curve, read_scalars
from comparing.run_files import Run, lower_is_better, read_runs

import mnist
import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import monitor_mode

ROOT = Path(__file__).parents[1]
QUICK = ["--sample", "--net", "softmax", "--max_epochs", "3", "--accelerator", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run, and the same one interrupted after two of three epochs and resumed."""
    folder = tmp_path_factory.mktemp("trained")
    runs = []
    for number, flags in enumerate((["--seed", "0"], ["--seed", "1", "--max_epochs", "2"])):
        cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder / str(number)), *flags])
        runs += (folder / str(number)).glob("mnist/*")
    cli(mnist.main, mnist.RECIPES, ["--resume", str(runs[1]), "--max_epochs", "3"])
    return runs


def make_run(folder, source, flags, metrics):
    """A copy of a real run with other flags and figures."""
    shutil.copytree(source, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text()) | flags
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps(json.loads((folder / "metrics.json").read_text()) | metrics))
    return folder


ACCURACIES = {0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.94], 1.0: [0.5]}


@pytest.fixture
def runs(tmp_path, trained):
    for lr, accuracies in ACCURACIES.items():
        for seed, accuracy in enumerate(accuracies):
            flags = {"lr": lr, "seed": seed, "run_dir": str(tmp_path / str(seed))}
            make_run(tmp_path / "mnist" / f"{lr}_{seed}", trained[seed % 2], flags, {"test/acc": accuracy})
    return tmp_path / "mnist"


def run_compare(capsys, *args):
    groups = cli(compare.main, None, [str(arg) for arg in args])
    return groups, capsys.readouterr().out


def test_curves_are_those_that_tensorboard_reads(trained):
    for run in trained:  # the second has been resumed
        events = EventAccumulator(str(run)).Reload()
        for tag in ("val/acc", "train/loss"):
            expected = {event.step: event.value for event in events.Scalars(tag)}
            assert read_scalars(run, (tag,))[tag] == expected
            assert read_curve(run, tag) == ([1, 2, 3], [expected[step] for step in sorted(expected)])


def test_points_beyond_the_step_of_a_restart_are_dropped(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for purge, first, suffix in ((None, 0, ".a"), (3, 3, ".b")):
        writer = SummaryWriter(str(tmp_path), purge_step=purge, filename_suffix=suffix)
        for step in range(first, 6 if purge is None else 4):
            writer.add_scalar("val/acc", step + (0.5 if purge else 0), step)
        writer.close()
    expected = {event.step: event.value for event in EventAccumulator(str(tmp_path)).Reload().Scalars("val/acc")}
    assert read_scalars(tmp_path, ("val/acc",))["val/acc"] == expected == {0: 0, 1: 1, 2: 2, 3: 3.5}


def test_record_that_is_cut_off_ends_the_file_and_a_damaged_one_is_named(tmp_path, trained):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    path = min(run.glob("events*"), key=lambda path: path.name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert read_curve(run, "train/loss")[0] == [1, 2, 3]
    at = whole.index(b"val/acc") + len("val/acc") + 3  # within the value
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in (path.read_bytes(), b"no event file, though it is as long as one"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.name):
            read_curve(run, "val/acc")


def test_groups_are_ordered_and_have_mean_and_sample_deviation(runs, capsys):
    groups, out = run_compare(capsys, runs)
    assert [group.flags for group in groups] == [{"lr": "0.1"}, {"lr": "0.01"}, {"lr": "1.0"}]  # not by seed, run_dir
    for group, accuracies in zip(groups, ACCURACIES.values(), strict=True):
        assert group.mean("test/acc") == pytest.approx(statistics.mean(accuracies))
        assert len(group.runs) == len(accuracies)
    assert groups[1].std("test/acc") == pytest.approx(0.04 / 2**0.5)  # of two: their distance over sqrt 2
    assert groups[2].std("test/acc") is None
    assert "96.00 ± 1.00 %" in out
    assert "50.00 %" in out
    assert imread(runs / "compare.png").shape[1] > 700


def run_with(script="mnist", accuracy=0.9, **flags):
    return Run(Path("runs") / script / "run", script, flags, {"test/acc": accuracy}, "")


def test_net_comes_first_and_is_in_the_label():
    nets = {"lenet5": 30, "softmax": 20, "cnn": 10}
    runs = [run_with(max_epochs=epochs, net=net, lr=0.1) for net, epochs in nets.items()]
    groups = group_runs(runs, "test/acc")
    assert [list(group.flags) for group in groups] == [["net", "max_epochs"]] * 3
    assert short_labels(groups) == ["net=lenet5", "net=softmax", "net=cnn"]
    runs = [run_with(max_epochs=epochs, net=net) for epochs, net in ((1, "cnn"), (2, "cnn"), (3, "softmax"))]
    assert short_labels(group_runs(runs, "test/acc"))[0] == "net=cnn max_epochs=1"


def test_flags_that_change_no_figure_make_no_groups():
    changes = {"pictures": False, "histograms": True, "checkpoint_every": 5, "stall_timeout": 0.0, "data_dir": "there"}
    runs = [run_with(lr=0.1, data_dir="data"), *(run_with(lr=0.1, **{name: its}) for name, its in changes.items())]
    assert [len(group.runs) for group in group_runs(runs, "test/acc")] == [6]
    for script, flags in (("own_images", {}), ("finetune", {"data": "own_images"})):  # there it is the data set
        runs = [run_with(script, data_dir=folder, **flags) for folder in ("cats", "dogs")]
        assert len(group_runs(runs, "test/acc")) == 2


@pytest.mark.parametrize("tag", ["val/acc", "val/loss"])
def test_curves_and_bands_are_within_the_figure(tag):
    epochs = np.arange(1, 4)
    curves = [
        Curve(epochs, np.array([0.3, 0.8, 0.9]), np.array([0.05, 0.01, 0.08])),
        Curve(epochs, np.array([0.05, 0.2, 0.4]), np.full(3, 0.01)),
    ]
    groups = group_runs([run_with(lr=0.1), run_with(lr=0.2)], "test/acc")
    (axes,) = draw_curves(groups, curves, tag, "test/acc").axes
    low, high = axes.get_ylim()
    assert -0.01 < low < 0.04
    assert high > 0.98


def test_first_epochs_that_flatten_the_rest_are_cut():
    epochs = np.arange(1, 31)
    curve = Curve(epochs, np.where(epochs == 1, 0.1, 0.95 + epochs / 1000), np.full(30, 0.002))
    (axes,) = draw_curves(group_runs([run_with()], "test/acc"), [curve], "val/acc", "test/acc").axes
    low, high = axes.get_ylim()
    assert 0.94 < low < 0.952
    assert 0.982 < high < 0.99


def test_losses_are_better_when_lower(runs, capsys):
    groups, _ = run_compare(capsys, runs, "--by", "test/loss")
    means = [group.mean("test/loss") for group in groups]
    assert means == sorted(means)


@pytest.mark.parametrize(
    "name", ["val/acc", "val/loss", "test/log_rmse", "cv/mae", "val/r2", "test/recall@1", "val/mse"]
)
def test_direction_is_that_of_the_training(name):
    assert lower_is_better(name) == (monitor_mode(name) == "min")


def test_csv_and_json_have_the_same_figures(runs, capsys, tmp_path):
    _, text = run_compare(capsys, runs, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    run_compare(capsys, runs, "--format", "json", "--output", tmp_path / "out.json")
    groups = json.loads((tmp_path / "out.json").read_text())
    assert [row["lr"] for row in rows] == ["0.1", "0.01", "1.0"]
    assert [group["flags"] for group in groups] == [{"lr": 0.1}, {"lr": 0.01}, {"lr": 1.0}]  # numbers, no text
    for row, group in zip(rows, groups, strict=True):
        assert float(row["test/acc"]) == group["test/acc"]["mean"]
    assert [int(row["n"]) for row in rows] == [3, 2, 1]
    assert len(groups[0]["runs"]) == 3


def test_markdown_is_a_table(runs, capsys):
    lines = run_compare(capsys, runs, "--format", "markdown")[1].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 3


def test_choices_are_named_in_plain_words_and_a_folder_without_finished_runs_by_its_name(tmp_path, capsys):
    expected = {"latex": "one of table, csv, markdown, json", "csv": f"{tmp_path}: no run has finished"}
    for kind, said in expected.items():
        with pytest.raises(SystemExit):
            run_compare(capsys, tmp_path, "--format", kind)
        assert said in capsys.readouterr().err


def test_nothing_is_overwritten_without_force(runs, capsys, tmp_path):
    output = tmp_path / "table.txt"
    output.write_text("mine")
    with pytest.raises(SystemExit) as stop:
        run_compare(capsys, runs, "--output", output)
    assert stop.value.code == 2
    assert (output.read_text(), str(output) in capsys.readouterr().err) == ("mine", True)
    run_compare(capsys, runs, "--output", output, "--force")
    assert "test/acc" in output.read_text()


def spoil(runs):
    """Breaks copies of a run, one way each; returns what must be said of them."""
    (runs / "empty").mkdir()
    said = {"empty": "no config.yaml", "killed": "unfinished"}
    changes = {
        "killed": lambda run: (run / "metrics.json").unlink(),
        "half_json": lambda run: (run / "metrics.json").write_text('{"test/acc": 0.9'),
        "list_json": lambda run: (run / "metrics.json").write_text("[1]"),
        "bad_yaml": lambda run: (run / "config.yaml").write_text("lr: [1,"),
        "binary": lambda run: (run / "config.yaml").write_bytes(bytes(range(256))),
        "nan": lambda run: (run / "metrics.json").write_text('{"test/acc": NaN}'),
    }
    for name, change in changes.items():
        shutil.copytree(runs / "0.1_0", runs / name)
        change(runs / name)
    return said | {
        "half_json": "metrics.json cannot be read", "list_json": "metrics.json cannot be read",
        "bad_yaml": "config.yaml cannot be read", "binary": "config.yaml cannot be read", "nan": "no test/acc",
    }  # fmt: skip


def test_unfinished_and_broken_runs_are_listed_and_stop_nothing(runs, capsys):
    said = spoil(runs)
    next((runs / "1.0_0").glob("events*")).write_bytes(b"\x05" + bytes(7) + b"nonsense" * 9)
    groups, out = run_compare(capsys, runs)
    assert sum(len(group.runs) for group in groups) == 6
    for name, problem in said.items():
        assert any(f"{name}: {problem}" in line for line in out.splitlines()), name
    assert "1.0_0: no curve" in out


def test_cross_validated_runs_and_studies_are_one_run_each(tmp_path, trained, capsys):
    for seed, score in enumerate((0.12, 0.14)):
        run = tmp_path / "house_prices" / f"run{seed}"
        for fold in range(2):
            make_run(run / f"fold{fold}", trained[0], {}, {})
        (run / "config.yaml").write_text(f"net: tabm\nseed: {seed}\nfolds: 2\nmonitor: val/log_rmse\n")
        (run / "metrics.json").write_text(json.dumps({"cv/log_rmse": score, "seconds": 3.0}))
    study = tmp_path / "himmelblau" / "run"
    study.mkdir(parents=True)
    (study / "config.yaml").write_text("optimizer: adam\nseed: 0\n")
    (study / "metrics.json").write_text('{"lowest": 1e-9}')
    (group,), out = run_compare(capsys, tmp_path)
    assert group.mean("cv/log_rmse") == pytest.approx(0.13)
    assert f"{study}: no cv/log_rmse" in out
    assert "no figure" in out
    (group,), _ = run_compare(capsys, tmp_path / "himmelblau")
    assert group.values("lowest") == [1e-9]


@pytest.mark.parametrize(
    ("args", "named"), [(["nowhere"], "nowhere"), (["--by", "test/f1"], "test/f1"), ([], "folders")]
)
def test_mistake_is_one_line(runs, capsys, args, named):
    with pytest.raises(SystemExit) as stop:
        cli(compare.main, None, [*([str(runs)] if "--by" in args else []), *args])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert named in line


def test_two_hundred_runs_are_compared_quickly(tmp_path, trained, capsys):
    for number in range(200):
        flags = {"lr": number // 5 / 100, "seed": number % 5}
        make_run(tmp_path / "mnist" / f"run{number}", trained[number % 2], flags, {})
    started = time.process_time()
    groups, _ = run_compare(capsys, tmp_path)
    assert time.process_time() - started < 5
    assert [len(group.runs) for group in groups] == [5] * 40


@pytest.mark.parametrize(("seeds", "text"), [([2, 0, 1], "0-2"), ([0, 0, 3], "0 0 3"), ([4], "4"), ([7, 8], "7 8")])
def test_seeds_are_named_briefly(seeds, text):
    assert seeds_of([Run(Path("x"), "mnist", {"seed": seed}, {}, "") for seed in seeds]) == text


def test_figures_are_rounded_by_their_size():
    assert format_mean("test/acc", 0.98765, 0.001) == "98.77 ± 0.10 %"
    assert format_mean("test/loss", 0.123456) == "0.1235"
    assert format_mean("cv/rmse", 23456.7) == "23,457"


def test_reading_runs_needs_no_torch():
    code = "import sys, compare; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "experiments"}, cwd=ROOT, check=True)


def test_a_run_directory_itself_can_be_named(runs):
    assert [run.path for run in read_runs([runs / "0.1_0"])] == [runs / "0.1_0"]
