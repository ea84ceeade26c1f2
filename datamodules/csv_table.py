"""A user's own table: any CSV file with a target."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from basics.amounts import amount
from basics.errors import InputError
from datamodules.column_kinds import find_decimal, idle_columns, infer_kinds, notes_on
from datamodules.csv_files import Reading, read_csv
from datamodules.dates import is_format
from datamodules.new_rows import read_rows
from datamodules.other_rows import OtherRows, of_file
from datamodules.preprocessing import Recipe, RecipeOptions
from datamodules.sample_tables import diabetes, wine
from datamodules.table_data import TableData
from datamodules.table_splits import Fold, SplitOptions
from datamodules.tables import MISSING, Kind, Table, check_columns, check_similar, missing_labels, refuse
from datamodules.written_numbers import looks_numeric

TASKS = ("regression", "classification", "multilabel")
FEW, ROWS_EACH = 10, 10  # whole numbers in a target that may be classes: so many at most, and each so often on average
MISSING_HERE = (*MISSING, "?", "-", "--", "None", "n/a", "#N/A", "<NA>", "NaT")  # --missing names further ones


@dataclass(frozen=True, kw_only=True)
class CsvOptions(SplitOptions):
    """What becomes of the columns of a table.

    Args:
        log_target: in a regression, learn the target's logarithm.
        id_column: a column that numbers the rows, and says nothing.
        drop: columns to leave out.
        only: the columns to predict from, instead of all; of these, none is left out for being an id.
        drop_missing_target: leave out rows without a target, instead of refusing the file.
        sep: what separates columns: comma, semicolon, tab, pipe or whitespace; empty: found by looking, like the next
            two.
        encoding: of the file, such as utf-8, utf-16 or cp1252.
        decimal: the decimal mark of numbers that could have either: "." or ",".
        no_header: the file has no line with the names of its columns, which are called c1, c2 and so on.
        missing: further texts that stand for a missing value, besides `?`, `-`, NA, N/A, NaN, null and None.
        dates: formats of the days of dates, such as '{sold: "%d/%m/%Y"}'; others are found by looking.
        categories: columns whose numbers are only names.
        ordinals: levels of columns that have an order, the lowest first, such as '{size: [S, M, L]}'; "NA" is a missing
            value.
        log1p: skewed: logarithms of skewed numbers; none.
        clip: quantiles of the training rows that numbers are clipped to, such as [0.005,0.995]; [] for none.
        scale: standard, robust (with a smooth end) or quantile.
        rare: categories with fewer training rows share one column, with those never seen.
        sample: use a small table that scikit-learn ships, which needs no files.
        similar_labels: of a classification, what becomes of labels that differ in case, outer dots or blanks only:
            trim: merge those that have the same case, and refuse others; refuse; merge, into the most frequent
            spelling; or keep, as classes of their own.
        balanced_sampling: of a classification, draw equally many training rows of each class in an epoch.

    Raises:
        InputError: `similar_labels` or `decimal` is none of these.
    """

    log_target: bool = False
    id_column: str = ""
    drop: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    drop_missing_target: bool = False
    sep: str = ""
    encoding: str = ""
    decimal: str = ""
    no_header: bool = False
    missing: list[str] = field(default_factory=list)
    dates: dict[str, str] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)
    ordinals: dict[str, list[str]] = field(default_factory=dict)
    log1p: str = "none"
    clip: list[float] = field(default_factory=list)
    scale: str = "quantile"
    rare: int = 3
    sample: bool = False
    similar_labels: str = "trim"
    balanced_sampling: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decimal not in ("", ".", ",", "comma", "point"):
            raise InputError(f"decimal {self.decimal!r}: must be '.' or ',', or empty to find out")
        for column, format in self.dates.items():
            if not is_format(format):
                raise InputError(f"dates {column!r}: {format!r} is no format of dates; one is %d.%m.%Y")
        check_similar(self.similar_labels)


class CsvTable(TableData):
    """The columns of `csv`, except the target, are numbers or categories, judged by their values.

    Args:
        csv: the file.
        target: the column to predict; of several labels, their columns with commas between them, or one of texts
            (see `tags.py`).
        task: regression, classification, or multilabel: several labels for each row.
        batch_size, seed, val_size, fold: those of `TableData`.
        options: those of `CsvOptions`.

    Raises:
        InputError: an argument is out of range, or two of them give one column different roles.
    """

    name = "table"
    tests_folds = True

    def __init__(
        self,
        csv: str,
        target: str,
        task: str = "regression",
        batch_size: int = 256,
        seed: int = 0,
        val_size: float = 0.1,
        fold: Fold | None = None,
        **options: Any,
    ) -> None:
        super().__init__(batch_size, seed, val_size, fold)
        chosen = CsvOptions(**options)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        if task not in TASKS:
            raise InputError(f"task {task!r}: no such task; there are {', '.join(TASKS)}")
        if task != "regression" and chosen.log_target:
            raise InputError(f"log_target: a {'class' if task == 'classification' else 'label'} has no logarithm")
        if task == "multilabel" and chosen.sample:
            raise InputError("task multilabel: the embedded sample has no labels for it; name a file by --csv")
        if task != "classification" and chosen.balanced_sampling:
            raise InputError(f"balanced_sampling: is for classes; add --task classification if {target!r} has some")
        self.balanced_sampling = chosen.balanced_sampling
        self.csv, self.sample, self.similar_labels, self.chosen = csv, chosen.sample, chosen.similar_labels, chosen
        self.splitting, self.dates = chosen, chosen.dates
        self.decimal = {"comma": ",", "point": "."}.get(chosen.decimal, chosen.decimal)
        targets = target.split(",") if task == "multilabel" else [target]
        self.reading = Reading(
            chosen.sep,
            chosen.encoding,
            header=not chosen.no_header,
            missing=(*MISSING_HERE, *chosen.missing),
            columns=() if any(map(looks_numeric, targets)) else tuple(targets),  # which may be in a row of data too
            has_flags=True,
        )
        self.target, self.id_column, self.multilabel = target, chosen.id_column, task == "multilabel"
        self.ordinals: dict[str, Kind] = dict(chosen.ordinals)
        self.drop, self.categories = tuple(chosen.drop), tuple(chosen.categories)
        self.classification, self.log_target = task == "classification", chosen.log_target
        self.options = RecipeOptions(log1p=chosen.log1p, clip=list(chosen.clip), scale=chosen.scale, rare=chosen.rare)
        if self.sample:
            self.target = "class" if self.classification else "progression"
        self._check_roles()

    def _read_target(self, table: Table) -> np.ndarray:
        targets = super()._read_target(table)
        if form := self._target_form(table):
            self.notes += [*notes_on(table, {self.target: form}), *_notes_on_few(self.target, targets)]
        return targets

    def _check_roles(self) -> None:
        """Refuses a column with two roles, such as target and feature, and a list of targets without one or with one
        twice.
        """
        columns = self.target_columns
        if not columns or len({*columns}) < len(columns):
            raise InputError(f"target {self.target!r}: must name columns, each once")
        roles = {
            "target": tuple(self.target_columns), "id_column": (self.id_column,) if self.id_column else (),
            "drop": self.drop, "categories": self.categories, "ordinals": tuple(self.ordinals),
            "dates": tuple(self.chosen.dates),
        }  # fmt: skip
        taken: dict[str, str] = {}
        for role, names in roles.items():
            for name in names:
                if taken.setdefault(name, role) != role:
                    raise InputError(f"{role} {name!r}: {taken[name]} names it too; a column can have one role only")
        if both := [name for name in self.chosen.only if taken.get(name) in ("target", "id_column", "drop")]:
            raise InputError(f"only {both[0]!r}: {taken[both[0]]} names it too; a column can have one role only")
        for role, name in {"group": self.splitting.group, "time": self.splitting.time}.items():
            if name in self.target_columns:
                raise InputError(f"{role} {name!r}: is the target, which is not known of new rows")
        for name, levels in self.ordinals.items():
            if len(set(levels)) < max(2, len(levels)):
                raise InputError(f"ordinals {name!r}: {', '.join(levels)}: must be at least two levels, each once")

    @property
    def besides(self) -> tuple[str, ...]:
        group = self.splitting.group
        kept = not group or group in (*self.drop, *self.categories, *self.ordinals)
        return (*super().besides, *self.drop, *self.left_out, *([] if kept else [group]))

    def other_rows(self) -> OtherRows | None:
        """The rows of `test_csv`, or those of the table that are in no fold, with their targets.

        Raises:
            InputError: a row is of a group that the table has too.
        """
        if not self.splitting.test_csv:
            return super().other_rows()
        read, group = read_rows(Path(self.splitting.test_csv), self.preprocessing), self.splitting.group
        if group in read.table.cells:
            shared = read.table.cells[group].isin(self._groups)
            refuse(read.table, group, shared, f"is a group of {self.csv} too")
        return of_file(read, self.preprocessing)

    def read(self) -> Table:
        """The table without rows that have no target, if these are to be dropped."""
        sample = wine if self.classification else diabetes
        table = sample() if self.sample else read_csv(Path(self.csv), self.reading, gathers=True)
        table = table._replace(has_flags=True)
        named = [*self.chosen.only, *self.categories, *self.ordinals, *self.dates]
        check_columns(table, [*self.besides, *named], None)
        if self.classification and self.chosen.missing:  # also of what could be the name of a class
            cells = table.cells.copy()
            cells[self.target] = cells[self.target].mask(cells[self.target].isin(self.chosen.missing), "")
            table = table._replace(cells=cells)
        if self.chosen.drop_missing_target:
            table = self._with_targets(table)
        self._groups = set(table.cells.get(self.splitting.group, ()))
        return table._replace(decimal=self.decimal or find_decimal(table))

    def _with_targets(self, table: Table) -> Table:
        missing = missing_labels(table) if self.classification else table.missing
        there = ~table.cells[self.target_columns].isin(missing).any(axis=1)
        if not there.any():
            raise InputError(f"{table.source}, column {self.target!r}: no row has a target")
        of = amount((~there).sum(), f"of {len(there):,} rows has", f"of {len(there):,} rows have")
        said = f"{of} no target, and {'is' if (~there).sum() == 1 else 'are'} left out"
        return table._replace(cells=table.cells[there], notes=(*table.notes, said) if not there.all() else table.notes)

    def recipe(self, table: Table) -> Recipe:
        features = [name for name in self.chosen.only or table.cells.columns if name not in self.besides]
        if not features:
            raise InputError(f"{table.source}, line 1: {self.target!r} is the only column; nothing to predict it from")
        names = [name for name in features if name not in self.ordinals]
        found = infer_kinds(table, names, self.categories, self.options["rare"], self.dates)
        kinds = {name: found.get(name, self.ordinals.get(name, "")) for name in features}
        idle = {} if self.chosen.only else idle_columns(table, kinds)
        others = [name for name in table.cells.columns if name not in (*features, *self.besides)]
        self.left_out = idle | dict.fromkeys(others, "not among --only")
        kept = {name: kind for name, kind in kinds.items() if name not in self.left_out}
        if not kept:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in idle.items())
            raise InputError(f"{table.source}: no column is left to predict {self.target!r} from: {reasons}")
        left = [f"column {name!r} is left out: {reason}" for name, reason in idle.items()]
        self.notes = [*table.notes, *left, *notes_on(table, kept)]
        return Recipe(kept, **self.options)


def _notes_on_few(target: str, values: np.ndarray) -> list[str]:
    """A line on a target to be predicted as a number whose values, (N,), may be numbers of classes."""
    found = np.unique(values)
    if not 1 < len(found) <= min(FEW, len(values) // ROWS_EACH) or (found != found.round()).any():
        return []
    said = f"target {target!r} has only {len(found)} values, {found[0]:g} to {found[-1]:g}, which are taken as numbers"
    return [f"{said} (--task regression); --task classification takes them as classes"]
