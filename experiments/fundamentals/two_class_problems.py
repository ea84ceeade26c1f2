"""Problems of two classes: clouds of generated points, a CSV file, and the diabetes data."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from basics.errors import InputError
from datamodules.csv_table import CsvTable
from datamodules.preprocessing import feature_names
from datamodules.sample_tables import diabetes
from datamodules.table_data import Fold
from datamodules.tables import Table, class_target
from experiments.fundamentals.two_class import Problem, Rows

CENTRES = np.array([[0.0, 0.0], [2.0, 1.5]])  # of the clouds, whose standard deviation is 1
CORNERS = np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])  # of XOR; the last two are class 1


def blobs(count: int, seed: int) -> Problem:
    """Two normal clouds."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 2
    return _split("blobs", CENTRES[labels] + rng.standard_normal((count, 2)), labels)


def xor(count: int, seed: int) -> Problem:
    """Four small clouds; those at opposite corners are of the same class."""
    rng, corners = np.random.default_rng(seed), np.arange(count) % 4
    return _split("xor", CORNERS[corners] + 0.3 * rng.standard_normal((count, 2)), corners // 2)


def _split(name: str, features: np.ndarray, labels: np.ndarray) -> Problem:
    """Three fifths to train on, one to choose the threshold by, and one to test on."""
    rows = Rows(torch.from_numpy(features), torch.from_numpy(labels))
    ends = [0, len(labels) * 3 // 5, len(labels) * 4 // 5, len(labels)]
    train, val, test = (Rows(*(tensor[start:end] for tensor in rows)) for start, end in pairwise(ends))
    return Problem(name, train, val, test, positive="class 1")


class Diabetes(CsvTable):
    """442 patients: does the disease progress more than the median? Both answers are equally frequent."""

    name = "diabetes"

    def read(self) -> Table:
        table = diabetes()
        progression = table.cells["progression"].astype(float)
        answers = np.where(progression > progression.median(), "yes", "no").astype(object)
        return table._replace(cells=table.cells.drop(columns="progression").assign(**{self.target: answers}))


def read_table(csv: str, target: str, seed: int, drop: Sequence[str] = ()) -> tuple[Problem, list[str]]:
    """A file or the diabetes data, with the names of the features; numbers are standardised by the training rows.

    Args:
        csv: the file; empty: the diabetes data.
        target: the column with the two classes.
        drop: columns to leave out.

    Raises:
        InputError: the file is no such table, its target has not two classes, or a split lacks one of them.
    """
    kind = CsvTable if csv else Diabetes
    options: dict[str, Any] = {"scale": "standard", "drop": list(drop), "test_size": 0}
    data = kind(csv, target or "above_median", "classification", seed=seed, val_size=0.25, fold=Fold(0, 5), **options)
    table = data.read()
    _, classes = class_target(table, data.target)
    if len(classes) > 2:
        some = ", ".join(map(repr, classes[:3])) + ", ..." * (len(classes) > 3)
        raise InputError(f"{table.source}, column {data.target!r}: {len(classes)} classes ({some}); it takes two")
    data.setup()
    for note in data.notes:
        print(f"note: {note}")
    labels = torch.from_numpy(data.targets)
    rows = Rows(torch.from_numpy(data.rows).double(), labels)
    parts = {"training": data.train_indices, "validation": data.val_indices, "test": data.test_indices}
    for part, indices in parts.items():
        if len(missing := set(range(2)) - set(labels[indices].tolist())):
            raise InputError(
                f"{table.source}, column {data.target!r}: {classes[missing.pop()]!r} is in none of the {len(indices)}"
                f" {part} rows; it takes more rows"
            )
    train, val, test = (Rows(*(tensor[indices] for tensor in rows)) for indices in parts.values())
    problem = Problem("table", train, val, test, positive=f"{data.target} = {classes[1]}")
    return problem, feature_names(data.preprocessing)
