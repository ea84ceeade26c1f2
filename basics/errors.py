"""The error for bad input. Its message is all that a user gets to see; every other error is a bug, with a traceback.

raise InputError(f"--lr {lr}: must be above 0")

with reading(path):
    content = path.read_bytes()  # what the system refuses names the file, in one line
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What a user gave cannot be used. The message names the flag, file or value, and what is wrong with it."""


class InputFileError(InputError, OSError):
    """A file or folder that a user named cannot be read, written or downloaded."""


class MissingFileError(InputFileError, FileNotFoundError):
    """It is not there."""


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, what the system refuses is an error of ours that names the file or folder.

    Raises:
        MissingFileError: it is not there.
        InputFileError: it cannot be read.
    """
    try:
        yield
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:  # the latter where a part of the path is a file
        raise MissingFileError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read ({_reason(error)})") from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, what the system refuses is an error of ours that names the file or folder.

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
