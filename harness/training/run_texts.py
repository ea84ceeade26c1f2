"""Texts for TensorBoard on how a run was started: command line, config, environment and the state of the code."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import __version__ as lightning_version

from basics.versions import ROOT, git
from basics.yaml_text import as_yaml
from harness.training.run_logger import RunLogger

CHANGED = 50  # how many changed files are listed by name


def write_texts(logger: RunLogger, hardware: str, flags: Mapping[str, Any], command: Sequence[str] = ()) -> None:
    """Fills TensorBoard's text tab; a resumed run adds to it, at the point where it goes on.

    Args:
        command: the command that started the run; empty: that of this process.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    texts = {
        "command": _block(_command_line(command)),
        "config": _block(as_yaml(flags)),
        "environment": _table(_environment(hardware)),
        "code": _table(_code()) + _changes(),
    }
    for name, text in texts.items():
        logger.experiment.add_text(f"run/{name}", text, logger.first_point)


def write_results(logger: RunLogger, name: str, results: Mapping[str, Any], step: int = 0) -> None:
    """Adds the figures that a run or a study found as tables: as scalars they would be charts of one dot each.

    Args:
        results: numbers, which are one table; each mapping of mappings of numbers is a further one, with a row for each
            of them; all else is left out.
    """
    tables = [_table({key: _number(value) for key, value in results.items() if isinstance(value, int | float)})]
    tables += [_grid(key, value) for key, value in results.items() if _is_grid(value)]
    logger.experiment.add_text(f"results/{name}", "\n\n".join(tables), step)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _is_grid(value: Any) -> bool:
    rows = list(value.values()) if isinstance(value, Mapping) else []
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return False
    return all(isinstance(cell, int | float) for row in rows for cell in row.values())


def _grid(name: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with a row for each mapping, called as it is, and the columns that any of them has."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [
        [str(key), *(_number(row[column]) if column in row else "" for column in columns)] for key, row in rows.items()
    ]
    return "\n".join(
        f"| {' | '.join(row)} |" for row in ([name, *map(str, columns)], ["---"] * (len(columns) + 1), *cells)
    )


def _command_line(command: Sequence[str]) -> str:
    """The command, ready to be typed again in the project's folder; a user's own script has its full path."""
    python, script, *args = command or ["python", sys.argv[0], *sys.argv[1:]]
    path = Path(script).resolve()
    return shlex.join([python, str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else script, *args])


def _environment(hardware: str) -> dict[str, Any]:
    return {
        "hardware": hardware,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}" if torch.version.cuda else torch.__version__,
        "lightning": lightning_version,
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _code() -> dict[str, Any]:
    last = git("log", "-1", "--format=%H%n%cI%n%s%n%D")
    return dict(zip(("commit", "date", "subject", "refs"), last.splitlines(), strict=False)) if last else {}


def _changes() -> str:
    """The files that differ from the commit."""
    lines = (git("status", "--short") or "").splitlines()
    if not lines:
        return ""
    more = [f"and {len(lines) - CHANGED:,} more"] if len(lines) > CHANGED else []
    return "\n\nChanged since:\n\n" + _block("\n".join([*lines[:CHANGED], *more]))


def _block(text: str) -> str:
    """The text as a block that Markdown shows verbatim."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def _table(values: dict[str, Any]) -> str:
    cells = [(name, str(value).replace("|", "\\|")) for name, value in values.items() if value is not None]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in cells)])
