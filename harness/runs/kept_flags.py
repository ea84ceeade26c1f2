"""Which flags a resumed run keeps, and which may change."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basics.errors import InputError
from harness.runs.flag_kinds import CHANGE_NOTHING, MAY_CHANGE, PLACES_OF_DATA
from harness.runs.states import has_folds, read_config

NO_FLAG = {"own_callbacks": "callbacks of the script"}  # what config.yaml has besides, in messages
LONGEST = 60  # greatest number of characters of a value in a message


def check_flags_kept(run: Path, flags: Mapping[str, Any]) -> None:
    """Raises InputError if a flag differs from the run's and is not one of those that may change."""
    may_change = CHANGE_NOTHING | PLACES_OF_DATA if has_folds(run) else MAY_CHANGE  # finished folds stay as they are
    before = read_config(run)
    if before.get("started_by", script := flags.get("started_by")) != script:
        here = script or "a call from Python"
        raise InputError(
            f"--resume {run}: is a run of {before['started_by']}, and only that continues it; this is {here}"
        )
    for name, value in flags.items():
        if name not in may_change and name in before and not alike(value, before[name]):
            flag = NO_FLAG.get(name, f"--{name}")
            raise InputError(
                f"{flag} {short(value)}: {run} was started with {short(before[name])}, and keeps that;"
                " only where it runs, how long, and what it logs and saves may change (see docs/runs.md)"
            )


def alike(one: Any, other: Any) -> bool:
    """Whether the values are equal; lists equal tuples, and means may differ by the order in which they were summed."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9) or (one != one and other != other)
    return one == other


def short(value: Any) -> str:
    text = str(value) or "''"  # as one would type it
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
