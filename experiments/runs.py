"""Run directories: a new one for each run, and the one that `--resume` means."""

import os
from datetime import datetime
from pathlib import Path


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, by the variables that launchers set for their processes."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(int(os.environ.get(rank, 0)) == 0 for rank in ranks)


def new_run(name: str, run_dir: str, label: str) -> Path:
    """Makes a directory below `run_dir`/`name` that no other run has, also when many start at once."""
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{label}"
    for number in range(1000):
        run = Path(run_dir) / name / (f"{stem}-{number}" if number else stem)
        if not is_rank_zero():
            return run  # the name does not matter: only rank zero writes
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            continue
    raise FileExistsError(f"{run}: a thousand runs of this second are there already")


def find_run(resume: str) -> tuple[Path, Path]:
    """The run directory and the checkpoint that `--resume` means: a run's last one, or a checkpoint file.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
    """
    path = Path(resume)
    checkpoint = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    run = checkpoint.parent.parent
    if not resume or not checkpoint.is_file():
        raise FileNotFoundError(f"--resume {resume}: no checkpoint at {checkpoint}")
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"--resume {resume}: {run} is not a run directory, it has no config.yaml")
    return run, checkpoint
