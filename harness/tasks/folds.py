"""One fold of a cross-validation: its training, in a directory of its own, and what it predicts."""

import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from basics.errors import InputError, writing
from basics.files import replacing
from datamodules.table_data import TableData
from datamodules.table_splits import Fold
from harness.runs.invocation import BY_PYTHON
from harness.runs.layout import PREDICTIONS
from harness.tasks.table_models import to_average
from harness.tasks.table_scores import as_text, score
from harness.tasks.tabular import TabularFlags, train_table
from harness.training.report import num_parameters
from lit_modules import Regressor, RowClassifier

NEVER = 10**9  # epochs between checkpoints: an interrupted fold starts over, so only its end is saved


class FoldResult(NamedTuple):
    """What a trained fold predicts: numbers or their logarithms, (N,), or probabilities, (N, C)."""

    rows: np.ndarray  # indices of the held-out rows
    held_out: np.ndarray  # predictions for these
    submission: np.ndarray  # predictions for the rows of another file, if there are any
    epochs: int
    parameters: int
    content: np.ndarray = np.zeros(0)  # that of the table; older results do not have it


class Task(NamedTuple):
    """One training."""

    fold: Fold
    seed: int
    run: Path


@dataclass(frozen=True, kw_only=True)
class CrossValidationFlags(TabularFlags):
    """Which folds to train, how often, and how many at a time.

    Args:
        folds: parts of the training file, each held out once; 0 trains once, with a validation and a test split.
        fold_seed: seed of the folds, those of scikit-learn's KFold(folds, shuffle=True, random_state=fold_seed), or
            of its StratifiedKFold for classes.
        seeds: how often each fold is trained, each time from other initial weights; the predictions are averaged.
        jobs: folds to train at a time, each in its own process; 0: as many as there are cores, or accelerators.
        seed: seed of the first training, for initial weights, order of batches and all random draws.
        resume: run directory to continue in place, or auto; folds that have finished are kept.
    """

    folds: int = 5
    fold_seed: int = 0
    seeds: int = 1
    jobs: int = 0
    seed: int = 0
    resume: str | None = None


def train_fold(
    table: Callable[..., TableData], flags: CrossValidationFlags, fold: Fold, seed: int, run: Path
) -> FoldResult:
    """Trains one fold in the directory `run`, with its output in log.txt, or reads its result if it has finished."""
    started, ended = time.perf_counter(), run / PREDICTIONS
    if ended.exists():
        return read_result(ended)
    shutil.rmtree(run, ignore_errors=True)  # an interrupted fold starts over
    with writing(run):
        run.mkdir()
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        data = table(seed=seed, val_size=flags.val_size, fold=fold)
        data.setup()
        alone: dict[str, Any] = {
            "seed": seed,
            "monitor": flags.monitor if len(data.val_indices) else None,
            "devices": 1,
            "checkpoint_epochs": NEVER,
            "invocation": BY_PYTHON,
        }
        _, model, metrics = train_table(data, replace(flags, **alone), run)
    assert isinstance(model, Regressor | RowClassifier)  # as `train_table` makes them
    others = data.other_rows()
    held_out, submission = (
        to_average(model, rows) for rows in (data.rows[data.test_indices], others.rows if others else data.rows[:0])
    )
    size = num_parameters(model)
    result = FoldResult(data.test_indices, held_out, submission, metrics["epochs"], size, data.content)
    with replacing(ended) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **result._asdict())
    figures, seconds = score(data.targets[result.rows], held_out, data.preprocessing), time.perf_counter() - started
    chief = as_text(figures, [next(iter(figures))])
    print(f"{run.name}: {chief} on {len(result.rows)} rows, {seconds:.1f} s", flush=True)
    return result


def read_result(path: Path) -> FoldResult:
    """What a finished fold has left.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return FoldResult(**arrays)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: damaged, or no predictions; remove it to train the fold again") from error
