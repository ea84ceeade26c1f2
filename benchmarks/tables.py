"""Tables: table.py's default beside boosted trees and a linear model, on the same rows, in one run.

    python benchmarks/tables.py data/tables benchmarks/tables.yaml
    python benchmarks/tables.py my_folder my_tables.yaml

The second argument has a line for each table, such as `wine: {csv: wine.csv, target: quality}`, with further flags of
table.py where the table needs them. A fifth of the rows is for testing, the same for all models. All get the columns
as table.py reads them, with the parts of dates, but without texts, which would lead them astray: trees as numbers and
numbered categories, the linear model as 0 and 1 for each category and numbers of mean 0 and variance 1. None is tuned.
Trees are scikit-learn's and, if installed, XGBoost, CatBoost and TabPFN. `ours / best` is the figure by that of the
best other model: below 1 we are better.
"""

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import auto_cli
from yaml import safe_load

from benchmarks.peers import installed, linear, numbered
from datamodules.csv_table import CsvOptions, CsvTable
from datamodules.preprocessing import columns_of, feature_names, with_dates
from experiments import table
from harness.runs.invocation import values
from harness.tasks.table_scores import score


class Figures(NamedTuple):
    """What models have on the test rows of one table, and the seconds that each took."""

    measure: str
    ours: float
    others: dict[str, float]
    seconds: list[float]

    @property
    def ratio(self) -> float:
        return self.ours / min(self.others.values())

    @property
    def rank(self) -> int:
        """1 if no other model is better."""
        return 1 + sum(other < self.ours for other in self.others.values())


def main(folder: str, tables: str, only: list[str] = [], run_dir: str = "runs", max_epochs: int = -1) -> None:  # noqa: B006
    """Prints a row for each table, and the mean rank and the geometric mean of the ratios last.

    Args:
        folder: where the CSV files are.
        tables: a YAML file with the file, target and flags of each table.
        only: names of tables; all if empty.
        run_dir: folder that holds all runs.
        max_epochs: of ours; -1: by the number of rows, as is the default.
    """
    listed = safe_load(Path(tables).read_text(encoding="utf-8"))
    others = [linear, *installed()]
    names = " | ".join(build.__name__ for build in others)
    print(f"| table | measure | ours | {names} | ours / best | seconds |")
    print(f"| --- | --- | ---: |{' ---: |' * len(others)} ---: | ---: |", flush=True)
    board = []
    for name in only or listed:
        flags = replace(table.RECIPES["tabm"], **listed[name])
        flags = replace(
            flags,
            csv=str(Path(folder) / flags.csv),
            test_size=0.2,
            run_dir=run_dir,
            pictures=False,
            max_epochs=max_epochs,
        )
        figures = measured(flags, others)
        print(_row(name, figures), flush=True)
        board.append(figures)
    geometric = np.exp(np.mean(np.log([figures.ratio for figures in board])))
    rank = np.mean([figures.rank for figures in board])
    print(f"\nmean rank {rank:.2f} of {len(others) + 1}; geometric mean of ours / best {geometric:.4f}")


def measured(flags: table.TableFlags, others: list[Callable[[bool], Any]]) -> Figures:
    """Trains all models on one table."""
    measure = "log_loss" if flags.task == "classification" else "rmse"
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        ours = table.main(flags)[f"test/{measure}"]
    seconds = [time.perf_counter() - started]
    options = {**values(flags, CsvOptions), "scale": "standard", "rare": 1}
    data = CsvTable(flags.csv, flags.target, flags.task, val_size=0, **options)
    data.setup()
    figures = {}
    for build in others:
        started = time.perf_counter()
        figures[build.__name__] = held_out(build, data)[measure]
        seconds.append(time.perf_counter() - started)
    return Figures(measure, ours, figures, seconds)


def held_out(build: Callable[[bool], Any], data: CsvTable) -> Mapping[str, float]:
    """The figures of a model on the test rows, which was fitted to all others."""
    rows = _without_texts(data) if build is linear else _plain(data)
    train, test = data.train_indices, data.test_indices
    model = build(data.classification).fit(rows[train], data.targets[train])
    said = model.predict_proba(rows[test]) if data.classification else model.predict(rows[test])
    return score(data.targets[test], said, data.preprocessing)


def _without_texts(data: CsvTable) -> np.ndarray:
    return data.rows[:, : len(feature_names({**data.preprocessing, "texts": []}))]  # texts are the last columns


def _plain(data: CsvTable) -> np.ndarray:
    fitted = data.preprocessing
    frame = with_dates(columns_of(data.read(), fitted["recipe"], data.besides), fitted["dates"])
    return numbered(frame.drop(columns=[text["name"] for text in fitted["texts"]]), data.train_indices)


def _row(name: str, figures: Figures) -> str:
    cells = [f"{value:,.0f}" if value >= 1000 else f"{value:.4g}" for value in (figures.ours, *figures.others.values())]
    times = ", ".join(f"{seconds:.1f}" for seconds in figures.seconds)
    return f"| {name} | {figures.measure} | {' | '.join(cells)} | {figures.ratio:.3f} | {times} |"


if __name__ == "__main__":
    auto_cli(main)
