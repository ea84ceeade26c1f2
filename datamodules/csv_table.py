"""A user's own table: any CSV file with a target."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from basics.errors import InputError
from datamodules.column_kinds import infer_kinds, notes_on
from datamodules.preprocessing import Recipe, RecipeOptions
from datamodules.sample_tables import diabetes, wine
from datamodules.table_data import OtherRows, TableData
from datamodules.table_splits import Fold, SplitOptions
from datamodules.tables import Kind, Table, check_columns, fault, read_csv

TASKS = ("regression", "classification")
SIMILAR = ("refuse", "merge", "keep")


@dataclass(frozen=True, kw_only=True)
class CsvOptions(SplitOptions):
    """What becomes of the columns of a table.

    Args:
        log_target: in a regression, learn the target's logarithm.
        id_column: a column that numbers the rows, and says nothing.
        drop: columns to leave out.
        categories: columns whose numbers are only names.
        ordinals: levels of columns that have an order, the lowest first, such as '{size: [S, M, L]}'; "NA" is a missing
            value.
        log1p: skewed: logarithms of skewed numbers; none.
        clip: quantiles of the training rows that numbers are clipped to, such as [0.005,0.995]; [] for none.
        scale: standard, robust (with a smooth end) or quantile.
        rare: categories with fewer training rows share one column, with those never seen.
        sample: use a small table that scikit-learn ships, which needs no files.
        similar_labels: of a classification, what becomes of labels that differ in case, outer dots or blanks only:
            refuse; merge, into the most frequent spelling; or keep, as classes of their own.

    Raises:
        InputError: `similar_labels` is none of these.
    """

    log_target: bool = False
    id_column: str = ""
    drop: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    ordinals: dict[str, list[str]] = field(default_factory=dict)
    log1p: str = "none"
    clip: list[float] = field(default_factory=list)
    scale: str = "quantile"
    rare: int = 3
    sample: bool = False
    similar_labels: str = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similar_labels not in SIMILAR:
            raise InputError(f"similar_labels {self.similar_labels!r}: must be one of {', '.join(SIMILAR)}")


class CsvTable(TableData):
    """The columns of `csv`, except the target, are numbers or categories, judged by their values.

    Args:
        csv: the file.
        target: the column to predict.
        task: regression or classification.
        batch_size, seed, val_size, fold: those of `TableData`.
        options: those of `CsvOptions`.

    Raises:
        InputError: an argument is out of range, or two of them give one column different roles.
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
        **options: Any,
    ) -> None:
        super().__init__(batch_size, seed, val_size, fold)
        chosen = CsvOptions(**options)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        if task not in TASKS:
            raise InputError(f"task {task!r}: no such task; there are {', '.join(TASKS)}")
        if task == "classification" and chosen.log_target:
            raise InputError("log_target: a class has no logarithm")
        self.csv, self.sample, self.similar_labels = csv, chosen.sample, chosen.similar_labels
        self.splitting = chosen
        self.target, self.id_column = target, chosen.id_column
        self.ordinals: dict[str, Kind] = dict(chosen.ordinals)
        self.drop, self.categories = tuple(chosen.drop), tuple(chosen.categories)
        self.classification, self.log_target = task == "classification", chosen.log_target
        self.options = RecipeOptions(log1p=chosen.log1p, clip=list(chosen.clip), scale=chosen.scale, rare=chosen.rare)
        if self.sample:
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
                    raise InputError(f"{role} {name!r}: {taken[name]} names it too; a column can have one role only")
        for role, name in {"group": self.splitting.group, "time": self.splitting.time}.items():
            if name == self.target:
                raise InputError(f"{role} {name!r}: is the target, which is not known of new rows")
        for name, levels in self.ordinals.items():
            if len(set(levels)) < max(2, len(levels)):
                raise InputError(f"ordinals {name!r}: {', '.join(levels)}: must be at least two levels, each once")

    @property
    def besides(self) -> tuple[str, ...]:
        group = self.splitting.group
        kept = not group or group in (*self.drop, *self.categories, *self.ordinals)
        return (*super().besides, *self.drop, *([] if kept else [group]))

    def other_rows(self) -> OtherRows | None:
        """The rows of `test_csv`, with their targets.

        Raises:
            InputError: a row is of a group that the table has too.
        """
        if not self.splitting.test_csv:
            return None
        table, group = read_csv(Path(self.splitting.test_csv)), self.splitting.group
        others = self._understood(table)
        for line in table.cells.index[table.cells[group].isin(self._groups)][:1] if group in table.cells else []:
            raise fault(table.source, f"is a group of {self.csv} too", line, group, table.cells[group][line])
        return others

    def read(self) -> Table:
        sample = wine if self.classification else diabetes
        table = sample() if self.sample else read_csv(Path(self.csv))
        self._groups = set(table.cells.get(self.splitting.group, ()))
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
