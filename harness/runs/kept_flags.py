"""Which flags a run keeps when it is resumed, and which may change."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basics.errors import InputError
from harness.runs.states import has_folds, read_config

# Flags that change no number of a run. `data_dir` is none of them: own_images.py has its images there.
CHANGE_NOTHING = {"resume", "run_dir", "jobs", "stall_timeout", "enable_progress_bar", "capture"}
# Flags that a run may be resumed with other values of: where it runs, how long, and what it writes. The batch size is
# among them since more devices want smaller parts of the same batch; `check_position` keeps the whole. `deterministic`
# and `benchmark` are not: with other kernels a run would not end as it does when nothing interrupts it.
MAY_CHANGE = {
    *CHANGE_NOTHING,
    *("accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "batch_size", "accumulate_grad_batches"),
    *("data_dir", "compile", "doctor", "fast_dev_run", "find_lr", "on_nonfinite"),
    *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "early_stopping"),
    *("checkpoint_epochs", "checkpoint_every", "checkpoint_minutes"),
    *("log_every_n_steps", "log_gradients", "histograms", "pictures", "pictures_every"),
    *("enable_model_summary", "num_sanity_val_steps", "profiler", "detect_anomaly"),
}
LONGEST = 60  # characters of a value in a message


def check_flags_kept(run: Path, flags: Mapping[str, Any]) -> None:
    """Raises InputError where a flag is not as the run has it, and is none of those that may change."""
    may_change = CHANGE_NOTHING if has_folds(run) else MAY_CHANGE  # folds that have ended stay as they are
    before = read_config(run)
    if before.get("started_by", script := flags.get("started_by")) != script:
        here = script or "a call from Python"
        raise InputError(f"--resume {run}: is a run of {before['started_by']}, and goes on with that; this is {here}")
    for name, value in flags.items():
        if name not in may_change and name in before and not alike(value, before[name]):
            raise InputError(
                f"--{name} {short(value)}: {run} was started with {short(before[name])}, and goes on with it;"
                " only where it runs, how long, and what it logs and saves may change (see docs/runs.md)"
            )


def alike(one: Any, other: Any) -> bool:
    """Whether the values are equal, lists as tuples, and means that another machine has summed in another order."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9) or (one != one and other != other)
    return one == other


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
