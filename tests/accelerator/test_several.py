"""Ranks that talk by NCCL, on two GPUs. With TEST_ACCELERATOR=cpu two processes take their place, by gloo."""

import json
import re
import subprocess
import sys

import pytest
import torch
from accelerated_runs import ACCELERATOR, ROOT, assert_same, last_checkpoint, run_in

needs_two = pytest.mark.skipif(
    ACCELERATOR == "cuda" and torch.cuda.device_count() < 2, reason="fewer than two GPUs here that torch can use"
)
needs_gpus = pytest.mark.skipif(ACCELERATOR != "cuda", reason="torch has SyncBatchNorm for GPUs only")
TRAIN = "--sample --net cnn --batch_size 64 --lr_decay constant --pictures false --seed 1 --max_epochs 2".split()
TWO = ["--devices", "2"]
STEPS = 2 * 14 + 2 * 1  # 1,800 images, by 128: the last batches, of 8, are for both


def launch(script, *flags):
    """Runs a script as a user does, which starts itself once more for the second rank, and returns what it printed."""
    command = [sys.executable, f"experiments/{script}.py", "--accelerator", ACCELERATOR, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(folder, *flags):
    """The directory of a run, none of whose steps was to be captured and could not."""
    printed = launch("cifar10", *TRAIN, "--run_dir", str(folder), *flags)
    assert ACCELERATOR == "cpu" or "eagerly" not in printed, printed
    return run_in(folder)


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run on two devices."""
    return train(tmp_path_factory.mktemp("two"), *TWO)


def test_wrapper_for_several_devices_changes_nothing_on_one(tmp_path):
    # As far as one GPU goes: gradients come by DistributedDataParallel's hooks, and are reduced over one rank.
    one = ["--devices", "1"]
    plain = train(tmp_path / "plain", *one)
    assert_same(plain, train(tmp_path / "wrapped", *one, "--strategy", "ddp", "--capture", "false"))
    assert_same(plain, train(tmp_path / "captured", *one, "--strategy", "ddp", "--capture", "true"))


@needs_two
def test_two_devices_give_the_same_weights_twice(tmp_path, two):
    assert metrics_of(two)["steps"] == STEPS
    assert_same(two, train(tmp_path, *TWO))


@needs_two
def test_captured_and_eager_steps_of_two_devices_are_the_same(tmp_path, two):
    assert_same(two, train(tmp_path, *TWO, "--capture", "false"))


@needs_two
def test_run_that_was_stopped_within_an_epoch_ends_as_the_whole_one(tmp_path, two):
    part = train(tmp_path, *TWO, "--max_steps", "10")
    assert last_checkpoint(part)["global_step"] == 10
    launch("cifar10", "--resume", str(part), "--max_steps", "-1")
    assert_same(two, part)


@needs_two
@pytest.mark.parametrize("devices", ["1", "2"])
def test_checkpoint_of_two_devices_is_evaluated_alike_on_any_number(two, devices):
    printed, metrics = launch("evaluate", str(two), "--devices", devices), metrics_of(two)
    for stage in ("val", "test"):
        loss, acc = re.search(rf"^{stage} +([\d.]+) +([\d.]+)%$", printed, re.MULTILINE).groups()
        assert float(loss) == pytest.approx(metrics[f"{stage}/loss"], abs=1e-4)
        assert float(acc) == pytest.approx(100 * metrics[f"{stage}/acc"], abs=0.006)  # of 500 images, one is 0.2
    assert "\n500 test samples" in printed


@needs_two
def test_run_of_two_devices_goes_on_on_one(tmp_path):
    run = train(tmp_path, *TWO)
    launch("cifar10", "--resume", str(run), "--devices", "1", "--batch_size", "128", "--max_epochs", "3")
    assert metrics_of(run)["steps"] == STEPS * 3 // 2
    assert metrics_of(run)["test/samples"] == 500


@needs_two
@needs_gpus
def test_statistics_over_two_devices_are_those_of_the_whole_batch(tmp_path):
    # The first layer's, after one step: what it gets does not depend on other statistics.
    one_step = ["--max_steps", "1", "--augment", ""]
    one, two = ["--devices", "1", "--batch_size", "128"], [*TWO, "--sync_batchnorm"]
    whole, parts, apart = (
        _first_means(train(tmp_path / name, *one_step, *flags))
        for name, flags in {"one": one, "two": two, "apart": TWO}.items()
    )
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(apart, whole, rtol=1e-4, atol=1e-6)


@needs_two
@needs_gpus
def test_synchronised_statistics_are_not_captured_and_the_run_says_so(tmp_path):
    flags = [*TRAIN, *TWO, "--sync_batchnorm", "--capture", "true", "--run_dir", str(tmp_path)]
    assert launch("cifar10", *flags).count("capture: the step runs eagerly, for SyncBatchNorm") == 1
    assert metrics_of(run_in(tmp_path))["steps"] == STEPS


def _first_means(run):
    weights = last_checkpoint(run)["state_dict"]
    return next(value for name, value in weights.items() if name.endswith("running_mean"))
