"""What libraries would print beside our own lines, and a profiler's report, which was asked for."""

import os
import subprocess
import sys

import pytest

from basics.versions import ROOT

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
    assert all(line.startswith(("-----", "|  ")) for line in lines[1:])
    assert sum("run_training_epoch" in line for line in lines) == 1
    assert after.count("Report") == 1  # not again of validation and test
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_two_devices_say_nothing_of_what_torch_deprecates(tmp_path):
    flags = ["--sample", "--max_epochs", "1", "--baselines", "false", "--accelerator", "cpu", "--devices", "2"]
    done = run("experiments/metric_learning.py", *flags, "--run_dir", str(tmp_path))
    assert done.stderr == ""


def test_study_that_trains_says_nothing_but_its_own_lines(tmp_path):
    done = run("experiments/logistic_regression.py", "--problem", "xor", "--points", "100", "--run_dir", str(tmp_path))
    assert done.stderr == ""
    assert done.stdout.startswith("run directory: ")
