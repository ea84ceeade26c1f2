"""What a resumed run refuses, and that a refusal writes nothing in its directory."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from basics.errors import InputError
from datamodules import MNIST, FashionMNIST
from experiments import fashion_mnist, house_prices, mnist
from harness.command_line.cli import cli
from harness.comparing.scripts import unfinished
from harness.runs.invocation import values
from harness.runs.resume import claimed, opened_run
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier

QUICK = [
    "--sample",
    "--accelerator",
    "cpu",
    "--max_epochs",
    "1",
    "--pictures",
    "false",
    "--enable_progress_bar",
    "false",
]
MLP = ["--net", "mlp", "--net_args.widths", "[8]", "--augment", "crop:1", "--batch_size", "256"]
FOLDS = ["--sample", "--accelerator", "cpu", "--max_epochs", "1", "--net", "linear", "--folds", "2", "--jobs", "1"]
FOLDS += ["--pictures", "false"]


def contents(folder):
    """Each file's name and bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def only_run(folder):
    (run,) = Path(folder).glob("*/*")
    return run


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--run_dir", str(folder)])
    return only_run(folder)


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A cross-validated run that was interrupted after its first fold."""
    folder = tmp_path_factory.mktemp("folds")
    cli(house_prices.main, house_prices.RECIPES, [*FOLDS, "--run_dir", str(folder)])
    run = only_run(folder)
    (run / "metrics.json").unlink()
    (run / "fold1" / "predictions.npz").unlink()
    return run


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--sample", "false"], "--sample False"),
        (["--seed", "3"], "--seed 3"),
        (["--val_size", "0.2"], "--val_size 0.2"),
        (["--augment", "flip"], "--augment flip"),
        (["--optimizer", "adam"], "--optimizer adam"),
        (["--lr", "0.001"], "--lr 0.001"),
        (["--lr_decay", "cosine"], "--lr_decay cosine"),
        (["--weight_decay", "0.3"], "--weight_decay 0.3"),
        (["--ema", "0.9"], "--ema 0.9"),
        (["--monitor", "val/loss"], "--monitor val/loss"),
        (["--net", "softmax"], "--net softmax"),
        (["--net_args.widths", "[9]"], "--net_args"),
        (["--limit_train_batches", "3"], "--limit_train_batches 3"),
        (["--precision", "bf16-mixed"], "--precision bf16-mixed"),
        (["--find_lr"], "find_lr"),
        (["--fast_dev_run", "2"], "fast_dev_run: a dry run starts from untrained weights"),
        (["--batch_size", "10"], "--batch_size 256 --accumulate_grad_batches 1"),
        (["--max_epochs", "2", "--checkpoint_every", "9999"], "checkpoint_every 9999"),  # found when training starts
        (["--max_epochs", "2", "--warmup_epochs", "2"], "--warmup_epochs 2"),
    ],
)
def test_run_goes_on_as_it_was_or_is_left_as_it_is(run, refusal, flags, named):
    before = contents(run)
    assert named in refusal(mnist.main, "--resume", str(run), *flags, recipes=mnist.RECIPES)
    assert contents(run) == before


def test_run_that_has_had_more_epochs_is_left_as_it_is(run, refusal, tmp_path):
    copy = tmp_path / "copy"
    cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--max_epochs", "3", "--run_dir", str(copy)])
    (copy := only_run(copy)).joinpath("metrics.json").unlink()  # as if it had been interrupted
    before = contents(copy)
    line = refusal(mnist.main, "--resume", str(copy), "--max_epochs", "2", recipes=mnist.RECIPES)
    assert line == "error: max_epochs 2: the run has had 3; with --max_epochs 3 it is tested as it is"
    assert contents(copy) == before
    cli(mnist.main, mnist.RECIPES, ["--resume", str(copy), "--max_epochs", "3"])
    assert metrics_of(copy)["epochs"] == 3


def test_finished_run_says_so_in_one_line_and_is_not_tested_again(run, capfd):
    before = contents(run)
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--log_every_n_steps", "7"])
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith(f"{run}: finished after 1 epoch; metrics.json has its figures")
    assert contents(run) == before


def test_result_of_a_finished_run_is_its_best_epoch(tmp_path):
    python_run(tmp_path, lr=0.03)
    run = only_run(tmp_path)
    result = resume_from_python(run, MNIST("data", 256, 0, 0.1, "", True))
    assert (result.run, result.metrics) == (run, metrics_of(run))
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[name]) for name, value in result.model.state_dict().items())


def test_run_of_another_script_is_left_as_it_is(run, refusal):
    before = contents(run)
    line = refusal(fashion_mnist.main, "--resume", str(run), recipes=fashion_mnist.RECIPES)
    assert "is a run of mnist.py" in line
    assert contents(run) == before


def test_data_and_model_are_compared_where_no_script_is_known(run, refusal, tmp_path):
    """Runs from before config.yaml named the script, and those that Python resumes, tell by their checkpoint."""
    config = run / "config.yaml"
    text = config.read_text()
    try:
        config.write_text("".join(line for line in text.splitlines(True) if not line.startswith("started_by:")))
        before = contents(run)
        line = refusal(fashion_mnist.main, "--resume", str(run), recipes=fashion_mnist.RECIPES)
        assert "name is mnist there and fashion_mnist here" in line
        for data, options, named in [
            (FashionMNIST, {}, "fashion_mnist here"),
            (MNIST, {"lr": 0.001}, "lr"),
        ]:
            with pytest.raises(ValueError, match=named):
                resume_from_python(run, data("data", 256, 0, 0.1, "crop:1", True), **options)
        assert contents(run) == before
    finally:
        config.write_text(text)


def resume_from_python(run, data, **options):
    data.prepare_data()
    data.setup()
    (hparams,) = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"],)
    model = Classifier(**{**hparams, **options})
    kept = yaml.safe_load((run / "config.yaml").read_text())
    flags = FitFlags(**{name: kept[name] for name in values(FitFlags()) if name in kept})
    return fit_and_test("mnist", model, data, replace(flags, resume=str(run)))


def test_python_resumes_with_the_flags_of_the_run_or_is_refused(tmp_path):
    python_run(tmp_path, lr=0.03)
    run = only_run(tmp_path)
    before = contents(run)
    data = MNIST("data", 256, 0, 0.1, "", True)
    data.prepare_data()
    data.setup()
    model = Classifier("softmax", data.input_shape, data.num_classes, data.mean, data.std, lr=0.03)
    flags = FitFlags(resume=str(run), accelerator="cpu", max_epochs=2, lr_decay="cosine")
    with pytest.raises(InputError, match=r"--lr_decay cosine: .* was started with constant"):
        fit_and_test("mnist", model, data, flags)
    assert contents(run) == before


def test_python_resumes_with_the_weights_of_classes_that_a_flag_asked_for(tmp_path):
    """The flag is a word, and the argument of the module a list of numbers; both are called class_weights."""
    cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--class_weights", "balanced", "--run_dir", str(tmp_path)])
    run = only_run(tmp_path)
    config = run / "config.yaml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "started_by:" not in line))
    data = MNIST("data", 256, 0, 0.1, "crop:1", True)
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]["class_weights"]
    assert len(weights) == 10
    assert resume_from_python(run, data).metrics == metrics_of(run)
    with pytest.raises(InputError, match="with other model: class_weights is"):
        resume_from_python(run, data, class_weights=[1.0] * 10)
    with pytest.raises(InputError, match="with other model: class_weights is"):
        resume_from_python(run, data, class_weights=None)


def test_python_does_not_go_on_with_the_run_of_a_script(run):
    before = contents(run)
    with pytest.raises(InputError, match=r"is a run of mnist\.py, .* a call from Python"):
        resume_from_python(run, MNIST("data", 256, 0, 0.1, "crop:1", True))
    assert contents(run) == before


def test_what_may_change_is_applied(run, tmp_path):
    flags = ["--max_epochs", "2", "--log_every_n_steps", "7", "--checkpoint_every", "2", "--early_stopping", "9"]
    cli(
        mnist.main,
        mnist.RECIPES,
        ["--resume", str(run), *flags, "--batch_size", "128", "--accumulate_grad_batches", "2"],
    )
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert [config[flag[2:]] for flag in flags[::2]] == [2, 7, 2, 9]
    assert (config["batch_size"], config["started_by"]) == (128, "mnist.py")
    # The test set was used after the first epoch, and again now.
    assert [metrics["test_evaluations"] for metrics in (metrics_of(run), earlier_metrics(run))] == [2, 1]
    assert (metrics_of(run)["epochs"], earlier_metrics(run)["epochs"]) == (2, 1)


def earlier_metrics(run):
    return json.loads((run / "metrics-1.json").read_text())


def test_running_run_of_folds_is_left_as_it_is(folds, refusal):
    before = contents(folds)
    with claimed(folds):
        during = contents(folds)
        line = refusal(house_prices.main, "--resume", str(folds), recipes=house_prices.RECIPES)
        assert "another process is training this run" in line
        assert contents(folds) == during
    assert contents(folds) == before


@pytest.mark.parametrize("flags", [["--lr", "0.5"], ["--max_epochs", "2"], ["--folds", "0"], ["--fold_seed", "1"]])
def test_folds_that_have_ended_stay_as_they_are(folds, refusal, flags):
    before = contents(folds)
    line = refusal(house_prices.main, "--resume", str(folds), *flags, recipes=house_prices.RECIPES)
    assert f"{flags[0]} {flags[1]}" in line
    assert contents(folds) == before


@pytest.mark.slow
def test_auto_takes_a_run_of_folds_with_another_timeout(folds):
    flags = [*FOLDS, "--run_dir", str(folds.parents[1]), "--resume", "auto", "--stall_timeout", "60"]
    cli(house_prices.main, house_prices.RECIPES, flags)
    assert metrics_of(folds)["folds"] == 2
    assert only_run(folds.parents[1]) == folds


def test_two_that_look_at_once_never_have_the_same_run(tmp_path):
    """`--resume auto` keeps the claim that it has looked by, so that the other begins a run of its own."""
    flags = {"lr": 0.1, "resume": "auto"}
    (tmp_path / "mnist" / "2026-01-01_00-00-00_x" / "fold0").mkdir(parents=True)
    (tmp_path / "mnist" / "2026-01-01_00-00-00_x" / "config.yaml").write_text("lr: 0.1\n")
    taken, barrier = [], threading.Barrier(4)

    def take():
        barrier.wait()
        with opened_run("mnist", str(tmp_path), "x", "auto", flags) as opened:
            taken.append(opened.folder)
            barrier.wait()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 4


def test_run_whose_last_checkpoint_is_cut_off_is_not_lost(run, tmp_path):
    folder = tmp_path / "trial"
    copy = folder / "mnist" / run.name / "checkpoints"
    copy.mkdir(parents=True)
    (copy.parent / "config.yaml").write_text("{}")
    (copy / "best.ckpt").write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    (copy / "last.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes()[:1000])
    assert unfinished(folder) == copy.parent
    (copy / "best.ckpt").write_bytes(b"")
    assert unfinished(folder) is None


def python_run(folder, resume=None, **options):
    data = MNIST("data", 256, 0, 0.1, "", True)
    data.prepare_data()
    data.setup()
    model = Classifier("softmax", data.input_shape, data.num_classes, data.mean, data.std, **options)
    quick = FitFlags(max_epochs=1, accelerator="cpu", pictures=False, enable_progress_bar=False)
    return fit_and_test("mnist", model, data, replace(quick, run_dir=str(folder), resume=resume))


def test_run_started_from_python_tells_its_arguments(tmp_path):
    python_run(tmp_path, lr=0.03)
    run = only_run(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    told = {name: config[name] for name in ("data", "net", "lr", "batch_size", "sample", "max_epochs")}
    assert told == {"data": "mnist", "net": "softmax", "lr": 0.03, "batch_size": 256, "sample": True, "max_epochs": 1}
    (run / "metrics.json").unlink()
    python_run(tmp_path, "auto", lr=0.05)  # another one
    (other,) = set(tmp_path.glob("mnist/*")) - {run}
    assert not (run / "metrics.json").exists()
    python_run(tmp_path, "auto", lr=0.03)
    assert (run / "metrics.json").exists()
    assert set(tmp_path.glob("mnist/*")) == {run, other}


def test_search_for_a_rate_submits_nothing(tmp_path):
    flags = [
        "--sample",
        "--accelerator",
        "cpu",
        "--net",
        "linear",
        "--folds",
        "0",
        "--find_lr",
        "--run_dir",
        str(tmp_path),
    ]
    found = cli(house_prices.main, house_prices.RECIPES, [*flags, "--run_dir", str(tmp_path)])
    assert set(found) == {"lr"}
    assert {path.name for path in only_run(tmp_path).rglob("*") if path.is_file()} == {"find_lr.png"}


@pytest.mark.parametrize("flags", [["--monitor", "val/luck"], ["--checkpoint_every", "9999"]])
def test_refused_run_leaves_no_directory(refusal, flags):
    refusal(mnist.main, *QUICK, *MLP, *flags, recipes=mnist.RECIPES)


def test_run_that_crashes_before_its_first_step_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(Classifier, "on_train_start", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--run_dir", str(tmp_path)])
    assert not list(tmp_path.glob("mnist/*"))


@pytest.mark.parametrize("name", ["r[1]", "a*b?", "$HOME", "~", "with space", "größe"])
def test_run_below_a_folder_of_any_name_is_one_and_can_be_resumed(tmp_path, name):
    folder = tmp_path / name
    cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--run_dir", str(folder)])
    run = only_run(folder)
    files = {path.parent.name for path in run.rglob("*") if path.is_file()}
    assert files == {run.name, "checkpoints"}
    assert {path.name for path in tmp_path.iterdir()} == {name}
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["sample"], config["net_args"], metrics_of(run)["epochs"]) == (True, {"widths": [8]}, 2)
    assert {path.parent.name for path in run.rglob("*") if path.is_file()} == files
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_home_is_where_a_shell_would_have_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    cli(mnist.main, mnist.RECIPES, [*QUICK, *MLP, "--run_dir=~/runs"])
    run = only_run(tmp_path / "home" / "runs")
    cli(mnist.main, mnist.RECIPES, [f"--resume=~/runs/mnist/{run.name}", "--max_epochs", "2"])
    assert metrics_of(run)["epochs"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_file_in_the_way_of_a_run_is_one_line(refusal, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mnist").write_text("")
    assert "File exists: runs/mnist" in refusal(mnist.main, *QUICK, *MLP, recipes=mnist.RECIPES)
