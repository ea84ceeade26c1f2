"""A user's own table: any CSV file with a target."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from basics.errors import InputError
from datamodules.column_kinds import infer_kinds, notes_on
from datamodules.preprocessing import Recipe, RecipeOptions
from datamodules.sample_tables import diabetes, wine
from datamodules.table_data import Fold, TableData
from datamodules.tables import Kind, Table, check_columns, read_csv

TASKS = ("regression", "classification")
SIMILAR = ("refuse", "merge", "keep")


class CsvTable(TableData):
    """The columns of `csv` but the target are numbers or categories, as their values say.

    The other arguments are those of `TableData` and `Recipe`.

    Args:
        csv: the file.
        target: its column with what to predict.
        task: regression or classification.
        log_target: learn the target's logarithm; of a regression.
        id_column: numbers the rows, and is no feature; "" for none.
        drop: columns to leave out.
        categories: columns whose numbers are names.
        ordinals: levels of columns that have an order, the lowest first; "NA" is a missing value.
        sample: use a small table that scikit-learn ships in place of `csv`.
        similar_labels: of a classification, see `tables.class_target`.

    Raises:
        InputError: an argument is out of range, or two of them give one column two parts to play.
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
        drop: Sequence[str] = (),
        categories: Sequence[str] = (),
        ordinals: Mapping[str, list[str]] | None = None,
        log1p: str = "none",
        clip: Sequence[float] = (),
        scale: str = "quantile",
        rare: int = 3,
        sample: bool = False,
        similar_labels: str = "refuse",
    ) -> None:
        super().__init__(batch_size, seed, val_size, fold)
        if task not in TASKS:
            raise InputError(f"task {task!r}: no such task; there are {', '.join(TASKS)}")
        if task == "classification" and log_target:
            raise InputError("log_target: a class has no logarithm")
        if similar_labels not in SIMILAR:
            raise InputError(f"similar_labels {similar_labels!r}: must be one of {', '.join(SIMILAR)}")
        self.csv, self.sample, self.similar_labels = csv, sample, similar_labels
        self.target, self.id_column, self.drop, self.categories = target, id_column, tuple(drop), tuple(categories)
        self.ordinals: dict[str, Kind] = dict(ordinals or {})
        self.classification, self.log_target = task == "classification", log_target
        self.options = RecipeOptions(log1p=log1p, clip=list(clip), scale=scale, rare=rare)
        if sample:
            self.target = "class" if self.classification else "progression"
        self._check_roles()

    def _check_roles(self) -> None:
        """Refuses a column that is to be two things at once, such as target and feature."""
        roles = {
            "target": (self.target,), "id_column": (self.id_column,) if self.id_column else (), "drop": self.drop,
            "categories": self.categories, "ordinals": tuple(self.ordinals),
        }  # fmt: skip
        taken: dict[str, str] = {}
        for role, names in roles.items():
            for name in names:
                if taken.setdefault(name, role) != role:
                    raise InputError(f"{role} {name!r}: {taken[name]} names it too; a column is one thing only")
        for name, levels in self.ordinals.items():
            if len(set(levels)) < max(2, len(levels)):
                raise InputError(f"ordinals {name!r}: {', '.join(levels)}: must be two levels at least, each once")

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
            raise InputError(f"{table.source}, line 1: {self.target!r} is the only column; nothing to predict it from")
        names = [name for name in features if name not in self.ordinals]
        kinds = infer_kinds(table, names, self.categories, self.options["rare"])
        self.notes = notes_on(table, kinds)
        return Recipe(kinds | self.ordinals, **self.options)
