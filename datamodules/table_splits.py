"""Which rows of a table are held out: those of a fold, for testing, or for validation.

Folds are scikit-learn's, shuffled: KFold for numbers, StratifiedKFold for classes, and GroupKFold and
StratifiedGroupKFold if rows of one group have to stay together.
"""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from basics.errors import InputError
from datamodules.batch_module import check_size
from datamodules.row_times import times_of
from datamodules.splits import TooFewError, hold_out
from datamodules.tables import Table, check_columns, refuse

SEED = 0  # of the test rows, which are the same for every seed of a run


class Fold(NamedTuple):
    """Which part of the rows is held out."""

    number: int  # from 0
    folds: int
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Which rows of a table are for testing, and which must stay together.

    Args:
        test_csv: a file with the test rows and their targets; empty: they are taken from the table.
        test_size: rows to take for testing, the same for every seed: a share below 1, or a number of rows; 0: none.
            They are in no fold.
        group: a column whose rows of one value stay together, in training, validation, test or one fold. It is no
            feature, unless `categories` or `ordinals` names it.
        time: a column of dates or numbers: the latest rows are the test rows, and the next latest validation.

    Raises:
        InputError: two of these contradict each other.
    """

    test_csv: str = ""
    test_size: float = 0.1
    group: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        if self.group and self.time:
            raise InputError(f"group {self.group!r}, time {self.time!r}: rows are split by one of them; leave one out")
        if self.test_csv and self.test_size not in (0, SplitOptions.test_size):
            raise InputError(f"test_size {self.test_size:g}: test_csv {self.test_csv} has the test rows; leave one out")


class Parts(NamedTuple):
    """The rows for testing, for validation and for training, each sorted."""

    test: np.ndarray
    val: np.ndarray
    train: np.ndarray


@dataclass(frozen=True)
class Splitter:
    """Holds out rows of a table, by what is known of each row, (N,)."""

    count: int  # N
    labels: np.ndarray | None = None  # numbers of classes, which get their share in every part
    groups: np.ndarray | None = None  # numbers; the rows of one are never parted
    times: np.ndarray | None = None  # the latest rows are held out, and those of one time are never parted

    def fold(self, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
        """The rows that the fold holds out, and the others; both sorted.

        Raises:
            TooFewError: there are more folds than groups, or than rows of any class.
        """
        if self.groups is not None and (count := len(np.unique(self.groups))) < fold.folds:
            raise TooFewError(f"{fold.folds} folds need as many groups; there are {count}")
        if self.labels is not None and (most := np.bincount(self.labels).max()) < fold.folds:
            raise TooFewError(f"{fold.folds} folds need a class of as many; the largest has {most}")
        splitters = {
            (False, False): KFold,
            (True, False): StratifiedKFold,
            (False, True): GroupKFold,
            (True, True): StratifiedGroupKFold,
        }
        splitter = splitters[self.labels is not None, self.groups is not None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer rows than folds, which are told of elsewhere
            parts = splitter(fold.folds, shuffle=True, random_state=fold.seed).split(
                np.zeros(self.count), self.labels, self.groups
            )
            train, held = list(parts)[fold.number]
        return held, train

    def test(self, size: float) -> tuple[np.ndarray, np.ndarray]:
        """The rows for testing, a share or a number of all, and the others; both sorted."""
        count = _number(size, self.count)
        if self.labels is None and self.groups is None and self.times is None:
            order = np.arange(self.count)
            np.random.RandomState(SEED).shuffle(order)  # a tenth is the first of ten folds of KFold
            return np.sort(order[:count]), np.sort(order[count:])
        return self.hold_out(np.arange(self.count), count, np.random.default_rng(SEED))

    def hold_out(self, rows: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """About `count` of these rows, and the others; both sorted.

        Raises:
            TooFewError: classes, groups or times cannot spare as many.
        """
        if count == 0:
            return rows[:0], rows
        if self.times is not None:
            held = _latest(self.times[rows], count)
        elif self.groups is not None:
            held = _whole_groups(self.groups[rows], count, rng)
        elif self.labels is not None:
            held = np.isin(np.arange(len(rows)), hold_out(self.labels[rows], count, rng)[0])
        else:
            order = rng.permutation(rows)
            return np.sort(order[:count]), np.sort(order[count:])
        return rows[held], rows[~held]


def _number(size: float, count: int) -> int:
    """How many rows are taken for testing, rounded up."""
    check_size("test_size", size, "rows")
    number = math.ceil(round(size * count, 6)) if size < 1 else int(size)  # 0.1 * 70 is a little above 7
    if number >= count:
        raise InputError(f"test_size {size:g}: takes {number} of {count} rows; some must be left to train on")
    return number


def _latest(times: np.ndarray, count: int) -> np.ndarray:
    """A mask of the rows from that time on which makes their number the nearest to `count`."""
    distinct, rows = np.unique(times, return_counts=True)
    if len(distinct) < 2:
        raise TooFewError(f"takes {count:,} of {len(times):,}, which are all of one time")
    from_it_on = rows[::-1].cumsum()[::-1]  # the rows of each time and of all later ones
    return times >= distinct[1:][np.argmin(abs(from_it_on[1:] - count))]


def _whole_groups(groups: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of the rows of whole groups: in the generator's order those that fit, or the smallest if none does."""
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise TooFewError(f"takes {count:,} of {len(groups):,}, which are all of one group")
    taken, total = [], 0
    for group in rng.permutation(len(sizes)):
        if total + sizes[group] <= count:
            taken.append(group)
            total += sizes[group]
    return np.isin(number, taken or [sizes.argmin()])


def groups_of(table: Table, column: str) -> np.ndarray:
    """The number of each row's group, (N,), in the order of their names.

    Raises:
        InputError: the column is not there, or has no value in a row.
    """
    check_columns(table, [column], None)
    cells = table.cells[column]
    refuse(table, column, cells.isin(table.missing), "is missing; each row needs a group")
    return pd.factorize(cells, sort=True)[0]


def splitter_of(
    table: Table, labels: np.ndarray | None, group: str, time: str, formats: tuple[str, ...] = ()
) -> Splitter:
    """What holds out rows of the table.

    Args:
        labels: the numbers of their classes, (N,).
        group: the column of groups; "" for none.
        time: the column of times; "" for none.
        formats: those of its dates, if they are known.
    """
    return Splitter(
        len(table.cells),
        labels,
        groups_of(table, group) if group else None,
        times_of(table, time, formats) if time else None,
    )
