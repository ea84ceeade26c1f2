"""Runs that are killed with SIGKILL and resumed end bit for bit like a run that was never killed."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import FiniteGuard, LastCheckpoint, StepCurves
from experiments import mnist
from harness.command_line.cli import cli
from harness.runs import checkpoint_files
from harness.training import fit, report

NET = ["--net", "mlp", "--net_args.widths", "[16]", "--net_args.dropout", "0.2", "--augment", "crop:2"]
QUICK = ["--sample", "--accelerator", "cpu", "--batch_size", "128", "--max_epochs", "2", "--log_every_n_steps", "1"]
QUICK += ["--pictures", "false"]
STEPS = 11  # batches of an epoch: 1,293 images in batches of 128


def test_pictures_that_a_kill_has_left_out_are_drawn_when_the_run_is_resumed(tmp_path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    flags = ["--sample", "--net", "softmax", "--max_epochs", "1", "--accelerator", "cpu", "--run_dir", str(tmp_path)]
    monkeypatch.setattr(report, "draw_final", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        cli(mnist.main, mnist.RECIPES, flags)
    monkeypatch.undo()
    (run,) = tmp_path.glob("mnist/*")
    assert not (run / "metrics.json").exists()
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run)])
    assert {"learning_curves.png", "confusion.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert json.loads((run / "metrics.json").read_text())["test_evaluations"] == 1


def train(run_dir, *flags):
    cli(mnist.main, {}, [*NET, *QUICK, "--run_dir", str(run_dir), *flags])


def the_run(run_dir):
    (run,) = Path(run_dir).glob("mnist/*")
    return run


def killed(run_dir, hook, *flags):
    """Trains in a forked process, in which `hook` has set where it kills itself."""

    def child():
        hook()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        train(run_dir, *flags)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, condition):
    """A hook that kills before `owner.name` does its work, where the condition on its arguments holds."""

    def install():
        original = getattr(owner, name)

        def hooked(*args, **kwargs):
            return die() if condition(*args) else original(*args, **kwargs)

        setattr(owner, name, hooked)

    return install


def at_step(step):
    return before(StepCurves, "on_train_batch_end", lambda self, trainer, *_: trainer.global_step == step)


def at_call(owner, name, number):
    """A hook that kills at that many calls of `owner.name`."""
    calls = iter(range(1, 10**6))
    return before(owner, name, lambda *_: next(calls) == number)


def between_best_and_last(epoch):
    return before(LastCheckpoint, "on_train_epoch_end", lambda self, trainer, *_: trainer.current_epoch == epoch)


def in_validation(number):
    return at_call(FiniteGuard, "on_validation_end", number)


def curves(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    names = [tag for tag in events.Tags()["scalars"] if "second" not in tag]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in names}


def results(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if "second" not in name and name != "git_commit"}


def assert_same(one, other, where=""):
    """Compares what two checkpoints hold, in whatever containers."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(whole, resumed):
    names, others = ({path.name for path in run.glob("checkpoints/*")} for run in (whole, resumed))
    assert names == others
    for name in names:
        states = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (whole, resumed)]
        for state in states:
            del state["loops"]
            for callback, content in state["callbacks"].items():
                state["callbacks"][callback] = {
                    k: v for k, v in content.items() if "path" not in k and k != "best_k_models"
                }
            state["callbacks"].pop("Throughput")
        assert_same(*states)
    assert curves(resumed) == curves(whole)
    assert results(resumed) == results(whole)


PLATEAU = ["--lr_decay", "plateau", "--lr_patience", "0", "--early_stopping", "5", "--checkpoint_every", "4"]
ACCUMULATE = ["--accumulate_grad_batches", "2", "--checkpoint_every", "3", "--ema", "0.9", "--lr_decay", "cosine"]
HALVES = ["--val_check_interval", "5", "--checkpoint_every", "5", "--lr", "1e-6", *PLATEAU[:4]]  # no round is better
RARELY = ["--checkpoint_epochs", "2", "--checkpoint_every", "11", "--swa", "0.3", "--monitor", "null"]
RARELY += ["--limit_val_batches", "0", "--lr_decay", "onecycle"]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    runs = {}

    def run_of(flags):
        if tuple(flags) not in runs:
            folder = tmp_path_factory.mktemp("whole")
            train(folder, *flags)
            runs[tuple(flags)] = the_run(folder)
        return runs[tuple(flags)]

    return run_of


@pytest.mark.parametrize(
    ("flags", "hooks"),
    [
        (PLATEAU, [at_step(5), between_best_and_last(1)]),
        (PLATEAU, [in_validation(2), at_step(STEPS + 2)]),  # the first one is Lightning's sanity check
        (PLATEAU, [at_call(checkpoint_files, "_comment", 3), at_call(checkpoint_files, "sync_folder", 4)]),
        (ACCUMULATE, [at_step(4)]),
        (HALVES, [at_step(6)]),
        (RARELY, [at_step(STEPS + 1)]),
    ],
)
def test_killed_run_ends_as_the_whole_one(tmp_path, whole_runs, flags, hooks):
    resume = []
    for hook in hooks:
        killed(tmp_path, hook, *flags, *resume)
        resume = ["--resume", str(the_run(tmp_path))]
    train(tmp_path, *flags, *resume)
    assert not list(tmp_path.rglob("*.unfinished"))
    assert_same_run(whole_runs(flags), the_run(tmp_path))


def test_run_that_was_to_stop_early_trains_no_further(tmp_path):
    flags = ["--lr", "1e-9", "--max_epochs", "9", "--early_stopping", "1"]
    killed(tmp_path, before(fit, "finish", lambda *_: True), *flags)
    train(tmp_path, *flags, "--resume", str(the_run(tmp_path)))
    assert results(the_run(tmp_path))["epochs"] == 2  # the first is the best, the second no better


def test_moved_run_keeps_its_best_epoch(tmp_path):
    killed(tmp_path / "here", between_best_and_last(1), *PLATEAU)
    (tmp_path / "here").rename(tmp_path / "there")
    train(tmp_path, *PLATEAU, "--resume", str(the_run(tmp_path / "there")))
    assert results(the_run(tmp_path / "there"))["epochs"] == 2
    assert not (tmp_path / "here").exists()
