"""What libraries would print beside our own lines, and a profiler's report, which was asked for."""

import os
import re
import subprocess
import sys

import pytest

from basics.versions import ROOT
from harness.training.profile import NarrowProfiler

RESUMED = """
import sys
from pathlib import Path

from experiments import mnist
from harness.command_line.cli import cli

flags = ["--sample", "--net", "softmax", "--accelerator", "cpu", "--run_dir", sys.argv[1], "--max_epochs"]
cli(mnist.main, mnist.RECIPES, [*flags, "1"])
(run,) = Path(sys.argv[1]).glob("mnist/*")
print("again", file=sys.stderr)
cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2", "--profiler", "simple"])
"""


def run(*command):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_resumed_run_says_nothing_but_what_its_profiler_found(tmp_path):
    done = run("-c", RESUMED, str(tmp_path))
    before, after = done.stderr.split("again\n")
    assert before == ""
    lines = [line for line in after.splitlines() if line.strip()]
    assert lines[0] == "FIT Profiler Report"
    assert lines[1].split() == ["seconds", "share", "calls", "mean", "ms", "action"]
    assert all(re.match(r" *\d+\.\d{3} +\d+\.\d% ", line) for line in lines[2:-1])
    assert re.fullmatch(r"and \d+ actions of less than 0.1%", lines[-1])
    assert sum("run_training_epoch" in line for line in lines) == 1
    assert after.count("Report") == 1  # not again of validation and test
    assert "\x1b" not in done.stdout + done.stderr


def test_profile_adds_up_and_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    profiler = NarrowProfiler()
    profiler.recorded_durations |= {
        "[Callback]ModelCheckpoint{'monitor': None}.on_train_end": [0.25, 0.75],
        "run_training_epoch": [4.0],
        f"[Strategy]SingleDeviceStrategy.{'x' * 60}": [0.125],
        "quick": [0.001] * 2,
    }
    title, head, *lines, rest = profiler.summary().splitlines()
    assert title == "Profiler Report"
    assert [line.split() for line in lines[:2]] == [
        ["4.000", "100.0%", "1", "4000.000", "run_training_epoch"],
        ["1.000", "25.0%", "2", "500.000", "ModelCheckpoint.on_train_end"],
    ]
    assert max(map(len, [head, *lines])) == 80
    assert rest == "and 1 action of less than 0.1%"


@pytest.mark.slow
def test_two_devices_say_nothing_of_what_torch_deprecates(tmp_path):
    flags = ["--sample", "--max_epochs", "1", "--baselines", "false", "--accelerator", "cpu", "--devices", "2"]
    done = run("experiments/metric_learning.py", *flags, "--run_dir", str(tmp_path))
    assert done.stderr == ""


@pytest.mark.slow
def test_study_that_trains_says_nothing_but_its_own_lines(tmp_path):
    done = run("experiments/logistic_regression.py", "--problem", "xor", "--points", "100", "--run_dir", str(tmp_path))
    assert done.stderr == ""
    assert done.stdout.startswith("run directory: ")
