"""Which configurations of a sweep have been tried, and which is next: none is trained twice.

Where all flags are finite choices, a sweep is a grid: each cell once, in a random order that all workers share.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness.comparing.sweep_space import Between, OneOf

Space = Mapping[str, Between | OneOf]
DRAWS = 1000  # of a configuration that is not there yet


def is_grid(space: Space) -> bool:
    return all(isinstance(its, OneOf) for its in space.values())


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """The trial's flags, as far as they are known; of one that waits, those it is to have."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def key_of(values: Mapping[str, Any], space: Space) -> tuple[Any, ...] | None:
    """The configuration; None where a flag of it is not chosen yet."""
    return tuple(values[name] for name in space) if values.keys() >= space.keys() else None


def is_live(trial: FrozenTrial) -> bool:
    """Whether it waits, runs or has a result; a crash of its script is one, the end of its worker is not."""
    return trial.state != TrialState.FAIL or "failure" in trial.user_attrs


def counted(trials: Sequence[FrozenTrial], space: Space) -> list[FrozenTrial]:
    """Those that are among the wanted ones, by number: of each configuration the first, or what tries it again."""
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
    """The first cell of the grid, in its order, that is not taken; None where all are."""
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
    """Random values that are not taken; None where there may be none."""
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
