"""The error for bad input. A user sees only its message; every other error is a bug and keeps its traceback.

raise InputError(f"--lr {lr}: must be above 0")

with reading(path):
    content = path.read_bytes()  # if the system refuses, a one-line error names the file
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something a user gave cannot be used. The message names the flag, file or value, and what is wrong with it."""


class InputFileError(InputError, OSError):
    """A file or folder that a user named cannot be read, written or downloaded."""


class MissingFileError(InputFileError, FileNotFoundError):
    """A file or folder that a user named does not exist."""


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the system's errors within into one of ours that names the file or folder.

    Raises:
        MissingFileError: it does not exist.
        InputFileError: it cannot be read.
    """
    try:
        yield
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:  # the latter if part of the path is a file
        raise MissingFileError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read ({_reason(error)})") from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the system's errors within into one of ours that names the file or folder.

    Raises:
        InputFileError: it cannot be written.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputFileError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
