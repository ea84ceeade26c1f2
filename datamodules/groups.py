"""Which images belong together, such as those of one person or one video, by the names of their files.

folder   those in one folder below a class folder, at any depth: train/<class>/<folder>/...; the same name in two
         classes is one group. Of a table of labels, those in the same folder. An image beside such folders is a group
         of its own
prefix   those whose names begin alike, up to the first `_`, `-`, `.` or blank: anna_01.jpg and anna_02.jpg
"""

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath

import numpy as np

from basics.choose import choose
from basics.errors import InputError
from datamodules.listing import SPLITS

SPLIT_FOLDERS = {name for names in SPLITS.values() for name in names}


def _folder(file: PurePosixPath, classes: Collection[str]) -> str:
    above = file.parts[:-1]
    # A class may be called train, as the folder of the split is.
    begin = int(len(above) > 1 and above[0].lower() in SPLIT_FOLDERS and above[1] in classes)
    depth = next((number for number, part in enumerate(above) if number >= begin and part in classes), None)
    if depth is None:
        return str(file.parent if above else file)
    return above[depth + 1] if len(above) > depth + 1 else str(file)


def _prefix(file: PurePosixPath, classes: Collection[str]) -> str:
    return re.split(r"[-_.\s]", file.name.lstrip("-_. "), maxsplit=1)[0]


GROUPS: dict[str, Callable[[PurePosixPath, Collection[str]], str]] = {"folder": _folder, "prefix": _prefix}


def groups_of_files(kind: str, files: Sequence[str], classes: Collection[str]) -> np.ndarray:
    """The number of each file's group, (N,).

    Args:
        files: their names, from the folder of all images.
        classes: the names of folders that say the class.

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
