"""The range of each number on the command line, in one table for all scripts, and whether runs can be written.

Both are checked before a script does anything: libraries complain about a number out of range late, at times after the
whole training, or never.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from basics.errors import InputError, InputFileError

LONGEST_NAME = "x" * 200  # stands for all that comes below the folder of runs, down to the files of a run


class Range(NamedTuple):
    """The numbers for which `holds` is true, and the words for them in a message."""

    words: str
    holds: Callable[[float], bool]


NOT_NEGATIVE = Range("at least 0", lambda value: value >= 0)
POSITIVE = Range("above 0", lambda value: value > 0)
AT_LEAST_1 = Range("at least 1", lambda value: value >= 1)
SHARE = Range("from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_1 = Range("from 0 to below 1", lambda value: 0 <= value < 1)
COUNT_OR_NO_END = Range("at least 1 and below 2**31, or -1 for no end", lambda value: 1 <= value < 2**31 or value == -1)
COUNT_OR_ALL = Range("at least 0, or -1 for all", lambda value: value >= -1)
SEED = Range("at least 0, and below 2**32", lambda value: 0 <= value < 2**32)  # what numpy and Lightning accept

_FLAGS: dict[Range, Iterable[str]] = {
    COUNT_OR_NO_END: ("max_epochs", "max_steps"),
    COUNT_OR_ALL: ("num_sanity_val_steps",),
    SEED: ("seed", "first_seed", "fold_seed"),
    AT_LEAST_1: (
        "accumulate_grad_batches", "check_val_every_n_epoch", "checkpoint_epochs", "num_nodes", "lr_epochs",
        "embedding_size", "recall_at", "rare", "seeds", "trials", "heartbeat", "points", "epochs", "steps",
        "depth", "width", "hidden", "side", "input_shape", "num_outputs", "image_size",
    ),
    POSITIVE: ("val_check_interval", "delta"),
    SHARE: ("label_smoothing", "layer_decay", "lr_milestones", "lr_gamma", "clip"),
    BELOW_1: ("ema", "swa", "momentum"),
    NOT_NEGATIVE: (
        "lr", "backbone_lr", "weight_decay", "weight_decays", "l1", "mixup", "cutmix", "freeze_epochs", "val_size",
        "test_size", "batch_size",  # 0: by the number of rows, where a data module knows how
        "test_shift", "warmup_epochs", "lr_patience", "lr_step_epochs", "early_stopping", "checkpoint_every",
        "checkpoint_minutes", "stall_timeout", "min_epochs", "min_steps", "log_every_n_steps", "gradient_clip_val",
        "reload_dataloaders_every_n_epochs", "limit_train_batches", "limit_val_batches", "limit_test_batches",
        "limit_predict_batches", "overfit_batches", "pictures_every", "folds", "jobs", "noise", "fast_dev_run",
    ),
}  # fmt: skip
RANGES = {name: its for its, names in _FLAGS.items() for name in names}


def check_delta(flags: Any) -> None:
    """Raises InputError if somebody gave a `delta` to another loss than huber."""
    if "delta" in flags.invocation.changed and flags.loss != "huber":
        raise InputError(f"--delta {flags.delta:g}: is of --loss huber, not {flags.loss}")


def check_sample(flags: Any, names: Iterable[str], what: str) -> None:
    """Raises InputError if somebody gave one of these flags to the embedded sample, which has `what` of its own."""
    for name in names:
        if name in flags.invocation.changed:
            value = flags.invocation.changed[name]
            raise InputError(f"--{name} {value}: --sample has {what} of its own; leave one of them out")


def check_ranges(flags: Mapping[str, Any]) -> None:
    """Raises InputError if a number among the flags is infinite, not a number, or out of its range."""
    for name, value in flags.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue  # text, or None
            if not math.isfinite(number):
                raise InputError(f"--{name} {value}: must be a finite number")
            if name in RANGES and not RANGES[name].holds(number):
                raise InputError(f"--{name} {value}: must be {RANGES[name].words}")


def check_run_dir(run_dir: str) -> None:
    """Raises InputFileError if no run can be written below this folder, which need not exist. Leaves no trace."""
    path = Path(run_dir)
    try:
        with suppress(FileNotFoundError):
            (path / LONGEST_NAME).stat()  # fails if a name is too long or a file is in the way
        there = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
        with tempfile.TemporaryDirectory(prefix=".", dir=there):
            pass
    except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
        raise InputFileError(f"--run_dir {run_dir}: {getattr(error, 'strerror', error)}") from error
