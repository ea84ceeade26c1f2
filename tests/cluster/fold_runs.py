"""Runs in folds of a small table, by whichever engine, and what must not depend on the engine."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from experiments import table
from harness.command_line.cli import cli

ROOT = Path(__file__).parents[2]
FOLDS = 5
FLAGS = [
    *("--sample", "--net", "linear", "--max_epochs", "2", "--folds", str(FOLDS), "--accelerator", "cpu"),
    *("--enable_progress_bar", "false", "--pictures", "false"),
]


def cross_validate(folder, *flags):
    """The directory of a run, and what is to be the same by all engines."""
    cli(table.main, table.RECIPES, [*FLAGS, "--run_dir", str(folder), *flags])
    (run,) = (folder / "table").iterdir()
    return run, figures_of(run)


def go_on(folder, *flags):
    """What is to be the same, of a run that has been interrupted and goes on."""
    cli(table.main, table.RECIPES, [*FLAGS, "--run_dir", str(folder), *flags, "--resume", "auto"])
    (run,) = (folder / "table").iterdir()
    return figures_of(run)


def interrupt_folds(folder, when, *flags):
    """Sends SIGTERM to a command when a file of its run is there; it ends as it should, and says how it goes on."""
    command = [sys.executable, "experiments/table.py", *FLAGS, "--run_dir", str(folder), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: next(folder.glob(f"table/*/{when}"), None))
    process.terminate()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted; continue with --resume" in said


def figures_of(run):
    """All figures, as they are written, and the predictions of each row."""
    metrics = json.loads((run / "metrics.json").read_text())
    figures = {name: value for name, value in metrics.items() if name.startswith(("cv/", "test/"))}
    assert figures
    return figures, (run / "out_of_fold.csv").read_text()


def wait_for(condition, seconds=900):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def writer_of(log):
    """The process that has this file open."""
    return next(process for process in psutil.process_iter() if _has_open(process, log))


def _has_open(process, log):
    try:
        return any(file.path == str(log) for file in process.open_files())
    except psutil.Error:  # it has ended
        return False
