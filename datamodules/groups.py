"""Which images belong together, such as those of one person or one video, by the names of their files.

folder   those in one folder below a class folder: train/<class>/<folder>/...; the same name in two classes is one
         group, and an image that is in a class folder itself is one of its own
prefix   those whose names begin alike, up to the first `_`, `-`, `.` or blank: anna_01.jpg and anna_02.jpg
"""

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath

import numpy as np

from basics.choose import choose
from basics.errors import InputError


def _folder(file: PurePosixPath, classes: Collection[str]) -> str:
    return str(file) if file.parent.name in classes else file.parent.name


def _prefix(file: PurePosixPath, classes: Collection[str]) -> str:
    return re.split(r"[-_.\s]", file.name, maxsplit=1)[0]


GROUPS: dict[str, Callable[[PurePosixPath, Collection[str]], str]] = {"folder": _folder, "prefix": _prefix}


def groups_of_files(kind: str, files: Sequence[str], classes: Collection[str]) -> np.ndarray:
    """The number of each file's group, (N,).

    Args:
        files: their names, from the folder of all images.

    Raises:
        InputError: there is no such kind, the files have no names, or all are of one group.
    """
    group_of = choose("group", kind, GROUPS)
    if not files:
        raise InputError(f"--group {kind}: these images have no files of their own, whose names could tell")
    names, numbers = np.unique([group_of(PurePosixPath(file), classes) for file in files], return_inverse=True)
    if len(names) < 2:
        raise InputError(f"--group {kind}: all {len(files):,} images are of one group, {names[0]!r}")
    return numbers
