"""Names of files and folders given on the command line."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

PATHS = (
    *(
        "checkpoint",
        "csv",
        "data_dir",
        "figure",
        "files",
        "folders",
        "image",
        "init_from",
        "labels",
        "output",
        "pickle",
    ),
    *("resume", "rows", "run_dir", "test_csv"),
)  # the flags and arguments that hold such names


def expand_home(flags: MutableMapping[str, Any] | Namespace) -> None:
    """Replaces a leading `~` or `~user` in names by the home directory, as a shell does; also in `--flag=~/name` and in
    config files, where a shell does not. Nothing else in a name is special: `$HOME` and `*` stay as they are, and a
    file called `~` is `./~`.
    """
    for name in PATHS:
        value = flags.get(name)
        if isinstance(value, str):
            flags[name] = expanded(value)
        elif isinstance(value, list):
            flags[name] = [expanded(part) for part in value]


def expanded(name: str) -> str:
    """The name with a leading `~` replaced by the home directory; other names as they are."""
    if not name.startswith("~"):
        return name  # Path would drop the ./ of ./~
    try:
        return str(Path(name).expanduser())
    except RuntimeError:  # no such user
        return name
