"""Which version of the project's code is running, according to git, and of what it stands on."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def git(*args: str) -> str | None:
    """The output of git for the project's code; None if there is no git, or the code is not a checkout."""
    # `git status` would also write what it has found to the index, and leave a lock there if the run is killed.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip()


@cache
def git_commit() -> str | None:
    """The commit of the project's code, with "-dirty" if files differ from it; None outside a checkout.

    It stays that of the first call, or of the last `note_commit`.
    """
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def note_commit() -> None:
    """Looks now, at the beginning of a run: files may change while it trains, and from one run to the next."""
    git_commit.cache_clear()
    git_commit()


def versions() -> dict[str, str | None]:
    """The code's commit, and the releases that figures may depend on, for metrics.json."""
    import torch  # here, because what only asks git should not wait for it

    libraries = {"torch": torch.__version__, "lightning": version("lightning")}
    return {"git_commit": git_commit(), "python": platform.python_version(), **libraries}
