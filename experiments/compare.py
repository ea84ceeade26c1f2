"""Runs beside each other: a table, best configuration first, and their validation curves.

    python experiments/compare.py runs/mnist                             all runs of a script
    python experiments/compare.py runs/mnist --by val/loss               by another metric
    python experiments/compare.py runs/mnist runs/cifar10 --format csv --output runs.csv

Runs that differ in nothing but the seed are one line: n, mean and standard deviation. What differs are the columns.
Runs that are unfinished or broken are listed below the table. The figure, compare.png in the first directory, has the
mean curves of the best configurations, with a band of one standard deviation over the seeds.

Reads only metrics.json, config.yaml and event files: 200 runs with their curves in 2 s and 91 MB, on two cores of an
AMD EPYC that have other work too.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from command_line import cli
from comparing.comparison import Group, choose_metric, group_runs, write_table
from comparing.comparison_figure import draw_curves, read_curves
from comparing.run_files import Run, number, read_runs
from drawing.figures import save_figures

SHOWN = 30  # of the runs that cannot be compared


def main(
    folders: list[str],
    by: str | None = None,
    format: Literal["table", "csv", "markdown", "json"] = "table",
    output: str | None = None,
    figure: str | None = None,
    force: bool = False,
) -> list[Group]:
    """Compares runs by a metric, in a table and a figure.

    Args:
        folders: run directories, or directories with runs somewhere below them.
        by: name in metrics.json that the table is ordered by; null: the test metric that goes with what is monitored.
        format: of the table: table, csv, markdown or json.
        output: file for the table; null prints it.
        figure: PNG file for the curves; null: compare.png in the first of the folders, over that of an earlier call.
        force: overwrite what `output` and `figure` name.
    """
    for path in (output, figure):
        if path and not force and Path(path).exists():
            raise FileExistsError(f"{path}: is there already; --force overwrites it")
    if figure and not figure.endswith(".png"):
        raise ValueError(f"--figure {figure}: the name must end in .png")
    runs = read_runs([Path(folder) for folder in folders])
    picture = Path(figure) if figure else Path(folders[0]) / "compare.png"
    return compare(runs, by, format, Path(output) if output else None, picture)


def compare(runs: Sequence[Run], by: str | None, format: str, output: Path | None, picture: Path) -> list[Group]:
    """Prints or writes the table, draws the figure, lists what could not be compared, and returns the groups.

    Raises:
        ValueError: no run has the metric `by`.
    """
    by = by or choose_metric(runs)
    left_out = [(run, run.problem or f"no {by}") for run in runs if number(run.metrics.get(by)) is None]
    compared = [run for run in runs if number(run.metrics.get(by)) is not None]
    if not compared:
        names = sorted({name for run in runs for name in run.metrics if number(run.metrics[name]) is not None})
        raise ValueError(f"--by {by}: no finished run has it; there are {', '.join(names) or 'none'}")
    groups = group_runs(compared, by)
    monitored = f"val/{by.partition('/')[2]}"
    metrics = [
        name for name in dict.fromkeys((by, monitored, "seconds")) if any(group.values(name) for group in groups)
    ]
    text = write_table(groups, metrics, format)
    print(output if output else text)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n")
    curves, unreadable = read_curves(groups, monitored)
    says = partial(print, file=sys.stdout if output or format == "table" else sys.stderr)  # the output is all table
    _list([*left_out, *unreadable], len(compared), says)
    if any(len(curve.epochs) for curve in curves):
        save_figures({picture.stem: draw_curves(groups, curves, monitored, by)}, picture.parent)
        says(picture)
    else:
        says(f"no figure: no run has a curve of {monitored}")
    return groups


def _list(left_out: Sequence[tuple[Run, str]], compared: int, says: Callable[..., None]) -> None:
    says(f"\n{compared} runs compared")
    for run, problem in left_out[:SHOWN]:
        says(f"{run.path}: {problem}")
    if len(left_out) > SHOWN:
        says(f"and {len(left_out) - SHOWN} more that are unfinished or broken")


if __name__ == "__main__":
    cli(main)
