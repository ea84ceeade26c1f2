"""compare.py: groups, means, order, formats, curves, and runs that are unfinished, broken or of another kind."""

import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from callbacks import monitor_mode
from experiments import compare, mnist
from harness.command_line.cli import cli
from harness.comparing.comparison import group_runs, make_tables, once_each, short_labels
from harness.comparing.comparison_figure import Curve, draw_tables, read_curves
from harness.comparing.events import read_curve, read_scalars
from harness.comparing.run_files import Run, mode_of, read_runs
from harness.comparing.tables import format_mean, seeds_of, write_tables
from harness.drawing.figures import save_figures
from harness.runs.resume import claimed
from harness.training.run_logger import RunLogger

ROOT = Path(__file__).parents[1]
QUICK = ["--sample", "--net", "softmax", "--max_epochs", "3", "--accelerator", "cpu", "--pictures", "false"]


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
    """A copy of a real run with other flags and figures, without its pictures, which are most of its size."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("figures", "test"))
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
            # The test figures are in another order than the validation figures.
            metrics = {"val/acc": accuracy, "test/acc": 1 - accuracy}
            make_run(tmp_path / "mnist" / f"{lr}_{seed}", trained[seed % 2], flags, metrics)
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

    for number, (purge, first) in enumerate(((None, 0), (3, 3))):
        writer = SummaryWriter(str(tmp_path / "new"), purge_step=purge)
        for step in range(first, 6 if purge is None else 4):
            writer.add_scalar("val/acc", step + (0.5 if purge else 0), step)
        writer.close()
        (file,) = (tmp_path / "new").iterdir()
        file.rename(tmp_path / f"events.out.tfevents.{number}")  # by their own names, the 10th comes before the 9th
    expected = {event.step: event.value for event in EventAccumulator(str(tmp_path)).Reload().Scalars("val/acc")}
    assert read_scalars(tmp_path, ("val/acc",))["val/acc"] == expected == {0: 0, 1: 1, 2: 2, 3: 3.5}


def test_record_that_is_cut_off_ends_the_file_and_a_damaged_one_is_named(tmp_path, trained):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    path = sorted(run.glob("events*"))[1]  # after that of the flags
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert read_curve(run, "train/loss")[0] == [1, 2, 3]
    tag = b"\x07val/acc"  # with its length, which it has not in the layout of the charts
    at = whole.index(tag) + len(tag) + 3  # within the value
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in (path.read_bytes(), b"no event file, though it is as long as one"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.name):
            read_curve(run, "val/acc")


def test_groups_are_ordered_and_have_mean_and_sample_deviation(runs, capsys):
    groups, out = run_compare(capsys, runs)
    assert [group.flags for group in groups] == [{"lr": "0.1"}, {"lr": "0.01"}, {"lr": "1.0"}]  # not by seed, run_dir
    for group, accuracies in zip(groups, ACCURACIES.values(), strict=True):
        assert group.mean("val/acc") == pytest.approx(statistics.mean(accuracies))
        assert len(group.runs) == len(accuracies)
    assert groups[1].std("val/acc") == pytest.approx(0.04 / 2**0.5)  # of two: their distance over sqrt 2
    assert groups[2].std("val/acc") is None
    assert "96.00 ± 1.00 %" in out
    assert "50.00 %" in out
    assert imread(runs / "compare.png").shape[1] > 700


def run_with(script="mnist", accuracy=0.9, metrics=None, **flags):
    metrics = {"val/acc": accuracy, "test/acc": 1 - accuracy} if metrics is None else metrics
    return Run(Path("runs") / script / "run", script, {"monitor": "val/acc"} | flags, metrics, "")


def table_of(*runs):
    ((table,), _) = make_tables(runs, None)
    return table


def test_net_comes_first_and_is_in_the_label():
    nets = {"lenet5": 30, "softmax": 20, "cnn": 10}
    runs = [run_with(max_epochs=epochs, net=net, lr=0.1) for net, epochs in nets.items()]
    groups = group_runs(runs, "val/acc")
    assert [list(group.flags) for group in groups] == [["net", "max_epochs"]] * 3
    assert short_labels(groups) == ["net=lenet5", "net=softmax", "net=cnn"]
    runs = [run_with(max_epochs=epochs, net=net) for epochs, net in ((1, "cnn"), (2, "cnn"), (3, "softmax"))]
    assert short_labels(group_runs(runs, "val/acc"))[0] == "net=cnn max_epochs=1"


def test_flags_that_change_no_figure_make_no_groups():
    changes = {"pictures": False, "histograms": True, "checkpoint_every": 5, "stall_timeout": 0.0, "data_dir": "there"}
    runs = [run_with(lr=0.1, data_dir="data"), *(run_with(lr=0.1, **{name: its}) for name, its in changes.items())]
    runs += [
        run_with(lr=0.1, log_to=["csv"]),
        run_with(lr=0.1, num_sanity_val_steps=0),
        run_with(lr=0.1, capture=False),
    ]
    assert [len(group.runs) for group in group_runs(runs, "val/acc")] == [9]
    for script, flags in (("own_images", {}), ("finetune", {"data": "own_images"})):  # there it is the data set
        runs = [run_with(script, data_dir=folder, **flags) for folder in ("cats", "dogs")]
        assert len(group_runs(runs, "val/acc")) == 2


@pytest.mark.parametrize("tag", ["val/acc", "val/loss"])
def test_curves_and_bands_are_within_the_figure(tag):
    epochs = np.arange(1, 4)
    curves = [
        Curve(epochs, np.array([0.3, 0.8, 0.9]), np.array([0.05, 0.01, 0.08])),
        Curve(epochs, np.array([0.05, 0.2, 0.4]), np.full(3, 0.01)),
    ]
    metrics = {"val/acc": 0.5, "val/loss": 0.5}
    table = table_of(*(run_with(lr=lr, monitor=tag, metrics=metrics) for lr in (0.1, 0.2)))
    (axes,) = draw_tables([(table, curves)]).axes
    low, high = axes.get_ylim()
    assert -0.01 < low < 0.04
    assert high > 0.98


def test_first_epochs_that_flatten_the_rest_are_cut():
    epochs = np.arange(1, 31)
    curve = Curve(epochs, np.where(epochs == 1, 0.1, 0.95 + epochs / 1000), np.full(30, 0.002))
    (axes,) = draw_tables([(table_of(run_with()), [curve])]).axes
    low, high = axes.get_ylim()
    assert 0.94 < low < 0.952
    assert 0.982 < high < 0.99


def test_losses_are_better_when_lower(runs, capsys):
    groups, _ = run_compare(capsys, runs, "--by", "val/loss")
    means = [group.mean("val/loss") for group in groups]
    assert means == sorted(means)


@pytest.mark.parametrize(
    "name", ["val/acc", "val/loss", "test/log_rmse", "cv/mae", "val/r2", "test/recall@1", "val/mse"]
)
def test_direction_is_that_of_the_training(name):
    assert mode_of(name, {}) == monitor_mode(name)


def test_csv_and_json_have_the_same_figures(runs, capsys, tmp_path):
    _, text = run_compare(capsys, runs, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    run_compare(capsys, runs, "--format", "json", "--output", tmp_path / "out.json")
    groups = json.loads((tmp_path / "out.json").read_text())
    assert [row["lr"] for row in rows] == ["0.1", "0.01", "1.0"]
    assert [group["flags"] for group in groups] == [{"lr": 0.1}, {"lr": 0.01}, {"lr": 1.0}]  # numbers, no text
    for row, group in zip(rows, groups, strict=True):
        assert float(row["val/acc"]) == group["val/acc"]["mean"]
        assert (row["data"], group["data"]) == ("embedded sample",) * 2
    assert [int(row["n"]) for row in rows] == [3, 2, 1]
    assert len(groups[0]["runs"]) == 3


def test_markdown_is_a_table(runs, capsys):
    lines = run_compare(capsys, runs, "--format", "markdown")[1].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 3


def test_choices_are_named_in_plain_words_and_a_folder_without_finished_runs_by_its_name(tmp_path, capsys):
    (tmp_path / "mnist" / "run").mkdir(parents=True)
    (tmp_path / "mnist" / "run" / "config.yaml").write_text("lr: 1.0\n")
    said = f"{tmp_path / 'mnist' / 'run'}: no run has finished"
    expected = {"latex": "one of table, csv, markdown, json", "csv": said}
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
    said = {"killed": "interrupted; --resume goes on", "early": "unfinished: it ended before its first checkpoint"}
    changes = {
        "killed": lambda run: (run / "metrics.json").unlink(),
        "early": lambda run: [(run / "metrics.json").unlink(), shutil.rmtree(run / "checkpoints")],
        "no_flags": lambda run: (run / "config.yaml").unlink(),
        "half_json": lambda run: (run / "metrics.json").write_text('{"test/acc": 0.9'),
        "list_json": lambda run: (run / "metrics.json").write_text("[1]"),
        "bad_yaml": lambda run: (run / "config.yaml").write_text("lr: [1,"),
        "binary": lambda run: (run / "config.yaml").write_bytes(bytes(range(256))),
        "nan": lambda run: (run / "metrics.json").write_text('{"val/acc": NaN}'),
    }
    for name, change in changes.items():
        shutil.copytree(runs / "0.1_0", runs / name)
        change(runs / name)
    return said | {
        "half_json": "metrics.json cannot be read", "list_json": "metrics.json cannot be read",
        "bad_yaml": "config.yaml cannot be read", "binary": "config.yaml cannot be read", "nan": "no val/acc",
        "no_flags": "no config.yaml",
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
        (run / "metrics.json").write_text(json.dumps({"cv/log_rmse": score, "seconds": 3.0, "cv/samples": 9}))
    study = tmp_path / "himmelblau" / "run"
    study.mkdir(parents=True)
    (study / "config.yaml").write_text("optimizer: adam\nseed: 0\n")
    (study / "metrics.json").write_text('{"lowest": 1e-9}')
    (of_study, group), out = run_compare(capsys, tmp_path)
    assert group.mean("cv/log_rmse") == pytest.approx(0.13)
    assert "house_prices, cross-validated: 2 runs, best cv/log_rmse first" in out
    assert "no figure" in out
    assert of_study.values("lowest") == [1e-9]
    assert "himmelblau: 1 run, in no order of merit" in out


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["nowhere"], "nowhere"),
        (["--by", "val/f1"], "no finished run has it; there are "),
        (["--by", "test/acc"], "the test set must not choose"),
        ([], "folders"),
    ],
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


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([2, 0, 1], "0-2"),
        ([4], "4"),
        ([7, 8], "7 8"),
        ([9, 0, 1, 2, 3, 12], "0-3 9 12"),
    ],
)
def test_seeds_are_named_briefly(seeds, text):
    assert seeds_of([Run(Path("x"), "mnist", {"seed": seed}, {}, "") for seed in seeds]) == text


def test_figures_are_rounded_by_their_size():
    assert format_mean("test/acc", 0.98765, 0.001) == "98.77 ± 0.10 %"
    assert format_mean("test/loss", 0.123456) == "0.1235"
    assert format_mean("cv/rmse", 23456.7) == "23,457"
    assert format_mean("val/rmse", 3.2e-8, 1e-9) == "3.2e-08 ± 1e-09"


def test_reading_runs_needs_no_torch():
    code = "import sys; from experiments import compare; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_directory_itself_can_be_named(runs):
    assert [run.path for run in read_runs([runs / "0.1_0"])] == [runs / "0.1_0"]


LONG = {"optimizer": "adamw", "augment": "rotate:10,zoom:0.1,shift:2,erase:0.25", "label_smoothing": 0.1, "l1": 1e-5}


def test_scripts_and_data_have_tables_of_their_own_which_fit_a_terminal(runs, trained, capsys, monkeypatch):
    folder = runs.parent
    for number, (data, accuracy) in enumerate((("mnist", 0.99), ("cifar10", 0.8), ("cifar10", 0.9))):
        flags = {"sample": False, "folder": None, "seed": number} | ({} if number == 1 else LONG) | {"lr": number / 7}
        flags["started_by"] = f"{data}.py"
        make_run(folder / data / f"full{number}", trained[0], flags, {"val/acc": accuracy})
    (folder / "cifar10" / "full2" / "config.yaml").write_text(
        yaml.safe_dump(yaml.safe_load((folder / "cifar10" / "full2" / "config.yaml").read_text()) | {"only_here": 1})
    )
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        groups, out = run_compare(capsys, folder)
        tables = out.partition("runs compared")[0].splitlines()
        assert max(map(len, tables)) <= columns
        titles = [line for line in tables if "first" in line]
        orders = ["cifar10: 2 runs", "mnist: 1 run", "mnist, embedded sample: 6 runs"]
        assert titles == [f"{order}, best val/acc first" for order in orders]
        assert [len(group.runs) for group in groups] == [1, 1, 1, 3, 2, 1]
        assert groups[0].mean("val/acc") == 0.9
        assert all(value in out.replace("\n", "") for value in ("adamw", "smoothing", "0.2857"))
        assert "only_here" not in out  # what only some have tells nothing apart here
        assert groups[2].flags == {}


def test_flags_are_shown_in_full_below_each_other_where_there_is_no_room():
    wide = {f"flag_number_{number}": f"value{number}" for number in range(20)}
    other = dict.fromkeys(wide, "other")
    text = write_tables([table_of(run_with(**wide), run_with(accuracy=0.8, **other))], "table")
    assert max(map(len, text.splitlines())) <= 120
    words = text.split()
    assert all(f"{name}={value}" in words for its in (wide, other) for name, value in its.items())
    assert words.index("flag_number_19=value19") < words.index("flag_number_0=other")  # the better one first


def test_runs_are_ordered_by_the_metric_that_chose_their_epochs_in_its_direction():
    metrics = [{"val/acc": 0.9, "val/odd": 3.0, "test/odd": 9.0}, {"val/acc": 0.8, "val/odd": 4.0, "test/odd": 1.0}]
    expected = {"val/acc": [0.9, 0.8], "val/odd": [3.0, 4.0]}
    for monitor, order in expected.items():
        mode = {"monitor_mode": "min"} if monitor == "val/odd" else {}
        runs = [run_with(metrics=its, lr=lr, monitor=monitor, **mode) for its, lr in zip(metrics, (1, 2), strict=True)]
        table = table_of(*runs)
        assert (table.by, [group.mean(monitor) for group in table.groups]) == (monitor, order)
        assert table.metrics[:2] == [name for name in (monitor, monitor.replace("val", "test")) if name != "test/acc"]
    table = table_of(run_with(metrics=metrics[0], lr=1, monitor="val/odd"))  # which end is better, nothing says
    assert table.by is None


def test_losses_of_different_kinds_order_nothing():
    figures = [{"val/loss": 0.01, "val/rmse": 9.0}, {"val/loss": 0.4, "val/rmse": 5.0}]
    logs = (True, False)
    runs = [run_with("table", metrics=its, monitor="val/loss", log_target=log) for its, log in zip(figures, logs)]  # noqa: B905
    assert [group.mean("val/rmse") for group in table_of(*runs).groups] == [5.0, 9.0]
    assert table_of(*runs[:1]).by == "val/loss"
    for known in ("val/map", "val/acc"):
        figures = [{"val/loss": 0.1, known: 0.4}, {"val/loss": 0.6, known: 0.5}]
        kinds = zip(figures, ("focal", "bce"), strict=True)
        runs = [run_with("own_images", metrics=its, monitor="val/loss", loss=loss) for its, loss in kinds]
        assert [group.mean(known) for group in table_of(*runs).groups] == [0.5, 0.4]
    runs = [run_with("odd", metrics={"val/loss": 1.0}, monitor="val/loss", loss=loss) for loss in ("a", "b")]
    assert table_of(*runs).by is None


@pytest.mark.parametrize(
    ("script", "first", "second"),
    [
        ("mnist", {"sample": True}, {"sample": False}),
        ("own_images", {"data_dir": "cats"}, {"data_dir": "dogs"}),
        ("segmentation", {"data_dir": "plots"}, {"data_dir": "roads"}),
        ("segmentation", {"data_dir": "plots"}, {"data_dir": None}),
        ("table", {"csv": "a.csv", "target": "x"}, {"csv": "a.csv", "target": "y"}),
        ("table", {"csv": "a.csv", "task": "regression"}, {"csv": "a.csv", "task": "classification"}),
        ("table", {"sample": True, "task": "regression"}, {"sample": True, "task": "classification"}),
        ("own_images", {"labels": "ages.csv"}, {"labels": "heights.csv"}),
        ("own_images", {"labels": "a.csv", "task": "regression"}, {"labels": "a.csv", "task": "multilabel"}),
        ("cifar10", {}, {"data": "cifar10", "checkpoint": "runs/cifar100/run"}),  # of finetune.py
        ("house_prices", {"folds": 0}, {"folds": 5}),
        ("mnist", {"lr": 0.1}, None),
    ],
)
def test_unlike_runs_share_no_table(script, first, second):
    other = run_with(script, **second) if second is not None else Run(Path("y"), script, {}, {"val/acc": 0.9}, "")
    tables, _ = make_tables([run_with(script, **first), other], None)
    assert len(tables) == 2


def test_older_run_without_a_task_is_of_the_usual_one():
    table = table_of(run_with("table", csv="a.csv"), run_with("table", csv="a.csv", task="regression", lr=0.1))
    assert table.kind.title == "table, csv a.csv"


def test_runs_moved_to_one_folder_are_of_the_scripts_that_made_them(runs, trained, capsys):
    moved = runs.parent / "best"
    for script in ("mnist.py", "fashion_mnist.py", "my_own.py"):
        make_run(moved / script, trained[0], {"started_by": script}, {"val/acc": 0.9})
    groups, out = run_compare(capsys, moved)
    assert [group.runs[0].script for group in groups] == ["best", "fashion_mnist", "mnist"]
    assert "again" not in out


def test_a_run_of_unknown_flags_is_alone_and_in_no_order():
    runs = [Run(Path(f"runs/mnist/{name}"), "mnist", {}, {"val/acc": 0.5 + len(name)}, "") for name in ("a", "bb")]
    table = table_of(*runs)
    assert [(group.flags, len(group.runs)) for group in table.groups] == [({"run": "a"}, 1), ({"run": "bb"}, 1)]
    assert (table.by, table.kind.title) == (None, "mnist, flags unknown")


def test_null_is_as_good_as_a_flag_that_was_not_there_yet():
    runs = [run_with(lr=0.1), run_with(lr=0.1, new=None, net_args={}), run_with(lr=0.1, new=2)]
    assert [len(group.runs) for group in group_runs(runs, "val/acc")] == [2, 1]


def dated(day, **flags):
    return run_with(lr=0.1, **flags)._replace(path=Path("runs/mnist") / f"2026-01-0{day}_12-00-00_lenet5")


def test_seed_that_was_run_twice_counts_once_and_the_other_run_is_named():
    older, newer, other = dated(1, seed=0, accuracy=0.5), dated(3, seed=0, accuracy=0.9), dated(2, seed=1, accuracy=0.8)
    ((table,), left_out) = make_tables([older, newer, other], None)
    (group,) = table.groups
    assert [run.path for run in group.runs] == [newer.path, other.path]
    assert group.mean("val/acc") == pytest.approx((0.9 + 0.8) / 2)
    assert left_out == [(older, f"seed 0 again: {newer.path} counts")]
    assert write_tables([table], "table").splitlines()[-1].split()[:3] == ["2", "0", "1"]  # n and seeds
    unknown = [dated(day, seed=None) for day in (1, 2)]
    assert len(make_tables(unknown, None)[0][0].groups[0].runs) == 2


def test_run_that_was_renamed_is_as_old_as_its_first_curve(tmp_path):
    renamed, newer = (tmp_path / name for name in ("my_baseline", "2026-01-03_12-00-00_lenet5"))
    at = datetime(2026, 1, 2).timestamp()
    for path, seconds in ((renamed, at), (newer, at - 10**6)):  # a copy's files may be of any time
        path.mkdir()
        (path / f"events.out.tfevents.{seconds:.0f}.host.1.0").touch()
    runs = [run_with(seed=0)._replace(path=path) for path in (renamed, newer)]
    assert once_each(runs) == ([runs[1]], [(runs[0], f"seed 0 again: {newer} counts")])


def test_values_that_are_not_finite_are_left_out_of_curves(tmp_path):
    logger = RunLogger(tmp_path, name="", version="", default_hp_metric=False)
    for epoch, loss in enumerate((2.0, float("inf"), 1.0, float("nan"))):
        logger.log_metrics({"val/loss": loss, "epoch": epoch}, step=epoch)
    logger.save()
    run = run_with(metrics={"val/loss": 1.0}, monitor="val/loss")._replace(path=tmp_path)
    ((curve,), unreadable) = read_curves(table_of(run).groups, "val/loss")
    assert (curve.epochs.tolist(), curve.mean.tolist(), unreadable) == ([1, 3], [2.0, 1.0], [])
    save_figures({"curves": draw_tables([(table_of(run), [curve])])}, tmp_path)


def test_same_flags_of_another_script_are_no_seed_again():
    runs = [run_with(script, seed=0, lr=0.1) for script in ("mnist", "fashion_mnist")]
    assert once_each(runs) == (runs, [])


def test_empty_text_is_no_part_of_a_row():
    runs = [run_with(lr=0.1, seed=0), run_with(lr=0.1, seed=1, metrics_=[], callbacks="", augment="")]
    assert [(len(group.runs), group.flags) for group in group_runs(runs, "val/acc")] == [(2, {})]  # the first is older
    runs = [
        run_with(lr=0.1),
        run_with(lr=0.2, callbacks="", augment="flip"),
        run_with(lr=0.3, callbacks="", augment=""),
    ]
    assert [group.flags for group in group_runs(runs, "val/acc")] == [
        {"lr": "0.1"},
        {"lr": "0.2", "augment": "flip"},
        {"lr": "0.3"},
    ]


def test_a_mean_is_that_of_all_runs_or_none():
    runs = [run_with(metrics={"val/acc": 0.9, "test/loss": loss}, seed=loss) for loss in (1.0, float("nan"))]
    (group,) = group_runs(runs, "val/acc")
    assert (group.mean("val/acc"), group.mean("test/loss"), group.std("test/loss")) == (0.9, None, None)


def test_states_of_runs_are_told_apart(runs, capsys):
    for seed, name in enumerate(("running", "resumed"), start=10):
        make_run(runs / name, runs / "0.1_0", {"seed": seed}, {})
    (runs / "running" / "metrics.json").unlink()
    (runs / "1.0_0" / ".lock").touch()  # of a process that was killed
    rates = runs / "rates"
    (rates / "figures").mkdir(parents=True)
    (rates / "figures" / "find_lr.png").touch()
    (rates / "config.yaml").write_text("lr: 0.1\n")
    with claimed(runs / "running"), claimed(runs / "resumed"):  # one that has finished before goes on
        groups, out = run_compare(capsys, runs)
    assert sum(len(group.runs) for group in groups) == 6
    lines = [line for line in out.splitlines() if line.startswith(str(runs)) and not line.endswith("compare.png")]
    assert lines == [f"{runs / name}: running now" for name in ("resumed", "running")]
    groups, out = run_compare(capsys, runs)
    assert sum(len(group.runs) for group in groups) == 7
    assert f"{runs / 'running'}: interrupted; --resume goes on" in out


def test_a_folder_of_nothing_but_rate_tests_has_no_runs(tmp_path):
    (tmp_path / "run" / "figures").mkdir(parents=True)
    (tmp_path / "run" / "figures" / "find_lr.png").touch()
    (tmp_path / "run" / "config.yaml").write_text("lr: 0.1\n")
    with pytest.raises(FileNotFoundError, match="there are no runs"):
        read_runs([tmp_path])


def test_a_resumed_run_has_the_flags_of_today_in_tensorboard(trained):
    content = EventAccumulator(str(trained[1])).Reload().SummaryMetadata("_hparams_/session_start_info")
    flags = hparams.parse_session_start_info_plugin_data(content.plugin_data.content).hparams
    assert flags["max_epochs"].number_value == 3  # it was begun with 2
    assert {"devices", "precision", "net"} <= set(flags)
