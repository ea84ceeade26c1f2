"""Where the project's code is, and in which state."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def git(*args: str) -> str | None:
    """What git says of the project's code; None where there is no git, or the code is no checkout."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip()


def git_commit() -> str | None:
    """The commit of the project's code, with "-dirty" where files differ from it; None outside a checkout."""
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
