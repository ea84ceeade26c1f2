"""The names of the files in a run's directory."""

from pathlib import Path

CONFIG = "config.yaml"  # the run's flags, from the first step on
COLUMNS = "columns.csv"  # of a table, what each of its columns was taken for; from the first step on
IMPORTANCE = "importance.csv"  # of a table, how much each column is needed; once it has been tested
METRICS = "metrics.json"  # once the run has ended
ROBUSTNESS = "robustness.json"  # what robustness.py has found of a finished run
CLAIM = ".lock"  # held while the run trains; the system releases it however the process ends
CHECKPOINTS = "checkpoints"  # the folder of checkpoints
BEST, LAST = "best.ckpt", "last.ckpt"
PREVIOUS = {LAST: "last-1.ckpt"}  # the name that a replaced checkpoint gets
RESUMABLE = (LAST, *PREVIOUS.values(), BEST)  # the best one too: a kill may come before last.ckpt is first written
FOLDS = "fold*"  # the folders of a cross-validated run, one for each training
PREDICTIONS = "predictions.npz"  # in the folder of a finished fold


def run_of(checkpoint: Path) -> Path:
    """The directory of the run whose checkpoint it is, if it lies in one."""
    return checkpoint.absolute().parent.parent
