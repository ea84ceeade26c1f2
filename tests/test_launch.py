"""The command line as a user sees it: flags, run directories, resuming, and one line for each mistake."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules import samples
from datamodules.arrays import write_arrays
from experiments import mnist
from harness.command_line.cli import cli
from harness.comparing.events import read_curve
from harness.drawing.learning_curves import read_curves
from harness.runs.checkpoints import find_checkpoint
from harness.runs.directories import find_run, new_run
from harness.runs.states import read_config
from harness.tasks.classification import ImageFlags
from lit_modules import Classifier

QUICK = ["--sample", "--net", "softmax", "--max_epochs", "2", "--accelerator", "cpu", "--pictures", "false"]


def run_mnist(tmp_path, *flags):
    """Runs mnist.py in this process and returns its run directory."""
    before = set(tmp_path.glob("runs/mnist/*"))
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(tmp_path / "runs"), *flags])
    new = set(tmp_path.glob("runs/mnist/*")) - before
    return new.pop() if new else None


def assert_same_weights(run, other):
    weights, others = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, other)
    )
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_run_leaves_the_promised_files(tmp_path):
    run = run_mnist(tmp_path, "--seed", "3")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/samples"] == 360
    assert metrics["epochs"] == 2
    assert metrics["parameters"] == 28 * 28 * 10 + 10
    assert (metrics["seed"], metrics["net"]) == (3, "softmax")
    assert {"test/acc", "test/loss", "val/acc", "val/loss", "seconds", "samples_per_second"} <= set(metrics)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert list(run.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("flags", [[], ["--ema", "0.9"], ["--swa", "0.3"], ["--test_flip", "--test_shift", "1"]])
def test_test_figures_are_those_of_the_best_checkpoint(tmp_path, flags):
    run = run_mnist(tmp_path, *flags)
    model = Classifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True, map_location="cpu")
    images, labels = torch.from_numpy(samples.digits().test_images), torch.from_numpy(samples.digits().test_labels)
    with torch.no_grad():
        right = model.eval()(images[:, None] / 255).argmax(1).eq(labels).double().mean()
    assert json.loads((run / "metrics.json").read_text())["test/acc"] == pytest.approx(right.item(), abs=1e-6)


def test_run_of_a_few_steps_is_validated_at_its_end(tmp_path):
    run = run_mnist(tmp_path, "--max_steps", "3")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 3
    (point,) = EventAccumulator(str(run)).Reload().Scalars("val/acc")
    assert (point.step, point.value) == (2, pytest.approx(metrics["val/acc"], abs=1e-6))


def test_config_repeats_the_run(tmp_path):
    first = run_mnist(tmp_path, "--lr", "0.07", "--augment", "crop:2")
    before = set(tmp_path.glob("runs/mnist/*"))
    cli(mnist.main, mnist.RECIPES, ["--config", str(first / "config.yaml")])
    (second,) = set(tmp_path.glob("runs/mnist/*")) - before
    weights = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (first, second)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert yaml.safe_load((first / "config.yaml").read_text())["lr"] == 0.07


def test_tensorboard_has_curves_layout_graph_and_final_figures(tmp_path):
    run = run_mnist(tmp_path, "--log_gradients", "--log_every_n_steps", "5")
    events = EventAccumulator(str(run)).Reload()
    wanted = {"train/loss", "val/loss", "train/acc", "val/acc", "step/lr", "train/samples_per_second", "test/acc"}
    assert wanted | {"gradients/total", "gradients/net.linear"} <= set(events.Tags()["scalars"])
    assert events.Tags()["graph"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert events.Scalars("test/acc")[-1].value == pytest.approx(metrics["test/acc"], abs=1e-6)
    assert [event.step for event in events.Scalars("val/loss")] == sorted({e.step for e in events.Scalars("val/loss")})
    values = [event.value for event in events.Scalars("val/acc")]
    assert [event.value for event in events.Scalars("best/val/acc")] == np.maximum.accumulate(values).tolist()
    assert events.Scalars("best/val/acc")[-1].value == pytest.approx(metrics["val/acc"], abs=1e-6)
    assert "epoch" not in events.Tags()["scalars"]
    assert [(event.step, event.value) for event in events.Scalars("x_axis/epoch")] == [(10, 0), (21, 1)]
    (text,) = events.Tensors("results/best_epoch/text_summary")[0].tensor_proto.string_val
    assert f"| test/acc | {metrics['test/acc']:.6g} |" in text.decode().splitlines()
    plugins = {tag for name in ("custom_scalars", "hparams") for tag in events.PluginTagToContent(name)}
    assert "custom_scalars__config__" in plugins
    assert "_hparams_/session_start_info" in plugins


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    net = ["--net", "mlp", "--net_args.dropout", "0.2", "--net_args.widths", "[32]", "--augment", "crop:2"]
    decay = ["--lr_decay", "plateau", "--lr_patience", "0"]
    whole = run_mnist(tmp_path, *net, *decay, "--max_epochs", "5")
    part = run_mnist(tmp_path, *net, *decay, "--max_epochs", "2")
    assert run_mnist(tmp_path, "--resume", str(part), *net, "--max_epochs", "5") is None  # no new directory
    assert_same_weights(whole, part)
    events = [EventAccumulator(str(run)).Reload() for run in (whole, part)]
    for curve in ("train/loss", "best/val/acc"):
        points = [[(event.step, event.value) for event in its.Scalars(curve)] for its in events]
        assert points[0] == points[1]
    texts = events[1].Tensors("run/command/text_summary")
    assert [text.step for text in texts] == [0, 22]  # after two epochs of eleven steps
    assert [b"--resume" in text.tensor_proto.string_val[0] for text in texts] == [False, True]
    results = [json.loads((run / "metrics.json").read_text()) for run in (whole, part)]
    assert results[0]["test/loss"] == results[1]["test/loss"]
    assert results[0]["epochs"] == results[1]["epochs"]


def test_resume_takes_its_flags_from_the_run(tmp_path):
    run = run_mnist(tmp_path, "--lr", "0.03", "--label_smoothing", "0.1")
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run / "checkpoints" / "last.ckpt"), "--max_epochs", "3"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["lr"], config["label_smoothing"], config["max_epochs"]) == (0.03, 0.1, 3)
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3


def test_recipe_of_the_net_is_a_default_that_a_flag_replaces(tmp_path):
    recipes = {"softmax": ImageFlags(net="softmax", lr=0.02, batch_size=200)}
    cli(mnist.main, recipes, ["--run_dir", str(tmp_path), *QUICK, "--batch_size", "100"])
    (file,) = tmp_path.glob("mnist/*/config.yaml")
    config = yaml.safe_load(file.read_text())
    assert (config["lr"], config["batch_size"]) == (0.02, 100)


def test_short_run_has_time_left_after_the_warm_up_of_the_recipe(tmp_path, capsys, refusal):
    recipes = {"softmax": ImageFlags(net="softmax", lr=0.02, warmup_epochs=1)}
    flags = [*QUICK, "--max_epochs", "1", "--run_dir", str(tmp_path)]
    cli(mnist.main, recipes, flags)
    assert "note: warmup_epochs 0.2, as the recipe's 1 would be the whole run\n" in capsys.readouterr().out
    (run,) = tmp_path.glob("mnist/*")
    assert read_config(run)["warmup_epochs"] == 0.2
    rates = [point.value for point in EventAccumulator(str(run)).Reload().Scalars("step/lr")]
    assert max(rates) > 0.019 > rates[0]
    cli(mnist.main, recipes, ["--resume", str(run), "--max_epochs", "2"])
    assert read_config(run)["warmup_epochs"] == 0.2
    cli(mnist.main, recipes, [*flags, "--folds", "2", "--jobs", "1"])
    said = refusal(mnist.main, *flags[:-2], "--warmup_epochs", "2", recipes=recipes)  # as one asked for it oneself
    assert said == "error: warmup_epochs 2.0: must be shorter than the run, such as 0.2"


def test_fast_dev_run_writes_nothing(tmp_path, capsys):
    assert run_mnist(tmp_path, "--fast_dev_run") is None
    assert not (tmp_path / "runs").exists()
    assert "nothing is written" in capsys.readouterr().out


def test_overfit_batches_reaches_a_loss_near_zero(tmp_path):
    flags = ["--overfit_batches", "1", "--max_epochs", "60", "--net", "lenet5", "--lr_decay", "constant"]
    plain = ["--optimizer", "sgd", "--augment", "", "--weight_decay", "0", "--lr", "0.05", "--label_smoothing", "0"]
    run = run_mnist(tmp_path, *flags, *plain)
    losses = EventAccumulator(str(run)).Reload().Scalars("train/loss")
    assert len(losses) == 60
    assert losses[-1].value < 0.02


def test_limit_train_batches_counts_steps(tmp_path):
    run = run_mnist(tmp_path, "--limit_train_batches", "3")
    assert json.loads((run / "metrics.json").read_text())["steps"] == 2 * 3


def test_early_stopping_ends_the_run(tmp_path):
    run = run_mnist(tmp_path, "--lr", "1e-9", "--lr_decay", "constant", "--max_epochs", "50", "--early_stopping", "2")
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3  # the first is the best; two without progress


def test_said_once_before_training(tmp_path, capsys):
    run_mnist(tmp_path, "--batch_size", "100")
    out = capsys.readouterr().out
    assert "1,293 training, 144 validation and 360 test images" in out  # 1,437 less a tenth
    assert "7,850 parameters" in out
    assert "26 steps: 2 epochs of 13 batches on 1 x cpu" in out  # 1,293 / 100 = 12.93
    assert out.count("parameters") == 1


def arrays_with(folder, **changes):
    write_arrays(folder / "mnist", samples.digits()._replace(**changes))


def many_images(folder):
    arrays_with(folder, train_labels=samples.digits().train_labels[:-1])


def wrong_label(folder):
    labels = samples.digits().test_labels.copy()
    labels[7] = 10
    arrays_with(folder, test_labels=labels)


def wrong_type(folder):
    arrays_with(folder, train_images=samples.digits().train_images.astype(np.float32))


def truncated(folder):
    arrays_with(folder)
    path = folder / "mnist" / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def one_missing(folder):
    arrays_with(folder)
    (folder / "mnist" / "test_labels.npy").unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (many_images, ["train_labels.npy", "1436", "1437"]),
        (wrong_label, ["test_labels.npy", "row 7", "10"]),
        (wrong_type, ["train_images.npy", "float32"]),
        (truncated, ["train_images.npy"]),
        (one_missing, ["test_labels.npy"]),
    ],
)
def test_spoilt_data_is_named_in_one_line(tmp_path, capsys, spoil, named):
    spoil(tmp_path)
    line = refused(tmp_path, capsys, ["--data_dir", str(tmp_path), "--sample", "false"])
    assert all(part in line for part in named)


def test_data_neither_there_nor_downloadable_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    line = refused(tmp_path, capsys, ["--data_dir", str(tmp_path / "data"), "--sample", "false"])
    assert str(tmp_path / "data" / "mnist") in line
    assert "--sample" in line


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--net", "lenet6"], ["lenet6", "did you mean lenet5", "softmax"]),
        (["--net_args.depth", "3"], ["depth", "softmax"]),
        (["--net", "mlp", "--net_args.activation", "rellu"], ["rellu", "did you mean relu"]),
        (["--optimizer", "adm"], ["adm", "did you mean adam"]),
        (["--augment", "crop,flp"], ["flp", "flip"]),
        (["--lr_decay", "cosin"], ["cosin", "cosine"]),
        (["--devs", "2"], ["--devs", "did you mean --devices"]),
        (["--max_epochs", "many"], ["--max_epochs", "many", "int"]),
        (["--lr", "-1"], ["-1"]),
        (["--batch_size", "0"], ["batch_size 0"]),
        (["--val_size", "70000"], ["70000", "1437"]),
        (["--label_smoothing", "2"], ["label_smoothing"]),
        (["--warmup_epochs", "5"], ["warmup_epochs 5"]),
        (["--resume", "runs/nothing"], ["runs/nothing"]),
        (["--monitor", "val/f1"], ["val/f1", "val/acc", "val/loss"]),
        (["--early_stopping", "2", "--monitor", "val/lss"], ["val/lss"]),
        (["--config", "nothing.yaml"], ["nothing.yaml"]),
        (["--accelerator", "abacus"], ["abacus"]),
        (["--plugins", "subprocess.Popen"], ["plugins"]),
    ],
)
def test_mistake_on_the_command_line_is_one_line(tmp_path, capsys, flags, named):
    line = refused(tmp_path, capsys, flags)
    assert all(part in line for part in named), line


def refused(tmp_path, capsys, flags):
    """The one line on stderr of a run that must end with status 2 before its first step."""
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, {}, [*QUICK, "--run_dir", str(tmp_path / "runs"), *flags])
    assert stop.value.code == 2
    assert not list(tmp_path.glob("runs/**/*.ckpt"))
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if "Warning" not in line and not line.startswith("  ")]  # Python's own warnings
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def test_error_inside_a_library_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("datamodules.mnist.MNIST.make_sample", staticmethod(lambda: json.loads("not json")))
    with pytest.raises(json.JSONDecodeError):
        cli(mnist.main, {}, QUICK)


def test_runs_that_start_at_once_get_directories_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: new_run("mnist", str(tmp_path), "net"), range(8)))
    assert len(set(runs)) == 8
    assert all(run.is_dir() for run in runs)


def test_find_run_takes_a_directory_or_a_file(tmp_path):
    run = run_mnist(tmp_path)
    last = run / "checkpoints" / "last.ckpt"
    assert find_run(str(run)) == find_run(str(last)) == (run, last)


def test_help_names_flags_of_ours_and_of_the_trainer(capsys):
    with pytest.raises(SystemExit) as end:
        cli(mnist.main, mnist.RECIPES, ["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for flag in ("--net", "--lr_decay", "--early_stopping", "--sample", "--devices", "--precision", "--num_nodes"):
        assert flag in out


def test_last_epoch_is_the_model_where_no_metric_chooses(tmp_path, capsys):
    run = run_mnist(tmp_path, "--monitor", "null", "--checkpoint_epochs", "5", "--max_epochs", "3")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2  # the third
    assert find_checkpoint(str(run)) == run / "checkpoints" / "last.ckpt"
    printed = capsys.readouterr().out
    assert "last epoch" in printed and "best epoch" not in printed
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3


def test_run_that_stopped_early_is_left_as_it_is(tmp_path, capsys):
    flags = ["--early_stopping", "1", "--max_epochs", "50", "--lr", "20"]
    run = run_mnist(tmp_path, *flags)
    content = (run / "metrics.json").read_bytes()
    assert json.loads(content)["epochs"] < 50
    run_mnist(tmp_path, "--resume", str(run))
    assert (run / "metrics.json").read_bytes() == content
    assert "metrics.json has its figures" in capsys.readouterr().out


def test_curves_by_epoch_have_a_point_for_each_also_where_a_run_was_interrupted(tmp_path):
    flags = ["--curves_by", "epoch", "--log_every_n_steps", "4", "--checkpoint_epochs", "2"]
    run = run_mnist(tmp_path, *flags, "--max_epochs", "3", "--limit_train_batches", "5")
    before = json.loads((run / "metrics.json").read_text())["test/acc"]
    checkpoint = run / "checkpoints" / "last.ckpt"
    events = EventAccumulator(str(run)).Reload()
    names = ("train/loss", "val/loss", "step/loss", "step/lr")
    assert all([event.step for event in events.Scalars(name)] == [1, 2, 3] for name in names)
    assert [(e.step, e.value) for e in events.Scalars("test/acc")] == [(3, pytest.approx(before))]
    assert read_curve(run, "val/loss")[0] == [1, 2, 3]
    assert read_curves(run).metrics["loss"]["val"].epochs == [1, 2, 3]
    content = torch.load(checkpoint, weights_only=True)
    assert (content["epoch"], content["datamodule_hyper_parameters"]["name"]) == (2, "mnist")
    run_mnist(tmp_path, "--resume", str(run), "--max_epochs", "5")
    events = EventAccumulator(str(run)).Reload()
    assert all([event.step for event in events.Scalars(name)] == [1, 2, 3, 4, 5] for name in names)


def test_text_tab_has_command_config_environment_and_code(tmp_path):
    run = run_mnist(tmp_path, "--lr", "0.034")
    texts = {
        name: EventAccumulator(str(run))
        .Reload()
        .Tensors(f"run/{name}/text_summary")[0]
        .tensor_proto.string_val[0]
        .decode()
        for name in ("command", "config", "environment", "code")
    }
    assert texts["command"].strip().startswith("python experiments/mnist.py --sample")
    assert texts["command"].strip().endswith("--lr 0.034")
    assert yaml.safe_load(texts["config"])["lr"] == 0.034
    assert f"| torch | {torch.__version__}" in texts["environment"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(mnist.__file__).parent, capture_output=True, text=True
    )
    assert commit.stdout.strip() in texts["code"]


def test_training_without_validation_takes_all_files_and_tests_its_last_epoch(tmp_path, capsys):
    run = run_mnist(tmp_path, "--val_size", "0")
    metrics = json.loads((run / "metrics.json").read_text())
    assert "1,437 training, 0 validation and 360 test images" in capsys.readouterr().out
    assert metrics["steps"] == 2 * 12  # eleven batches of 128, the recipe's, and one of 29
    assert not [name for name in metrics if name.startswith("val/")]
    assert read_config(run)["monitor"] is None
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("flags", [["--early_stopping", "3"], ["--lr_decay", "plateau"]])
def test_nothing_is_decided_by_validation_if_there_is_none(tmp_path, capsys, flags):
    line = refused(tmp_path, capsys, [*flags, "--val_size", "0"])
    assert line == f"error: --val_size 0: {' '.join(flags)} decides by a validation split"
