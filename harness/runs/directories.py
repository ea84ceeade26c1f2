"""Run directories: making one for each run, finding it again, and keeping the flags in it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from basics.errors import InputFileError, MissingFileError, reading
from basics.files import replacing
from basics.yaml_text import as_yaml
from harness.processes.ranks import is_rank_zero
from harness.runs.layout import CHECKPOINTS, CONFIG, RESUMABLE
from harness.runs.states import has_folds


def new_run(name: str, run_dir: str, label: str) -> Path:
    """Makes a directory below `run_dir`/`name` that no other run has, even when many start at once.

    Raises:
        InputFileError: it cannot be made there.
    """
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{label}"
    for number in range(1000):
        run = Path(run_dir) / name / (f"{stem}-{number}" if number else stem)
        if not is_rank_zero():
            return run  # the name does not matter, since only rank zero writes
        try:
            run.parent.mkdir(parents=True, exist_ok=True)
            run.mkdir()
            return run
        except OSError as error:
            if not run.is_dir():
                raise InputFileError(f"--run_dir {run_dir}: {error.strerror}: {error.filename}") from error
    raise InputFileError(f"{run}: a thousand runs have started in this second already")


def find_run(resume: str) -> tuple[Path, Path | None]:
    """The run directory and the checkpoint that `--resume` names: the run's last one, or a checkpoint file.

    A cross-validated run has no checkpoint of its own, but a folder for each fold.

    Raises:
        MissingFileError: there is no such run, or it has no checkpoint.
    """
    path = Path(resume)
    with reading(f"--resume {resume}"):
        if resume and has_folds(path) and (path / CONFIG).is_file():
            return path, None
        names = [path / CHECKPOINTS / name for name in RESUMABLE] if path.is_dir() else [path]
        checkpoint = next((name for name in names if name.is_file()), names[0])
        run = checkpoint.parent.parent
        if not resume or not checkpoint.is_file():
            raise MissingFileError(f"--resume {resume}: no checkpoint at {checkpoint}")
        if not (run / CONFIG).is_file():
            raise MissingFileError(f"--resume {resume}: {run} is not a run directory, it has no {CONFIG}")
    return run, checkpoint


def write_config(run: Path, flags: Mapping[str, Any]) -> None:
    """Writes the flags, which are plain data, to config.yaml, whole or not at all."""
    with replacing(run / CONFIG) as unfinished:
        unfinished.write_text(as_yaml({k: v for k, v in flags.items() if k != "resume"}))
