"""The state of a run, read from its directory: one definition for whatever resumes, removes or compares runs.

| state     | what the directory holds                      | `--resume RUN` | `auto`  | repeat, sweep    | compare  |
| --------- | --------------------------------------------- | -------------- | ------- | ---------------- | -------- |
| NEW       | nothing, or only its claim                    | refused        | skipped | removed          | unseen   |
| RUNNING   | a claim that a process holds                  | refused        | skipped | waited for       | listed   |
| CUT_SHORT | files, but nothing that training has produced | refused        | skipped | removed          | listed   |
| RESUMABLE | flags, and a whole checkpoint or folds        | goes on        | goes on | goes on          | listed   |
| FINISHED  | flags and metrics, both readable              | trains further | skipped | is the result    | compared |
| BROKEN    | results, but flags or metrics are damaged     | refused        | skipped | left alone       | listed   |

A finished run that trains further renames its metrics at its first step: it is RUNNING until it ends, and RESUMABLE if
it is interrupted. Only directories that are NEW or CUT_SHORT are ever removed, and none that has a whole checkpoint, a
finished fold, metrics, or a claim that is held.

Nothing here needs torch, whose import takes seconds.
"""

import json
import os
import textwrap
import zipfile
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

import yaml

from basics.errors import InputError, reading
from basics.yaml_text import load_yaml
from harness.runs.layout import CHECKPOINTS, CLAIM, CONFIG, FOLDS, METRICS, PREDICTIONS, RESUMABLE

LONGEST = 200  # greatest number of characters about what is wrong with a file


class State(Enum):
    """The states of a run's directory; see the table above."""

    NEW = auto()
    RUNNING = auto()
    CUT_SHORT = auto()
    RESUMABLE = auto()
    FINISHED = auto()
    BROKEN = auto()


NOTHING_LOST = State.NEW, State.CUT_SHORT  # if the directory is removed


def state_of(run: Path, *, ours: bool = False) -> State:
    """The state of the run in this directory.

    Args:
        ours: whether this process itself holds the claim, so that the claim is not to count.
    """
    if not ours and is_claimed(run):
        return State.RUNNING
    if not has_folds(run) and not has_results(run):
        return State.CUT_SHORT if any(path.name != CLAIM for path in run.iterdir()) else State.NEW
    if fault_of(run):
        return State.BROKEN
    return State.FINISHED if (run / METRICS).is_file() else State.RESUMABLE


def describe(run: Path, state: State) -> str:
    """Why a run in this state cannot be compared; empty if it has finished."""
    if state is State.BROKEN:
        return fault_of(run)
    if state is State.RESUMABLE:
        rest = "with the other folds" if has_folds(run) else "from its checkpoint"
        return f"interrupted; --resume goes on {rest}"
    return {State.RUNNING: "running now", State.FINISHED: ""}.get(
        state, "unfinished: it ended before its first checkpoint"
    )


def refit_of(run: Path) -> Path | None:
    """The finished second training of a run with `--refit`: the one beside it that its metrics name, or one that names
    it, and is of as many epochs and the same schedule, since the run may have been trained further.
    """
    metrics, config = read_metrics(run), read_config(run)
    if (named := metrics.get("refit")) and (run.parent / named / METRICS).is_file():
        return run.parent / named
    schedule = metrics.get("best_epoch"), config.get("lr_epochs") or config.get("max_epochs")
    for other in sorted(file.parent for file in run.parent.glob(f"*/{METRICS}")):
        with suppress(InputError):
            its = read_metrics(other)
            names_it = Path(its.get("refit_of", "")).name == run.name
            if names_it and (its.get("epochs"), read_config(other).get("lr_epochs")) == schedule:
                return other
    return None


def awaits_refit(run: Path) -> bool:
    """Whether the run has ended, and the second training that `--refit` asked for has not."""
    with suppress(InputError):
        if (run / METRICS).is_file() and read_config(run).get("refit"):
            named = read_metrics(run).get("refit")  # gone if it was renamed, but it has ended once
            return refit_of(run) is None and (named is None or (run.parent / named).is_dir())
    return False


def is_refit(run: Path) -> bool:
    """Whether it is the second training of a run with `--refit`."""
    with suppress(InputError):
        return "refit_of" in read_metrics(run)
    return False


def is_claimed(run: Path) -> bool:
    """Whether a process holds the run's claim, as while it trains; this holds the claim for a moment only."""
    try:
        import fcntl
    except ImportError:  # Windows, where one cannot look without taking it
        return False
    try:
        with (run / CLAIM).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no claim, or it belongs to another user
        return False
    return False


def has_folds(run: Path) -> bool:
    """Whether the run is cross-validated, with a folder for each fold."""
    return any(run.glob(FOLDS))


def has_results(run: Path) -> bool:
    """Whether the directory holds results of training: metrics, a whole checkpoint, or a finished fold."""
    if (run / METRICS).exists() or any(run.glob(f"{FOLDS}/{PREDICTIONS}")):
        return True
    folders = (run, *run.glob(FOLDS))
    return any(zipfile.is_zipfile(path) for folder in folders for path in folder.glob(f"{CHECKPOINTS}/*.ckpt"))


def fault_of(run: Path) -> str:
    """What keeps a run that has results from being resumed or compared; empty if nothing does."""
    if fault := damage_of(run):
        return fault
    whole = any(zipfile.is_zipfile(run / CHECKPOINTS / name) for name in RESUMABLE)
    goes_on = whole or has_folds(run) or (run / METRICS).exists()
    return "" if goes_on else f"none of {', '.join(RESUMABLE)} is whole"


def damage_of(run: Path) -> str:
    """What is wrong with the flags, or with the metrics if the run has ended; empty if nothing is."""
    if not (run / CONFIG).exists():
        return f"no {CONFIG}"
    try:
        read_config(run)
        if (run / METRICS).exists():
            read_metrics(run)
    except InputError as error:
        return str(error).removeprefix(f"{run}{os.sep}")
    return ""


def read_config(run: Path) -> dict[str, Any]:
    """The flags in the run's config.yaml.

    Raises:
        InputError: the file is damaged.
        InputFileError: it cannot be read.
    """
    path = run / CONFIG
    with reading(path):
        content = path.read_bytes()
    try:
        flags = load_yaml(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {_shortened(error)}") from error
    if not isinstance(flags, dict):
        raise InputError(f"{path} cannot be read: it holds no flags")
    return flags


def read_metrics(run: Path) -> dict[str, Any]:
    """The figures in the run's metrics.json.

    Raises:
        InputError: the file is damaged.
        InputFileError: it cannot be read, for example because the run has not ended.
    """
    path = run / METRICS
    with reading(path):
        content = path.read_bytes()
    try:
        metrics = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {_shortened(error)}") from error
    if not isinstance(metrics, dict):
        raise InputError(f"{path} cannot be read: it holds no names and values")
    return metrics


def _shortened(error: Exception) -> str:
    return textwrap.shorten(str(error), LONGEST, placeholder=" ...")


def is_rate_test(run: Path) -> bool:
    """Whether the directory comes from `--find_lr`, which trains nothing."""
    return (run / "figures" / "find_lr.png").exists() and not any((run / CHECKPOINTS).glob("*.ckpt"))
