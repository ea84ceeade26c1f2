"""What became of a run that has no figures: it runs now, can be resumed, or ended before there was anything to save."""

import zipfile
from pathlib import Path

from harness.runs.directories import has_folds
from harness.runs.layout import RESUMABLE

RUNNING = "running now"
INTERRUPTED = "interrupted; --resume goes on from its checkpoint"
FOLDS_LEFT = "interrupted; --resume goes on with the other folds"
ENDED_EARLY = "unfinished: it ended before its first checkpoint"


def state_of(run: Path) -> str:
    """What became of a run without metrics.json."""
    if is_running(run):
        return RUNNING
    if has_folds(run):
        return FOLDS_LEFT
    whole = any(zipfile.is_zipfile(run / "checkpoints" / name) for name in RESUMABLE)
    return INTERRUPTED if whole else ENDED_EARLY


def is_running(run: Path) -> bool:
    """Whether a process holds the run's lock, as one does that trains it; the lock is only looked at, never taken."""
    try:
        import fcntl
    except ImportError:  # Windows, where it cannot be seen without taking it
        return False
    try:
        with (run / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is another user's
        return False
    return False


def is_rate_test(run: Path) -> bool:
    """Whether `--find_lr` left the directory, which trains nothing."""
    return (run / "figures" / "find_lr.png").exists() and not any((run / "checkpoints").glob("*.ckpt"))
