"""A user's own table: any CSV file with a target."""

from collections.abc import Mapping
from pathlib import Path

from datamodules.column_kinds import infer_kinds, notes_on
from datamodules.preprocessing import Recipe
from datamodules.sample_tables import diabetes, wine
from datamodules.table_data import Fold, TableData
from datamodules.tables import Table, check_columns, read_csv

TASKS = ("regression", "classification")
SIMILAR = ("refuse", "merge", "keep")


class CsvTable(TableData):
    """The columns of `csv`, except the target, are numbers or categories, judged by their values.

    The other arguments are those of `TableData` and `Recipe`.

    Args:
        csv: the file.
        target: the column to predict.
        task: regression or classification.
        log_target: in a regression, learn the target's logarithm.
        id_column: a column that numbers the rows, and is not a feature; "" for none.
        drop: columns to leave out.
        categories: columns whose numbers are only names.
        ordinals: levels of ordered columns, the lowest first; "NA" is a missing value.
        sample: use a small table that scikit-learn ships instead of `csv`.
        similar_labels: in a classification, see `tables.class_target`.

    Raises:
        ValueError: an argument is out of range, or two of them give one column different roles.
    """

    name = "table"

    def __init__(
        self,
        csv: str,
        target: str,
        task: str = "regression",
        batch_size: int = 256,
        seed: int = 0,
        val_size: float = 0.1,
        fold: Fold | None = None,
        log_target: bool = False,
        id_column: str = "",
        drop: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        ordinals: Mapping[str, list[str]] | None = None,
        log1p: str = "none",
        clip: tuple[float, ...] = (),
        scale: str = "quantile",
        rare: int = 3,
        sample: bool = False,
        similar_labels: str = "refuse",
    ) -> None:
        super().__init__(batch_size, seed, val_size, fold)
        if task not in TASKS:
            raise ValueError(f"task {task!r}: no such task; there are {', '.join(TASKS)}")
        if task == "classification" and log_target:
            raise ValueError("log_target: a class has no logarithm")
        if similar_labels not in SIMILAR:
            raise ValueError(f"similar_labels {similar_labels!r}: must be one of {', '.join(SIMILAR)}")
        self.csv, self.sample, self.similar_labels = csv, sample, similar_labels
        self.target, self.id_column, self.drop, self.categories = target, id_column, tuple(drop), tuple(categories)
        self.ordinals = dict(ordinals or {})
        self.classification, self.log_target = task == "classification", log_target
        self.options = dict(log1p=log1p, clip=list(clip), scale=scale, rare=rare)
        if sample:
            self.target = "class" if self.classification else "progression"
        self._check_roles()

    def _check_roles(self) -> None:
        """Refuses a column with two roles, such as target and feature."""
        roles = {
            "target": (self.target,), "id_column": (self.id_column,) if self.id_column else (), "drop": self.drop,
            "categories": self.categories, "ordinals": tuple(self.ordinals),
        }  # fmt: skip
        taken: dict[str, str] = {}
        for role, names in roles.items():
            for name in names:
                if taken.setdefault(name, role) != role:
                    raise ValueError(f"{role} {name!r}: {taken[name]} names it too; a column is one thing only")
        for name, levels in self.ordinals.items():
            if len(set(levels)) < max(2, len(levels)):
                raise ValueError(f"ordinals {name!r}: {', '.join(levels)}: must be two levels at least, each once")

    @property
    def besides(self) -> tuple[str, ...]:
        return (*super().besides, *self.drop)

    def read(self) -> Table:
        sample = wine if self.classification else diabetes
        table = sample() if self.sample else read_csv(Path(self.csv))
        check_columns(table, [*self.besides, *self.categories, *self.ordinals], None)
        return table

    def recipe(self, table: Table) -> Recipe:
        features = [name for name in table.cells.columns if name not in self.besides]
        if not features:
            raise ValueError(f"{table.source}, line 1: {self.target!r} is the only column; nothing to predict it from")
        names = [name for name in features if name not in self.ordinals]
        kinds = infer_kinds(table, names, self.categories, self.options["rare"])
        self.notes = notes_on(table, kinds)
        return Recipe(kinds | self.ordinals, **self.options)
