"""Which configurations of a sweep have been tried, and which comes next: none is trained twice.

If all flags are finite choices, a sweep is a grid: each cell once, in a random order that all workers share.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness.comparing.sweep_space import Between, OneOf

Space = Mapping[str, Between | OneOf]
DRAWS = 1000  # attempts to draw a new configuration


def is_grid(space: Space) -> bool:
    return all(isinstance(its, OneOf) for its in space.values())


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """The trial's flags, as far as they are known; for a waiting trial, those it will have."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def key_of(values: Mapping[str, Any], space: Space) -> tuple[Any, ...] | None:
    """The configuration; None if one of its flags is not chosen yet."""
    return tuple(values[name] for name in space) if values.keys() >= space.keys() else None


def is_live(trial: FrozenTrial) -> bool:
    """Whether it waits, runs or has a result; a crash of its script is a result, the death of its worker is not."""
    return trial.state != TrialState.FAIL or "failure" in trial.user_attrs


def counted(trials: Sequence[FrozenTrial], space: Space) -> list[FrozenTrial]:
    """The trials that count, by number: for each configuration the first, or the one that tries it again."""
    live = [trial for trial in trials if is_live(trial)]
    again = {trial.user_attrs.get("again") for trial in live}
    first: dict[Any, FrozenTrial] = {}
    for trial in live:
        if trial.number not in again:
            key = key_of(values_of(trial), space)
            first.setdefault(trial.number if key is None else key, trial)
    return list(first.values())


def keys_of(trials: Sequence[FrozenTrial], space: Space) -> set[tuple[Any, ...] | None]:
    return {key_of(values_of(trial), space) for trial in trials}


def next_cell(space: Space, taken: Collection[Any]) -> dict[str, str] | None:
    """The first cell of the grid, in its order, that is not taken; None if all are."""
    places = list(range(int(size(space))))
    random.Random(0).shuffle(places)
    for place in places:
        cell = {}
        for name, its in space.items():
            place, at = divmod(place, len(its.examples))
            cell[name] = its.examples[at]
        if key_of(cell, space) not in taken:
            return cell
    return None


def draw_new(space: Space, taken: Collection[Any]) -> dict[str, Any] | None:
    """Random values that are not taken; None if none were found."""
    source = random.Random()
    for _ in range(DRAWS):
        values = {name: its.draw(source) for name, its in space.items()}
        if key_of(values, space) not in taken:
            return values
    return None


def size(space: Space) -> float:
    """How many configurations there are."""
    count = 1.0
    for its in space.values():
        count *= its.cardinality
    return count
