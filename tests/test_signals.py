"""SIGTERM, Ctrl-C, and ranks that fail or stall: exit status, seconds, surviving processes, and an exact resume."""

import os
import signal
import time

import pytest
from interrupt import SMALL, assert_same_weights, interrupt, only_run, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import Interruption, LRDecay
from experiments import mnist
from harness.command_line.cli import cli
from harness.runs.directories import find_run

LONG = [*SMALL, "--max_epochs", "300"]
TWO = ["--devices", "2"]

# Where the signal comes, by a hook that is called just before; and the flags of the run.
MOMENTS = [
    ("on_train_batch_start", 4, []),
    ("on_train_batch_end", 21, ["--accumulate_grad_batches", "4"]),  # the last batch of an epoch, in a step's midst
    ("on_before_optimizer_step", 9, ["--lr_decay", "plateau", "--lr_patience", "0"]),
    ("on_validation_start", 2, ["--ema", "0.9"]),
    ("on_validation_end", 2, ["--val_check_interval", "0.5"]),
    ("on_train_epoch_end", 1, ["--early_stopping", "2"]),
    ("on_test_start", 1, []),
]


@pytest.fixture
def run_mnist(tmp_path):
    def run(folder, *flags):
        flags = ["--run_dir", str(tmp_path / folder), *SMALL, "--max_epochs", "3", "--batch_size", "64", *flags]
        cli(mnist.main, mnist.RECIPES, flags)

    return run


def curves(run):
    events = EventAccumulator(str(run)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
        if "second" not in name
    }


@pytest.mark.parametrize(("hook", "call", "flags"), MOMENTS)
def test_run_that_is_interrupted_and_resumed_equals_the_whole_one(tmp_path, run_mnist, monkeypatch, hook, call, flags):
    run_mnist("whole", *flags)
    calls, sanity = 0, hook.startswith("on_validation")  # whose check comes before the first epoch

    after = getattr(LRDecay, hook)

    def send(self, trainer, *args):
        nonlocal calls
        calls += 1
        if calls == call + sanity:
            os.kill(os.getpid(), signal.SIGTERM)
        return after(self, trainer, *args)

    monkeypatch.setattr(LRDecay, hook, send)
    with pytest.raises(SystemExit) as stop:
        run_mnist("part", *flags)
    assert stop.value.code == 143
    whole, part = only_run(tmp_path / "whole"), only_run(tmp_path / "part")
    assert not (part / "metrics.json").exists()
    run_mnist("part", *flags, "--resume", "auto")
    assert only_run(tmp_path / "part") == part  # no second one
    assert_same_weights(whole, part)
    assert curves(whole) == curves(part)


def test_nothing_is_called_in_a_step_of_one_process(run_mnist, monkeypatch):
    monkeypatch.setattr(Interruption, "on_train_batch_end", None)  # not callable
    run_mnist("runs")


def test_auto_takes_the_newest_unfinished_run_with_the_same_flags(tmp_path, run_mnist):
    def interrupted(folder, *flags):
        run_mnist(folder, *flags)
        *_, run = sorted((tmp_path / folder / "mnist").iterdir())
        (run / "metrics.json").unlink()
        return run

    other = interrupted("runs", "--lr", "0.01")
    first = interrupted("runs")
    time.sleep(1.1)  # names have seconds
    second = interrupted("runs")
    run_mnist("runs", "--resume", "auto")
    finished = [(run / "metrics.json").exists() for run in (other, first, second)]
    assert finished == [False, False, True]
    run_mnist("runs", "--resume", "auto")
    assert (first / "metrics.json").exists()
    run_mnist("runs", "--resume", "auto")
    assert len(list((tmp_path / "runs" / "mnist").iterdir())) == 4  # a new one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "target", "status"),
    [(signal.SIGTERM, "group", 143), (signal.SIGTERM, "rank1", 143), (signal.SIGINT, "main", 130)],
)
def test_two_ranks_end_together_and_resume_exactly(tmp_path, number, target, status):
    flags = [*SMALL, *TWO, "--max_epochs", "40", "--run_dir"]
    ended = interrupt(start("mnist", *flags, str(tmp_path / "part")), "epoch 2", number, target)
    assert (ended.status, ended.survivors) == (status, []), ended.output
    assert ended.seconds < 15
    assert "Traceback" not in ended.output
    for folder in ("part", "whole"):
        process = start("mnist", *flags, str(tmp_path / folder), "--resume", "auto")
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert_same_weights(*map(only_run, (tmp_path / "part", tmp_path / "whole")))


@pytest.mark.slow
def test_run_that_trains_is_not_resumed(tmp_path):
    process = start("mnist", *LONG, "--run_dir", str(tmp_path))
    for line in process.stdout:
        if "epoch 2" in line:
            break
    run = only_run(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, mnist.RECIPES, ["--resume", str(run)])
    assert stop.value.code == 2
    assert interrupt(process, "epoch", signal.SIGKILL).status == -9
    assert find_run(str(run))


@pytest.mark.slow
def test_stalled_rank_ends_the_run_and_says_where(tmp_path):
    process = start("mnist", *LONG, *TWO, "--stall_timeout", "8", "--run_dir", str(tmp_path))
    ended = interrupt(process, "epoch 2", signal.SIGSTOP, "rank1")
    assert ended.status == 1
    assert ended.survivors == []
    assert ended.seconds < 30
    assert "no batch has ended for 8 s, rank 0, train, epoch" in ended.output
    assert "run_backward" in ended.output  # it waits for the other's gradients


@pytest.mark.slow
def test_killed_rank_ends_the_run(tmp_path):
    ended = interrupt(start("mnist", *LONG, *TWO, "--run_dir", str(tmp_path)), "epoch 2", signal.SIGKILL, "rank1")
    assert ended.status not in (0, 143)
    assert ended.survivors == []
    assert "rank 1 was killed by signal 9" in ended.output


RAISES = """
import sys
from harness.command_line.cli import cli
from experiments import mnist
from lit_modules import Classifier

step = Classifier.training_step

def raises(self, batch, batch_idx):
    if self.global_step == 20 and self.global_rank == {rank}:
        raise RuntimeError("the {rank} of May")
    return step(self, batch, batch_idx)

Classifier.training_step = raises
cli(mnist.main, mnist.RECIPES)
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_rank_that_raises_ends_the_run_and_shows_its_traceback(tmp_path, rank):
    script = tmp_path / "raises.py"
    script.write_text(RAISES.format(rank=rank))
    started = time.monotonic()
    process = start(script, *LONG, *TWO, "--run_dir", str(tmp_path))
    output, _ = process.communicate(timeout=120)
    assert process.returncode not in (0, 143)
    assert time.monotonic() - started < 60  # of which half a minute is the start, on a busy machine
    assert f"RuntimeError: the {rank} of May" in output
    assert ("rank 1 failed" in output) == bool(rank)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 2.0, 4.0, 6.0, 8.0])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("target", ["main", "group", "rank1"])
def test_signal_while_ranks_start(tmp_path, number, status, target, delay):
    process = start("mnist", *LONG, *TWO, "--run_dir", str(tmp_path))
    ended = interrupt(process, "run directory", number, target, 2.0 + delay)
    assert (ended.status, ended.survivors) == (status, []), ended.output
    assert ended.seconds < 15


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["1", "2"])
def test_second_signal_ends_at_once(tmp_path, devices):
    flags = [*LONG, "--devices", devices, "--batch_size", "2", "--accumulate_grad_batches", "600"]  # a long step
    process = start("mnist", *flags, "--run_dir", str(tmp_path), "--val_size", "2")
    for line in process.stdout:
        if "steps:" in line:
            break
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1.5)
    ended = interrupt(process, "", signal.SIGINT, "group")
    assert ended.status in (130, -signal.SIGINT)  # the same to a shell; the latter once Python itself ends
    assert ended.survivors == []
    assert ended.seconds < 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("target", ["main", "group"])
def test_cross_validation_leaves_no_worker(tmp_path, number, target):
    flags = ["--sample", "--net", "mlp", "--folds", "4", "--jobs", "2", "--max_epochs", "500", "--accelerator", "cpu"]
    process = start("house_prices", *flags, "--run_dir", str(tmp_path))
    ended = interrupt(process, "run directory", number, target, 5.0)
    assert ended.status == (-9 if number == signal.SIGKILL else 128 + number), ended.output
    (run,) = tmp_path.glob("house_prices/*")
    assert (f"interrupted; continue with --resume {run}" in ended.output) == (number != signal.SIGKILL)
    assert ended.survivors == []
    assert ended.seconds < 15
