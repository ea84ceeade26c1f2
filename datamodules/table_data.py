"""What the tables share: their splits, preprocessing fitted on training rows, batches on the device."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from basics.amounts import amount
from basics.errors import InputError
from datamodules.batch_module import BatchModule
from datamodules.batches import EvalBatches, Rows, TrainBatches
from datamodules.column_kinds import notes_on_copies, notes_on_rare, notes_on_repeated, notes_on_rows
from datamodules.column_report import ColumnReport, report_columns
from datamodules.csv_files import FOUND_OUT
from datamodules.dates import NTH_WEEKDAY
from datamodules.other_rows import Apart, OtherRows, copies
from datamodules.preprocessing import Recipe, derived, feature_names, fit, transform, typed_columns
from datamodules.splits import TooFewError, lacking
from datamodules.table_splits import Fold, Parts, SplitOptions, Splitter, splitter_of
from datamodules.tables import (
    Faults,
    Table,
    check_filled,
    check_levels,
    check_unique,
    class_target,
    number_target,
    usual_labels,
)
from datamodules.tags import rates, read_tags
from datamodules.written_numbers import number_form

EVAL_BATCH_SIZE = 4096  # per device
LEAST = 20  # rows of a table that is split without folds
FINER, FEWEST_IN_A_BIN = 16, 5  # times as many bins, and training rows in each, of dates of many rows and years


class TableData(BatchModule, ABC):
    """One table with a target. A subclass reads it and has a `Recipe` for it.

    The test rows are the held-out fold, or without folds those of `splitting`: another file's, or a tenth of the table,
    the same for every `seed`. In a classification each part has its share of each class (see `splits.py`). After
    `setup`, `preprocessing` is all that new rows need, as plain data.

    Args:
        batch_size: training rows per device and step.
        seed: of the validation split, the order of batches, and all random draws in training.
        val_size: the validation split, taken from the rows that are not held out: a share below 1, or a number of
            rows; 0: none.
        fold: the rows to hold out.

    Raises:
        InputError: an argument is out of range.
    """

    samples = "rows"
    name: str
    target: str  # its column
    preprocessing: dict[str, Any]  # from `setup` on, as is
    columns: list[ColumnReport]  # what each was taken for
    content: np.ndarray  # a hash of each row's text, (N,)
    id_column = ""  # the column that numbers the rows; "" for none
    log_target = False
    classification = False
    multilabel = False  # several labels for each row, in one column or in several, with commas between in `target`
    balanced_sampling = False  # draw equally many training rows of each class in an epoch
    similar_labels = "trim"
    reading = FOUND_OUT
    decimal = ""  # the decimal mark, if somebody said it
    splitting = SplitOptions()
    tests_folds = False  # rows for testing are taken from the table with folds too
    dates: Mapping[str, str] = {}  # the formats of columns of dates, if they are known

    def __init__(self, batch_size: int = 256, seed: int = 0, val_size: float = 0.1, fold: Fold | None = None) -> None:
        super().__init__(batch_size, seed, val_size)
        self.fold = Fold(*fold) if fold else None  # a checkpoint has a plain tuple
        self.classes: list[str] = []  # in a classification
        self.labels: list[str] = []  # of several at once
        self._mark = ""  # what is between labels in one column
        self.notes: list[str] = []  # how doubtful columns were understood, a line each
        self.left_out: dict[str, str] = {}  # columns that say nothing, and why
        self._apart: Apart | None = None

    @abstractmethod
    def read(self) -> Table:
        """The table, as text."""

    @abstractmethod
    def recipe(self, table: Table) -> Recipe:
        """What is done with its columns."""

    @property
    def target_columns(self) -> list[str]:
        if not self.multilabel:
            return [self.target]
        return [name.strip() for name in self.target.split(",") if name.strip()]

    @property
    def besides(self) -> tuple[str, ...]:
        """Columns that are not features."""
        return tuple(name for name in (*self.target_columns, self.id_column) if name)

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks the table, splits it, and fits the preprocessing to the training rows."""
        if hasattr(self, "preprocessing"):
            return
        table = self.read()
        recipe = self.recipe(table)
        self._typed, self.targets = self._checked(table, recipe)
        features = [*recipe.columns, *self.target_columns]
        if self.fold and self.tests_folds:
            table, self._typed = self._set_apart(table, self._typed, features)
        frame = derived(self._typed, asdict(recipe)).drop(columns=recipe.left_out)
        self.ids = self._ids(table)
        self._splitter = self._splitter_of(table)
        self.test_indices, self.val_indices, self.train_indices = self._split(self.fold, table.source)
        train = frame.iloc[self.train_indices]
        fitted = fit(train, recipe)
        self.rows = transform(frame, fitted)  # (N, F)
        self.columns = self._report(table, recipe, frame)
        self.notes += [*notes_on_rows(table, recipe.columns), *notes_on_rare(train, fitted["rare"])]
        known = np.concatenate([self.train_indices, self.val_indices])
        self.notes += notes_on_repeated(table, features, known, self.test_indices, bool(self.fold))
        self.preprocessing = fitted | {"target": self.target, "id": self.id_column, "besides": list(self.besides)}
        self.preprocessing |= {
            "classes": self.classes,
            "similar_labels": self.similar_labels,
            "log_target": self.log_target,
            "missing": list(table.missing),
            "header": self.reading.header,
            "sep": self.reading.sep,  # as it was given, like the next two: another file may have others
            "encoding": self.reading.encoding,
            "separator": table.separator,
            "decimal": self.decimal,
            "target_form": self._target_form(table),
        }
        if self.multilabel:
            self.preprocessing |= {"labels": self.labels, "targets": self.target_columns, "mark": self._mark}
        self._source = table.source
        self.content = hash_pandas_object(table.cells, index=False).to_numpy()
        self._add_test_rows()

    def _set_apart(self, table: Table, frame: pd.DataFrame, features: list[str]) -> tuple[Table, pd.DataFrame]:
        """The rows for the folds; `other_rows` has the rows for testing, which are in none of them."""
        with self._enough(f"test_size {self._test_size:g} ", table.source):
            test, rest = self._splitter_of(table).test(self._test_size)
        self.notes += notes_on_repeated(table, features, rest, test)
        self._apart = Apart(self._ids(table)[test], frame.iloc[test], self.targets[test])
        self.targets = self.targets[rest]
        return table._replace(cells=table.cells.iloc[rest]), frame.iloc[rest]

    def _ids(self, table: Table) -> np.ndarray:
        return table.cells[self.id_column].to_numpy() if self.id_column else table.cells.index.to_numpy()

    def _add_test_rows(self) -> None:
        if self.splitting.test_csv and (not self.fold or self.fold.number == 0):  # once is enough
            self._note_copies(self.other_rows())
        if not self.fold and (others := self.other_rows()) and others.targets is not None:
            self.test_indices = np.arange(len(self.rows), len(self.rows) + len(others.rows))
            self.rows = np.concatenate([self.rows, others.rows])
            self.targets = np.concatenate([self.targets, others.targets])
        self.has_tests = bool(len(self.test_indices))

    def _note_copies(self, others: OtherRows | None) -> None:
        """Notes rows of another file whose values are those of a row of this table."""
        if others is None or others.targets is None or others.frame is None:
            return
        columns = [*self.preprocessing["recipe"]["columns"]]
        self.notes += notes_on_copies(copies(others, self._typed[columns], self.targets), len(others.rows))

    def other_rows(self) -> OtherRows | None:
        """Rows that are in no fold, which the folds' models predict together: if they have targets, to be tested.

        Raises:
            InputError: they are in another file, which is no such table.
        """
        if self._apart is None or not len(self._apart.ids):
            return None
        return self._apart.preprocessed(self.preprocessing)

    def tested(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Typed columns, before any is derived, (N, columns), and targets, (N,), of the test rows.

        If folds have no test rows, they are those of all rows of the folds.
        """
        others = self.other_rows()
        if others and others.targets is not None and others.frame is not None:
            return others.frame, others.targets
        rows = np.arange(len(self._typed)) if self.fold else self.test_indices
        return self._typed.iloc[rows], self.targets[rows]

    def check_folds(self) -> None:
        """Raises InputError if one of the folds cannot be trained; after `setup`."""
        assert self.fold
        for number in range(self.fold.folds):
            self._split(self.fold._replace(number=number), self._source)

    def _report(self, table: Table, recipe: Recipe, frame: pd.DataFrame) -> list[ColumnReport]:
        """What each column was taken for."""
        kind = "class" if self.classification else "labels" if self.multilabel else "number"
        kinds = recipe.columns | dict.fromkeys(self.target_columns, kind)
        roles = dict.fromkeys(self.besides, "left out") | self.left_out | {self.id_column: "id"}
        roles |= dict.fromkeys(self.target_columns, "target")
        numbers = frame.copy()
        if kind == "number":
            numbers[self.target] = self.targets
        return report_columns(table, kinds, roles, numbers)

    def _checked(self, table: Table, recipe: Recipe) -> tuple[pd.DataFrame, np.ndarray]:
        """The typed columns, before any is derived, and the target.

        Raises:
            InputError: values cannot be used; it names those of all columns.
        """
        faults = Faults(table.source, table.faults)
        with faults:
            frame = typed_columns(table, asdict(recipe), self.besides)
            check_filled(table, recipe.columns)
        with faults:
            check_levels(table, recipe.columns)
        with faults:
            if self.id_column:
                check_unique(table, self.id_column)
        with faults:
            targets = self._read_target(table)
        faults.raise_all()
        return frame, targets

    def _read_target(self, table: Table) -> np.ndarray:
        if self.classification:
            merged = usual_labels(table, self.target, self.similar_labels)
            self.notes += [f"label {other!r} is taken as {usual!r}" for other, usual in merged.items()]
            targets, self.classes = class_target(table, self.target, self.similar_labels)
            return targets
        if self.multilabel:
            tags = read_tags(table, self.target_columns)
            self.labels, self._mark = list(tags.names), tags.mark
            self.notes.append(tags.note)
            return tags.values
        return number_target(table, self.target, positive=self.log_target)

    def _target_form(self, table: Table) -> str:
        """How the numbers to predict are written, which those of another file are read by; "" of classes and labels."""
        if self.classification or self.multilabel:
            return ""
        return number_form(table.filled(self.target).value_counts(), table.decimal)

    def _splitter_of(self, table: Table) -> Splitter:
        labels = self.targets if self.classification else None
        group, time = self.splitting.group, self.splitting.time
        return splitter_of(table, labels, group, time, (self.dates[time],) if time in self.dates else ())

    def _split(self, fold: Fold | None, source: str) -> Parts:
        """Which rows are for testing, for validation and for training."""
        count, least = self._splitter.count, 2 * fold.folds if fold else LEAST
        if count < least:
            what = f"{fold.folds} folds" if fold else "a training, a validation and a test split"
            raise InputError(f"{source}: {amount(count, 'row is', 'rows are')} too few for {what}; it needs {least}")
        with self._enough("" if fold else f"test_size {self._test_size:g} ", source):  # a fold names itself
            test, rest = self._splitter.fold(fold) if fold else self._splitter.test(self._test_size)
        with self._enough(f"val_size {self.val_size:g} ", source):
            rng = np.random.default_rng(self.seed)
            val, train = self._splitter.hold_out(rest, self._num_val(len(rest)), rng)
        self._check_classes(train, source)
        return Parts(test, val, train)

    @property
    def _test_size(self) -> float:
        return 0.0 if self.splitting.test_csv else self.splitting.test_size

    @contextmanager
    def _enough(self, what: str, source: str) -> Iterator[None]:
        try:
            yield
        except TooFewError as error:
            raise InputError(f"{source}, column {self._splits_by!r}: {what}{error}") from error

    @property
    def _splits_by(self) -> str:
        """The column that decides what may be held out."""
        return self.splitting.group or self.splitting.time or self.target

    def _check_classes(self, train: np.ndarray, source: str) -> None:
        if not self.classification:
            return
        missing = np.bincount(self.targets[train], minlength=len(self.classes)) == 0
        for number in np.flatnonzero(missing)[:1]:
            name, rows = self.classes[number], amount((self.targets == number).sum(), "row")
            said = f"{name!r}, in {rows}, has none to train on"
            if self._apart and len(self._apart.ids):
                said = (
                    f"{name!r}, in {rows} besides those for testing, has none to train on; --folds 0 trains one model"
                )
            raise InputError(f"{source}, column {self.target!r}: {said}")

    @property
    def input_shape(self) -> tuple[int]:
        return (self.rows.shape[1],)

    @property
    def num_numbers(self) -> int:
        """How many of the first columns of the rows are numbers, the rest being 0 or 1."""
        return len(self.preprocessing["numbers"])

    def bins(self, count: int) -> list[list[float]]:
        """Edges of up to `count` bins for each number: distinct quantiles of its training rows.

        Where dates are so many that their nth weekdays count, days and days of the year have up to `FINER` times as
        many, as long as each has `FEWEST_IN_A_BIN` rows: there are sudden changes in time, and holidays of one day.
        """
        numbers = self.rows[self.train_indices, : self.num_numbers]
        finer = max(count, min(FINER * count, len(numbers) // FEWEST_IN_A_BIN))
        many = [date["name"] for date in self.preprocessing["dates"] if NTH_WEEKDAY in date["parts"]]
        days = {f"{name}: {part}" for name in many for part in ("days", "yearday")}
        counts = [finer if number["name"] in days else count for number in self.preprocessing["numbers"]]
        edges = [np.quantile(x, np.linspace(0, 1, its + 1)) for x, its in zip(numbers.T, counts, strict=True)]
        return [np.unique(its.astype(np.float32)).tolist() for its in edges]

    def target_mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the training rows' targets, or of their logarithms if these are learned."""
        targets = self.targets[self.train_indices]
        targets = np.log(targets) if self.log_target else targets
        alike = targets.min() == targets.max()  # rounding may give equal targets a deviation above 0
        return float(targets.mean()), 1.0 if alike else float(targets.std())

    def describe(self) -> str:
        """Sizes of the splits and of the preprocessed rows, and how doubtful columns were understood."""
        columns = f"{self._kinds()} in {amount(len(feature_names(self.preprocessing)), 'column')}"
        notes = [f"note: {note}" for note in self.notes]
        labels = [rates(self.targets[self.train_indices], self.labels)] if self.multilabel else []
        return "\n".join([self._sizes(), columns, *labels, *notes, *self._describe_classes()])

    def _sizes(self) -> str:
        train, val, test = (len(rows) for rows in (self.train_indices, self.val_indices, self.test_indices))
        apart = len(self._apart.ids) if self._apart else 0
        row = "held-out row" if self.fold else "test row"
        others = f"; {amount(apart, 'test row')} in no fold" if apart else ""
        return f"{train:,} training, {val:,} validation and {amount(test, row)}{others}"

    def _kinds(self) -> str:
        fitted = self.preprocessing
        texts = f" and {amount(len(fitted['texts']), 'text')}" if fitted["texts"] else ""
        joined = ", " if texts else " and "
        categories = amount(len(fitted["categories"]), "category", "categories")
        return f"{amount(len(fitted['numbers']), 'number')}{joined}{categories}{texts}"

    def _describe_classes(self) -> list[str]:
        """What happened to small classes when the rows were split."""
        if not self.classification:
            return []
        parts = {"training": self.train_indices, "validation": self.val_indices, "test": self.test_indices}
        small = lacking({name: self.targets[rows] for name, rows in parts.items()}, self.classes)
        return [
            *(self._says_more_val(self.splitting.group) if len(self.val_indices) else []),
            *([small] if small else []),
        ]

    def train_dataloader(self) -> TrainBatches:
        balance = self.train_labels if self.balanced_sampling else None
        what = self._rows(), self.train_indices, self.batch_size, self.seed, self._epoch
        return TrainBatches(*what, part=self._part(), balance=balance)

    @property
    def train_labels(self) -> np.ndarray:
        """Numbers of the classes of the training rows, (N,)."""
        return self.targets[self.train_indices]

    def val_dataloader(self) -> EvalBatches | list[Any]:
        return self._evaluate(self.val_indices) if len(self.val_indices) else []

    def test_dataloader(self) -> EvalBatches:
        return self._evaluate(self.test_indices)

    def _evaluate(self, indices: np.ndarray) -> EvalBatches:
        return EvalBatches(self._rows(), indices, EVAL_BATCH_SIZE, part=self._part())

    def _rows(self) -> Rows:
        device = self._device()
        coarse = device.type == "mps" and not self.classification  # MPS has no float64
        return Rows(self.rows, self.targets.astype(np.float32) if coarse else self.targets, device)
