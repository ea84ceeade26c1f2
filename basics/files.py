"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basics.errors import InputError, InputFileError, MissingFileError, writing

if TYPE_CHECKING:
    from pandas import DataFrame


def sync_folder(folder: Path) -> None:
    """Forces the folder's entries to disk."""
    if os.name == "posix":
        _sync(folder)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path in the same folder to write to; at the end, the file there replaces `path` in one step.

    Raises:
        InputFileError: it cannot be written; `path` is as it was before.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with writing(path):
        try:
            yield unfinished
            _sync(unfinished)  # else after a power cut the new name may be that of an empty file
            unfinished.replace(path)
            sync_folder(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)


def write_csv(path: Path, frame: "DataFrame") -> None:
    """Writes a table whole or not at all, without its index."""
    # Given a name, pandas would expand a ~ to the home directory.
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        frame.to_csv(file, index=False)


def check_free(path: Path, force: bool, given: Iterable[Path] = (), what: str = "") -> None:
    """Raises InputError unless a file can be made there without a loss.

    Args:
        force: a file that is there may be overwritten, except the `given` ones, which are `what` the result is made of.
    """
    with writing(path):
        if path.is_file() and any(other.exists() and path.samefile(other) for other in given):
            raise InputError(f"{path}: is {what}; name another file by --output")
        if path.is_dir():
            raise InputFileError(f"{path}: already exists, as a folder; name a file")
        if path.exists() and not force:
            raise InputFileError(f"{path}: already exists; --force overwrites it, and another name leaves it")
        if not path.parent.is_dir():
            raise MissingFileError(f"{path}: there is no folder {path.parent}")


def unused(path: Path, suffixes: Sequence[str] = ()) -> Path:
    """The path, or with the first number from 2 that is free, such as predictions-2.csv.

    Args:
        suffixes: those of files beside it, which must be free too, such as .png for predictions.png.
    """
    names = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    return next(name for name in names if not any(name.with_suffix(end).exists() for end in (path.suffix, *suffixes)))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")
