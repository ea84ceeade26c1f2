"""A sweep over a small grid, by whichever engine, and what must not depend on the engine."""

import csv

from experiments import compare, sweep
from harness.command_line.cli import cli
from harness.comparing.scripts import split_command

SCRIPT = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--max_epochs", "2"]
OWN = ["--prune", "false"]
GRID = ["--pictures", "false", "--vary", "lr=0.01,0.02,0.05,0.1", "batch_size=32,64,128"]
TRIALS = 12  # its cells


def sweep_in(folder, *flags):
    """A sweep's folder, and the lines of compare.py on it but for times, sorted, for equals may change places."""
    words = ["--run_dir", str(folder), *OWN, *flags, *SCRIPT, *GRID]
    cli(sweep.main, None, sweep.join_vary(split_command(words, sweep.OWN)))
    (its,) = (folder / "sweep").iterdir()
    compare.main([str(its)], format="csv", output=str(folder / "table.csv"))
    with (folder / "table.csv").open(newline="") as file:
        lines = [{name: line[name] for name in line if "seconds" not in name} for line in csv.DictReader(file)]
    return its, sorted(lines, key=str)


def trials_in(folder):
    """The directories of the trials' runs."""
    return [its for its in folder.glob("trial*/mnist/*") if its.is_dir()]
