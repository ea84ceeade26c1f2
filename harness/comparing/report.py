"""What compare.py and repeat.py say: tables, a figure, and which runs could not be compared."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from basics.amounts import amount
from basics.errors import InputError, writing
from harness.comparing.comparison import Group, make_tables
from harness.comparing.comparison_figure import curve_of, draw_tables, read_curves
from harness.comparing.run_files import Run, number
from harness.comparing.tables import write_tables
from harness.drawing.figures import save_figures

SHOWN = 30  # of the runs that cannot be compared


def compare(runs: Sequence[Run], by: str | None, format: str, output: Path | None, picture: Path) -> list[Group]:
    """Prints or writes the tables, draws the figure, lists what could not be compared, and returns the groups.

    Raises:
        InputError: no run has finished, or none has the metric `by`.
    """
    tables, left_out = make_tables(runs, by)
    says = partial(print, file=sys.stdout if output or format == "table" else sys.stderr)  # the output is all table
    if not tables:
        _list(left_out, 0, says)
        names = sorted({name for run in runs for name in run.metrics if number(run.metrics[name]) is not None})
        if by and names:
            raise InputError(f"--by {by}: no finished run has it; there are {', '.join(names)}")
        folders = dict.fromkeys(str(run.path) for run in runs)
        raise InputError(f"{', '.join([*folders][:3])}{', ...' * (len(folders) > 3)}: no run has finished")
    write_out(write_tables(tables, format), output)
    drawn, unreadable = [], []
    for table in tables:
        curves, failed = read_curves(table.groups, tag) if (tag := curve_of(table)) else ([], [])
        unreadable += failed
        drawn += [(table, curves)] if any(len(curve.epochs) for curve in curves) else []
    _list([*left_out, *unreadable], sum(len(group.runs) for table in tables for group in table.groups), says)
    if drawn:
        save_figures({picture.stem: draw_tables(drawn)}, picture.parent)
    says(picture if drawn else "no figure: no run has a validation curve")
    return [group for table in tables for group in table.groups]


def write_out(text: str, output: Path | None) -> None:
    """Prints the text, or writes it to the file and prints the file's name."""
    print(output if output else text)
    if output:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(text + "\n")


def _list(left_out: Sequence[tuple[Run, str]], compared: int, says: Callable[..., None]) -> None:
    says(f"\n{amount(compared, 'run')} compared")
    for run, problem in left_out[:SHOWN]:
        says(f"{run.path}: {problem}")
    if len(left_out) > SHOWN:
        says(f"and {len(left_out) - SHOWN} more that are unfinished or broken")
