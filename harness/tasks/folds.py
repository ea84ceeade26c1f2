"""One fold of a cross-validation: its training, in a directory of its own, and what it predicts."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile

import numpy as np

from basics.amounts import amount
from basics.errors import InputError, writing
from basics.files import replacing
from datamodules.other_rows import OtherRows
from datamodules.table_data import TableData
from datamodules.table_splits import Fold
from harness.runs.flag_kinds import USUAL_FOLDS
from harness.runs.invocation import BY_PYTHON
from harness.runs.layout import PREDICTIONS
from harness.tasks.fold_flags import FoldFlags
from harness.tasks.table_models import to_average
from harness.tasks.table_scores import as_text, score
from harness.tasks.tabular import TabularFlags, train_table
from harness.training.fit import Result
from harness.training.report import num_parameters
from lit_modules import Regressor, RowClassifier
from lit_modules.row_tagger import RowTagger
from lit_modules.stages import Stages

NEVER = 10**9  # epochs between checkpoints: an interrupted fold starts over, so only its end is saved


class FoldData(Protocol):
    """What a cross-validation asks of its data: `TableData`, or the `ImageFolds` of image data.

    Attributes:
        target: what is predicted, a column's name.
        samples: what they are called, rows or images.
        ids: what tells the samples apart, (N,), and `id_column`, what that is called; "" for lines.
        targets: numbers, or numbers of classes, (N,); or labels, (N, L).
        preprocessing: what a checkpoint knows of the target; see `table_scores.py`.
        content: numbers that change with the data, (N,).
    """

    name: str
    target: str
    samples: str
    id_column: str
    ids: np.ndarray
    targets: np.ndarray
    classes: Sequence[str]
    classification: bool
    log_target: bool
    preprocessing: dict[str, Any]
    content: np.ndarray
    val_indices: np.ndarray
    test_indices: np.ndarray

    def prepare_data(self) -> None: ...
    def setup(self) -> None: ...
    def check_folds(self) -> None: ...
    def describe(self) -> str: ...
    def other_rows(self) -> OtherRows | None: ...


class Kind(NamedTuple):
    """How samples of a kind, rows or images, are cross-validated; functions that other processes can import.

    Attributes:
        data: makes the data of a fold, from `seed`, `val_size` and `fold`.
        train: trains a network on these data, by the flags, in a directory.
        predict: what the model says of the fold's held-out samples, and of those that no fold has, as it is averaged.
    """

    data: Callable[..., Any]
    train: Callable[[Any, Any, Path], Result]
    predict: Callable[[Any, Any, OtherRows | None], tuple[np.ndarray, np.ndarray]]


class FoldResult(NamedTuple):
    """What a trained fold predicts: numbers or their logarithms, (N,), or probabilities, (N, C)."""

    rows: np.ndarray  # indices of the held-out rows
    held_out: np.ndarray  # predictions for these
    submission: np.ndarray  # predictions for the rows of another file, if there are any
    epochs: int
    parameters: int
    seconds: float = 0.0  # of training and predicting; older results do not have it, nor the next ones
    content: np.ndarray = np.zeros(0)  # that of the table
    others: np.ndarray = np.zeros(0)  # that of the samples that no fold has


class Task(NamedTuple):
    """One training."""

    fold: Fold
    seed: int
    run: Path


@dataclass(frozen=True, kw_only=True)
class CrossValidationFlags(TabularFlags, FoldFlags):
    """A network for the rows of a table, in folds.

    Args:
        folds: parts of the training file, each held out once; 0 trains once, with a validation and a test split.
    """

    folds: int = USUAL_FOLDS


def of_tables(table: Callable[..., TableData]) -> Kind:
    """Rows of a table, whose data module `table` makes from `seed`, `val_size` and `fold`."""
    return Kind(table, train_table, _predict_rows)


def _predict_rows(model: Stages, data: TableData, others: OtherRows | None) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(model, Regressor | RowClassifier | RowTagger)  # as `train_table` makes them
    rows = data.rows[data.test_indices], others.rows if others else data.rows[:0]
    return to_average(model, rows[0]), to_average(model, rows[1])


def train_fold(kind: Kind, flags: FoldFlags, fold: Fold, seed: int, run: Path) -> FoldResult:
    """Trains one fold in the directory `run`, with its output in log.txt, or reads its result if it has finished."""
    started, ended = time.perf_counter(), run / PREDICTIONS
    if ended.exists():
        return read_result(ended)
    shutil.rmtree(run, ignore_errors=True)  # an interrupted fold starts over
    with writing(run):
        run.mkdir()
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        data: FoldData = kind.data(seed=seed, val_size=flags.val_size, fold=fold)
        data.setup()
        alone: dict[str, Any] = {
            "seed": seed,
            "resume": None,  # the cross-validation goes on; this fold begins
            "monitor": flags.monitor if len(data.val_indices) else None,
            "devices": 1,
            "checkpoint_epochs": NEVER,
            "invocation": BY_PYTHON,
        }
        _, model, metrics = kind.train(data, replace(flags, **alone), run)
    others = data.other_rows()
    held_out, submission = kind.predict(model, data, others)
    contents = data.content, others.content if others else np.zeros(0)
    size = num_parameters(model)
    seconds = time.perf_counter() - started
    result = FoldResult(data.test_indices, held_out, submission, metrics["epochs"], size, seconds, *contents)
    with replacing(ended) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **result._asdict())
    figures = score(data.targets[result.rows], held_out, data.preprocessing)
    chief = as_text(figures, [next(iter(figures))])
    held = amount(len(result.rows), data.samples.removesuffix("s"))
    print(f"{run.name}: {chief} on {held}, {seconds:.1f} s", flush=True)
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
