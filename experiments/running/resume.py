"""Opening a run's directory, new or interrupted; `--resume auto` finds the interrupted one.

It is the newest run below the same directory whose config.yaml has the same flags, that has a checkpoint but no
metrics yet, belongs to the same user, and is not being trained by another process. So the same command, given again by
SLURM or torchrun, goes on where it was.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from command_line import config
from running.runs import find_run, is_rank_zero, new_run

import yaml
from filelock import FileLock, Timeout
from lightning.pytorch import Trainer

AUTO = "auto"
CLAIM = ".lock"  # held while a run trains; the system lets go of it however the process ends
CHOICE = "EXPERIMENT_CHECKPOINT"  # rank zero's, for the ranks that Lightning starts
# Flags that change no number of a run. `data_dir` is none of them: own_images.py has its images there.
FREE = {"resume", "run_dir", "jobs", "stall_timeout", "enable_progress_bar"}


@contextmanager
def opened_run(
    name: str, run_dir: str, label: str, resume: str | None, writes: bool
) -> Iterator[tuple[Path | None, Path | None]]:
    """The run's directory and the checkpoint to go on from, each None where there is none; others cannot resume it now.

    Args:
        name: of the experiment, and label: of a new run, see `new_run`.
        resume: a run, a checkpoint, or "auto".
        writes: whether a run that is not resumed gets a directory.

    Raises:
        ValueError: another process trains this run.
    """
    if resume == AUTO:
        resume = unfinished_run(name, run_dir) if writes and is_rank_zero() else None
        if writes and is_rank_zero() and not resume:
            print("no unfinished run with these flags: this is a new one", flush=True)
    run, checkpoint = find_run(str(resume)) if resume else (None, None)
    if not run and writes:
        run = new_run(name, run_dir, label)
    with claimed(run):
        try:
            yield run, checkpoint
        except (ValueError, SystemExit):
            if run and not checkpoint and is_rank_zero():
                _remove_if_empty(run)
            raise


def unfinished_run(name: str, run_dir: str) -> Path | None:
    """The run that `--resume auto` goes on with; None where one is to begin."""
    flags = _compared(yaml.safe_load(yaml.safe_dump(config)))
    for file in sorted((Path(run_dir) / name).glob("*/config.yaml"), reverse=True):  # names begin with the date
        run = file.parent
        begun = (run / "checkpoints" / "last.ckpt").is_file() or any(run.glob("fold*/config.yaml"))
        if not begun or (run / "metrics.json").exists() or not _is_own(run):
            continue
        with suppress(OSError, ValueError, yaml.YAMLError):  # another's, damaged or running
            if _compared(yaml.safe_load(file.read_text())) == flags:
                with claimed(run):
                    return run
    return None


def _compared(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if name not in FREE}


def _is_own(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


@contextmanager
def claimed(run: Path | None) -> Iterator[None]:
    """Within, no other process can claim this run.

    Raises:
        ValueError: another process has it.
    """
    if run is None or not is_rank_zero():
        yield
        return
    lock = FileLock(run / CLAIM)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ValueError(f"{run}: another process trains this run at the moment") from error
    try:
        yield
    finally:
        lock.release()
        if (run / "metrics.json").exists():
            (run / CLAIM).unlink(missing_ok=True)


def _remove_if_empty(run: Path) -> None:
    if {path.name for path in run.iterdir()} <= {CLAIM}:
        (run / CLAIM).unlink(missing_ok=True)
        run.rmdir()


def same_on_all_ranks(checkpoint: Path | None, trainer: Trainer) -> Path | None:
    """Rank zero's checkpoint, on each rank of a run with `--resume auto`; the others have not looked for one.

    Raises:
        ValueError: the ranks cannot hear of it before Lightning has started them.
    """
    if config.get("resume") != AUTO or trainer.world_size == 1:
        return checkpoint
    if trainer.strategy.cluster_environment.creates_processes_externally:
        if CHOICE in os.environ:
            return Path(os.environ[CHOICE]) if os.environ[CHOICE] else None
        trainer.strategy.setup_environment()  # `fit` would do it later; then it is done
        return trainer.strategy.broadcast(checkpoint)
    if trainer.num_nodes > 1:
        raise ValueError("--resume auto: on several machines, start the run by torchrun or SLURM, or name the run")
    os.environ[CHOICE] = str(checkpoint or "")
    return checkpoint
