"""What stands in the name of a run's directory after its date: the network, and `--name` or what was changed.

2026-01-31_12-00-00_lenet5                   the recipe of the script as it is
2026-01-31_12-00-00_lenet5_lr=0.3_sample     without --name: the flags that differ from the recipe
2026-01-31_12-00-00_lenet5_wide              --name wide
2026-01-31_12-00-00_chapters=shape           a study, which has no network; with its defaults: ..._defaults
"""

import re
from collections.abc import Mapping
from typing import Any

from basics.errors import InputError
from harness.runs.flag_kinds import CHANGE_NOTHING, UNTOLD
from harness.runs.kept_flags import alike

LONGEST_NAME = 60  # characters of --name, since systems allow 255 for a directory's name
LONGEST_FLAG, LONGEST_FLAGS = 24, 40  # characters that stand in for a name: of one flag, and of all


def check_name(name: str | None) -> None:
    """Raises InputError if a name cannot be part of a directory's name everywhere, or would need quotes in a shell."""
    if name is None:
        return
    if not re.fullmatch(r"[A-Za-z0-9._+=-]*", name) or not name.strip("."):
        allowed = "letters from a to z, digits, and any of . _ + = -"
        raise InputError(f"--name {name!r}: becomes part of a directory's name, and may have only {allowed}")
    if len(name) > LONGEST_NAME:
        raise InputError(f"--name {name}: has {len(name)} characters; at most {LONGEST_NAME} have room")


def run_label(first: str, name: str | None, changed: Mapping[str, Any]) -> str:
    """What follows the date in a directory's name.

    Args:
        first: such as the network.
        changed: the flags that differ from the recipe; as many as have room stand in for a missing name.

    Raises:
        InputError: the name cannot be part of a directory's name.
    """
    check_name(name)
    return "_".join([first, *([name] if name else _told(changed))])


def study_label(name: str | None, changed: Mapping[str, Any]) -> str:
    """The same for a study.

    Raises:
        InputError: the name cannot be part of a directory's name.
    """
    check_name(name)
    return name or "_".join(_told(changed)) or "defaults"


def changed_flags(flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that differ from the defaults; of a nested one, such as net_args, those of its parts that do."""
    changed: dict[str, Any] = {}
    for name, value in flags.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and name not in CHANGE_NOTHING:
            changed |= changed_flags(value, default if isinstance(default, Mapping) else {})
        elif not alike(value, default):
            changed[name] = value
    return changed


def _told(changed: Mapping[str, Any]) -> list[str]:
    """Such as ["lr=0.3", "sample"]."""
    told: list[str] = []
    for name, value in changed.items():
        word = _word(name, value)
        word = word if len(word) <= LONGEST_FLAG else name  # at least which flag it was
        if name not in UNTOLD and len("_".join([*told, word])) <= LONGEST_FLAGS:
            told.append(word)
    return told


def _word(name: str, value: Any) -> str:
    if value is True:
        return name
    if value is None or value is False:
        return f"no_{name}"
    if isinstance(value, float):
        return f"{name}={value:.4g}"
    return f"{name}={value if isinstance(value, int) else _plain(value)}"


def _plain(value: Any) -> str:
    """The value as text without characters that mean something to a shell or a file system."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "none"
