"""Which folders of arrays are in use: a process that reads one holds a lock on a file in it, which the system releases
however the process ends.

If the system has no such locks, or denies them, a folder counts as in use and is left alone.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from basics.errors import MissingFileError, reading
from datamodules.arrays import FILES

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module, where there is one

LOCKED = FILES[1]  # a small file that is in every folder


def claim(folder: Path) -> IO[bytes] | None:
    """An open file that keeps `remove_unused` from the folder until it is closed; None if the folder is not there.

    Raises:
        InputFileError: it cannot be opened.
    """
    try:
        with reading(folder / LOCKED):
            file = (folder / LOCKED).open("rb")
    except MissingFileError:
        return None
    if fcntl:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)  # waits for a removal
    if (folder / LOCKED).exists():
        return file
    file.close()
    return None


def remove_unused(folders: Iterable[Path]) -> list[Path]:
    """Removes the folders that no process has claimed, as far as permissions allow, and returns them.

    A mapped file stays readable after its removal, so even a process that claims nothing loses none.
    """
    return [folder for folder in folders if _remove(folder)]


def _remove(folder: Path) -> bool:
    if not fcntl:
        return False
    if not (folder / LOCKED).exists():  # half removed, so nobody can claim it
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    try:
        with (folder / LOCKED).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / LOCKED).unlink()  # first: from here on `claim` finds nothing
            shutil.rmtree(folder)
    except OSError:  # in use, another user's, or on a file system without locks
        return False
    return True
