"""Learning-rate schedules, found by name: `--lr_decay NAME`.

A file here offers schedules by naming them in its `__all__`. A schedule is a function of the progress of the run, which
goes from 0, at the end of the warm-up, towards 1; it returns the share of the initial learning rate, 0 or more.
Since it depends on nothing else, a resumed run continues on the same curve.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache

from basics.errors import InputError
from basics.offers import Offers, read_offers
from callbacks.schedules.smooth import constant, cosine, linear

__all__ = ["Schedule", "constant", "cosine", "linear", "schedule_called"]

Schedule = Callable[[float], float]
TRIED = 100  # points at which a schedule is tried before training starts


@cache
def _files() -> Offers:
    return read_offers(__name__, __path__, "schedules")


def schedule_called(name: str, others: Mapping[str, Schedule]) -> Schedule:
    """The schedule of this name, one of the files here or of `others`.

    Raises:
        InputError: there is no such name, its file cannot be imported, or it gives no rate at some point of the run.
    """
    schedule: Schedule = _files().choose("schedule", name, {**_files().by_name(), **others}, "lr_decay")
    for progress in (point / TRIED for point in range(TRIED + 1)):
        try:
            share = float(schedule(progress))
        except Exception as error:  # anything may happen in somebody's file
            raise InputError(f"lr_decay {name}: at progress {progress:g}: {type(error).__name__}: {error}") from error
        if not (math.isfinite(share) and share >= 0):
            raise InputError(f"lr_decay {name}: is {share:g} at progress {progress:g}; it must be a number from 0 on")
    return schedule
