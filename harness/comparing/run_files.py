"""What runs left behind, read without torch: flags, metrics, and which of them are running, interrupted or broken."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from basics.errors import InputError, MissingFileError, reading
from basics.metric_names import mode_of as mode_of_name
from harness.comparing.scripts import EXPERIMENTS
from harness.runs.layout import CONFIG, METRICS
from harness.runs.states import describe, is_rate_test, read_config, read_metrics, state_of

DATED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")  # the beginning of a run's own name


class Run(NamedTuple):
    """A run directory."""

    path: Path
    script: str  # its name, without .py
    flags: dict[str, Any]  # by dotted names if nested, such as net_args.dropout
    metrics: dict[str, Any]
    problem: str  # why it cannot be compared; empty if it has finished

    @property
    def seed(self) -> Any:
        return self.flags.get("seed")


def begun(run: Path) -> str:
    """When a run began, as its name says or, if it was renamed, its first event file, or at last its metrics."""
    if DATED.match(run.name):
        return run.name
    times = [name.split(".")[3] for name in sorted(path.name for path in run.glob("events.out.tfevents.*"))]
    if times and times[0].isdigit():
        seconds = float(times[0])
    else:
        seconds = (run / METRICS).stat().st_mtime if (run / METRICS).exists() else 0.0
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d_%H-%M-%S}"


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """All runs in and below the folders, each once, ordered by name.

    Raises:
        MissingFileError: a folder is not there, or there is no run.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        with reading(folder):
            if not folder.is_dir():
                raise MissingFileError(f"{folder}: no such directory")
        found |= {path.resolve(): _read(path) for path in _find(folder) if not is_rate_test(path)}
    if not found:
        raise MissingFileError(f"{', '.join(map(str, folders))}: there are no runs")
    return sorted(found.values(), key=lambda run: run.path)


def _find(folder: Path) -> Iterator[Path]:
    """Directories with a run's files. Whatever is below a run, such as a fold, is part of it."""
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if {CONFIG, METRICS} & set(files) or any("tfevents" in name for name in files):
            subfolders.clear()
            yield Path(place)


def _read(path: Path) -> Run:
    flags, metrics, state = {}, {}, state_of(path)
    with suppress(InputError):  # the problem says so
        flags = flatten(read_config(path))
    with suppress(InputError):
        metrics = read_metrics(path)
    return Run(path, _script_of(path, flags), flags, metrics, describe(path, state))


def _script_of(path: Path, flags: Mapping[str, Any]) -> str:
    """The script that made a run, or, if it is none of this project, the folder's name, which is that of its data.

    The folder does not decide, because runs may have been moved to another one.
    """
    started_by = str(flags.get("started_by") or "")
    return Path(started_by).stem if (EXPERIMENTS / started_by).is_file() else path.resolve().parent.name


def flatten(flags: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"net_args": {"dropout": 0.2}} becomes {"net_args.dropout": 0.2}."""
    flat: dict[str, Any] = {}
    for name, value in flags.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def number(value: Any) -> float | None:
    """The value of a metric as a number; None if it is not a number, or not finite."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def mode_of(metric: str, flags: Mapping[str, Any]) -> str | None:
    """ "min" or "max", the better end of a metric; None if neither its name nor the run's flags tell.

    `monitor_mode` applies to the metric that the run monitors, in validation and test.
    """
    is_monitored = str(flags.get("monitor")).rpartition("/")[2] == metric.rpartition("/")[2]
    return (flags.get("monitor_mode") if is_monitored else None) or mode_of_name(metric)


def lower_is_better(metric: str, flags: Mapping[str, Any] | None = None) -> bool:
    return mode_of(metric, flags or {}) == "min"
