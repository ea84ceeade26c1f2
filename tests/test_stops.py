"""Trainings that end by steps, time or early stopping, within an epoch or at its end; validation within epochs."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from interrupt import SMALL, assert_same_weights, start
from test_resume import STEPS, assert_same_run, at_call, before, curves, killed, the_run, train

from callbacks import LastCheckpoint, LRDecay
from harness.training import fit

NONE_BETTER = ["--lr", "1e-9"]  # the first validation stays the best
OFTEN = ["--val_check_interval", "4"]  # of 11 batches: after 4 and 8
PLATEAU = ["--lr_decay", "plateau", "--lr_patience", "0", *NONE_BETTER]
NO_VALIDATION = ["--limit_val_batches", "0", "--monitor", "null"]

# The flags of the run, those by which it stops, the step at which it is to, and those by which it goes on to the end.
STOPS = {
    "max_steps": ([], ["--max_steps", "17"], 17, ["--max_steps", "33"]),
    "max_steps, at an epoch's end": ([], ["--max_steps", "22"], 22, ["--max_steps", "33"]),
    "max_steps, where validation is due": (OFTEN, ["--max_steps", "15"], 15, ["--max_steps", "33"]),
    "max_steps, plateau": (PLATEAU, ["--max_steps", "17"], 17, ["--max_steps", "33"]),
    "max_steps, no validation": (NO_VALIDATION, ["--max_steps", "17"], 17, ["--max_steps", "33"]),
    "max_steps, accumulating": (
        ["--accumulate_grad_batches", "2", "--ema", "0.9", *OFTEN],
        ["--max_steps", "9"],
        9,
        ["--max_steps", "18"],
    ),
    "max_steps, validation every other epoch": (
        ["--check_val_every_n_epoch", "2"],
        ["--max_steps", "5"],
        5,
        ["--max_steps", "33"],
    ),
    "max_epochs, validation every other epoch": (
        ["--check_val_every_n_epoch", "2", *PLATEAU],
        ["--max_epochs", "3"],
        33,
        ["--max_epochs", "5"],
    ),
    "max_time": ([], ["--max_time", "00:00:00:17"], 17, ["--max_time", "00:01:00:00"]),
    "max_time, accumulating": (  # batch 17 is the 6th of its epoch, batch 18 the 7th, in a step's midst
        ["--accumulate_grad_batches", "2", *OFTEN],
        ["--max_time", "00:00:00:18"],
        10,
        ["--max_time", "00:01:00:00"],
    ),
    "early stopping": ([*OFTEN, *NONE_BETTER], ["--early_stopping", "2"], 15, ["--early_stopping", "9"]),
    "early stopping, accumulating": (  # in validation after the 9th batch, so after the 10th
        ["--val_check_interval", "3", "--accumulate_grad_batches", "2", *NONE_BETTER],
        ["--early_stopping", "2"],
        5,
        ["--early_stopping", "99"],
    ),
}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock of Lightning's timer, by which each batch takes a second."""
    clock = SimpleNamespace(now=0.0)
    after = LRDecay.on_train_batch_start

    def tick(*args):
        clock.now += 1.0
        after(*args)

    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(LRDecay, "on_train_batch_start", tick)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Trains three epochs with these flags, once in all tests, and returns the run."""
    runs = {}

    def run_of(*flags):
        if flags not in runs:
            folder = tmp_path_factory.mktemp("whole")
            train(folder, "--pictures", "false", "--max_epochs", "3", *flags)
            runs[flags] = the_run(folder)
        return runs[flags]

    return run_of


def saved(run, name):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def score(run):
    return float(saved(run, "best")["callbacks"]["EpochCheckpoint(best)"]["best_model_score"])


@pytest.mark.parametrize("name", STOPS)
def test_training_that_stops_is_validated_and_goes_on_as_if_it_had_not(tmp_path, run_of, name):
    flags, stop, step, more = STOPS[name]
    flags = ["--pictures", "false", "--max_epochs", "3", *flags]
    train(tmp_path, *flags, *stop)
    run = the_run(tmp_path)
    assert saved(run, "last")["global_step"] == metrics_of(run)["steps"] == step
    if "no validation" not in name:
        assert curves(run)["val/acc"][-1][0] == step - 1
    train(tmp_path, *flags, *more, "--resume", str(run))
    whole = run_of(*flags[4:], *more)
    one, other = saved(whole, "last"), saved(run, "last")
    assert one["global_step"] == other["global_step"]
    assert metrics_of(whole)["epochs"] == metrics_of(run)["epochs"]
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)
    for tag, points in curves(whole).items():
        further = set(curves(run)[tag]) - set(points)
        assert set(points) <= set(curves(run)[tag]), tag
        assert {at for at, _ in further} <= ({step - 1} if step % STEPS or "val" in tag else set()), tag


@pytest.mark.parametrize("flags", [OFTEN, ["--max_steps", "17"], ["--check_val_every_n_epoch", "2"]])
def test_best_checkpoint_is_of_the_step_of_its_validation(run_of, flags):
    run = run_of(*flags)
    validations = curves(run)["val/acc"]
    best = max(value for _, value in validations)
    assert score(run) == pytest.approx(best, abs=1e-6)
    assert metrics_of(run)["val/acc"] == pytest.approx(best, abs=1e-6)  # of the file's weights
    assert saved(run, "best")["global_step"] - 1 == next(step for step, value in validations if value == best)
    assert validations[-1][0] + 1 == metrics_of(run)["steps"]  # the run's last weights are among those


@pytest.mark.slow
def test_two_ranks_stop_and_go_on(tmp_path):
    flags = [*SMALL, *OFTEN, "--devices", "2", "--batch_size", "64", "--lr_decay", "constant", "--max_epochs", "3"]
    for folder, more in {
        "whole": ["--max_steps", "33"],
        "part": ["--max_steps", "9"],
        "part/mnist/*": ["--max_steps", "33"],
    }.items():
        (run,) = [*tmp_path.glob(folder), None][:1]
        place = ["--resume", str(run)] if run else ["--run_dir", str(tmp_path / folder)]
        process = start("mnist", *flags, *more, *place)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert_same_weights(the_run(tmp_path / "whole"), the_run(tmp_path / "part"))


def in_validation_end(number):
    """Between the saving of the best checkpoint and the last one; the first call is Lightning's sanity check."""
    return at_call(LastCheckpoint, "on_validation_end", number)


@pytest.mark.parametrize(
    ("flags", "hooks"),
    [
        (OFTEN, [in_validation_end(2)]),  # best.ckpt is all that there is
        (OFTEN, [in_validation_end(5), in_validation_end(2)]),  # a resumed run has no sanity check
        (["--max_steps", "17"], [in_validation_end(3)]),
        (["--max_steps", "17"], [before(fit, "finish", lambda *_: True)]),
        ([*OFTEN, *NONE_BETTER, "--early_stopping", "2"], [before(fit, "finish", lambda *_: True)]),
    ],
)
def test_kill_at_a_validations_checkpoints_changes_nothing(tmp_path, run_of, flags, hooks):
    resume = ["--pictures", "false", "--max_epochs", "3"]
    for hook in hooks:
        killed(tmp_path, hook, *flags, *resume)
        resume = [*resume, "--resume", str(the_run(tmp_path))]
    train(tmp_path, *flags, *resume)
    assert_same_run(run_of(*flags), the_run(tmp_path))


def test_signal_after_an_epochs_last_validation_leaves_its_figure_with_its_weights(tmp_path, run_of, monkeypatch):
    after = LRDecay.on_train_batch_start

    def send(self, trainer, *args):
        if trainer.global_step == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        after(self, trainer, *args)

    flags = ["--pictures", "false", "--max_epochs", "3", *OFTEN]
    with monkeypatch.context() as patch:
        patch.setattr(LRDecay, "on_train_batch_start", send)
        with pytest.raises(SystemExit):
            train(tmp_path, *flags)
    run = the_run(tmp_path)
    assert saved(run, "best")["global_step"] == 8
    train(tmp_path, *flags, "--resume", str(run))
    assert_same_run(run_of(*OFTEN), run)


def test_run_whose_time_is_used_up_says_so(tmp_path, capsys):
    flags = ["--pictures", "false", "--max_time", "00:00:00:05"]
    train(tmp_path, *flags)
    run = the_run(tmp_path)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    for resume in ([], ["--resume", str(run)]):
        if resume:
            train(tmp_path, *flags, *resume)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("max_time")]
        assert "used up after 0:00:05 of training, 5 steps" in line
        assert f"--resume {run}" in line
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
