"""Images whose labels are no classes: a number, or several labels, for each, from a CSV file (see `labels_file.py`)."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from basics.errors import InputError
from datamodules.arrays import ImageArrays
from datamodules.column_kinds import find_decimal
from datamodules.folder import ImageFolder
from datamodules.labels_file import LABEL_COLUMNS, LabelledFiles, label_column, listing_of, read_labels
from datamodules.listing import Listing, readable_splits
from datamodules.scenes import CLASSES, SIDE, scenes
from datamodules.tables import Table, check_columns, numbers, refuse
from datamodules.tags import rates, read_tags, united
from datamodules.written_numbers import number_form

TAG_COLUMNS = ("labels", "tags", "classes", "categories")  # further names of the column of several labels


class ImageTargets(ImageFolder, ABC):
    """Images with a row of `targets` for each file of the table `labels`.

    They are decoded as `ImageFolder` does it: the arrays on the disk do not depend on the targets. Without a test set
    of its own, a tenth of all images is the test set; nothing is stratified. The sample is generated scenes of shapes.

    Args:
        data_dir, batch_size: those of `ImageFolder`.
        options: its further ones.

    Raises:
        InputError: there is neither a table nor the sample.
    """

    name = ""  # no data set by itself
    task: str  # the flag that asks for these data, and what the table must have
    wanted: str
    classes: tuple[str, ...] = ()
    _by_file: dict[str, np.ndarray]  # the targets of each file, (...)

    def __init__(self, data_dir: str = "data", batch_size: int = 64, **options: Any) -> None:
        super().__init__(data_dir, batch_size, **options)
        if self.sample:
            self.image_shape = (SIDE, SIDE, 3)
        elif not self.labels:
            raise InputError(f"{self.task}: needs --labels FILE.csv, which has {self.wanted} for each image")

    @abstractmethod
    def _read_targets(self, found: LabelledFiles) -> np.ndarray:
        """The targets of the table's rows, (N, ...), as floats."""

    @abstractmethod
    def _sample_targets(self, masks: np.ndarray) -> np.ndarray:
        """The targets of scenes with these masks, (N, H, W)."""

    @property
    def num_classes(self) -> int:
        return len(self.classes) or 1  # the arrays on the disk have a single class

    @property
    def runs_name(self) -> str:
        return ImageFolder.name

    @cached_property
    def listing(self) -> Listing:
        found = read_labels(self.data_dir, self.labels)
        self._by_file = {}
        for line, name, targets in zip(found.lines, found.names, self._read_targets(found), strict=True):
            if not np.array_equal(self._by_file.setdefault(name, targets), targets):
                raise InputError(f"{found.table.source}, line {line}: {name} has another label in an earlier line")
        return listing_of(self.data_dir, found, ("",), dict.fromkeys(self._by_file, 0))

    def _make_sample(self) -> ImageArrays:
        arrays = scenes()
        train, test = self._sample_targets(arrays.train_labels), self._sample_targets(arrays.test_labels)
        return arrays._replace(train_labels=train, test_labels=test)

    def _read(self) -> ImageArrays:
        arrays, splits = super()._read(), readable_splits(self.data_dir, self.listing, self.skipped)
        train, test = (
            np.stack([self._by_file[file] for file in files])
            for files in ([*splits["train"], *splits["val"]], splits["test"])
        )
        return arrays._replace(train_labels=train, test_labels=test)

    def _strata(self, labels: np.ndarray) -> None:
        return None

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return super()._split(np.zeros(len(labels), np.int64))  # as if all were of one class

    def _says_test(self) -> str:
        return f"{self.labels} names no test images: a tenth of all is the test set, the same for every seed"

    def _too_small(self) -> str:
        return ""


class ImageNumbers(ImageTargets):
    """Images with a number for each.

    In the sample, it is the percentage of a scene that is covered by shapes.
    """

    name = "image_numbers"
    task, wanted = "task regression", "a number"

    def _read_targets(self, found: LabelledFiles) -> np.ndarray:
        self.target = label_column(found, self.target)
        return finite_numbers(found.table._replace(decimal=find_decimal(found.table)), self.target)

    def _sample_targets(self, masks: np.ndarray) -> np.ndarray:
        self.target = "covered"
        return 100 * (masks > 0).mean((1, 2))

    def target_mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the targets of the training split."""
        targets = self.train_labels
        return float(targets.mean()), float(targets.std()) if targets.min() < targets.max() else 1.0

    def _says_labels(self) -> str:
        targets, (mean, std) = self.train_labels, self.target_mean_std()
        return f"{self.target!r}: {targets.min():g} to {targets.max():g}, mean {mean:.4g}, standard deviation {std:.4g}"


class ImageTags(ImageTargets):
    """Images with several labels each; see `tags.py` for how the table has them.

    In the sample, they are the shapes that can be seen in a scene. A file may be in several rows, with a label each.
    """

    name = "image_tags"
    task, wanted = "task multilabel", "labels"

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # the table tells
        if self.sample:
            return CLASSES[1:]
        return self._tags.names if self.listing else ()

    def _read_targets(self, found: LabelledFiles) -> np.ndarray:
        self._tags = read_tags(found.table._replace(has_flags=True), self._columns(found))
        return united(found.names, self._tags.values) if self._tags.mark else self._tags.values

    def _columns(self, found: LabelledFiles) -> list[str]:
        """Those that --target names, or the one with a usual name, or all."""
        asked = [name.strip() for name in self.target.split(",") if name.strip()]
        check_columns(found.table, asked, None)
        usual = [name for name in found.columns if name.lower() in (*LABEL_COLUMNS, *TAG_COLUMNS)]
        return asked or usual[:1] or found.columns

    def _sample_targets(self, masks: np.ndarray) -> np.ndarray:
        return np.stack([(masks == kind).any((1, 2)) for kind in range(1, len(CLASSES))], axis=1).astype(np.float32)

    def _says_labels(self) -> str:
        note = "" if self.sample else f"\n{self._tags.note}"
        return f"{rates(self.train_labels, self.classes)}{note}"


def finite_numbers(table: Table, column: str) -> np.ndarray:
    """The numbers of a column, float64, however they are written.

    Raises:
        InputError: values are missing or no numbers, or all are the same.
    """
    cells = table.cells[column]
    refuse(table, column, cells.isin(table.missing), "is missing; each image needs a number")
    values: pd.Series = numbers(table, column, number_form(cells.value_counts(), table.decimal) or "number")
    if values.nunique() == 1:
        raise InputError(f"{table.source}, column {column!r}: always {cells.iloc[0]!r}; nothing to learn")
    return values.to_numpy(copy=True)  # pandas' own array is read-only
