"""How long the call of a job waits for an engine, beside what its process has to import in any case.

    python benchmarks/engines.py                                                      two processes of this machine
    python benchmarks/engines.py --engine slurm --engine_args.partition short         on a login node
    python benchmarks/engines.py --engine ray --engine_args.address 10.0.0.1:6379

The aim: a job begins at most 5 s after the command has submitted it, plus the import of torch, where the cluster has
room for it. The clocks of the machines should agree.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from basics.errors import InputError
from harness.command_line.cli import cli
from harness.processes.engines.engine import Engine, Local, engine_called


def import_seconds() -> float:
    """Wall time of a Python process that imports torch."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - start


def now(job: int) -> float:
    """The time at which the job is called."""
    return time.time()


def measure(engine: Engine, jobs: int, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds until each call begins, and from there until its result is here."""
    submitted = time.time()
    waits, returns = [], []
    for _, begun in engine.run(now, [(job,) for job in range(jobs)], folder):
        waits.append(begun - submitted)
        returns.append(time.time() - begun)
    return waits, returns


def main(
    engine: str = "local", engine_args: dict[str, Any] | None = None, jobs: int = 2, rounds: int = 5, folder: str = "."
) -> None:
    """Measures and prints the medians.

    Args:
        engine: local, slurm or ray.
        engine_args: as for repeat.py; see docs/multi_machine.md.
        jobs: calls at a time.
        rounds: number of times.
        folder: for a folder of the engine's files, which is removed; all machines have to see it.

    Raises:
        InputError: there is nothing to measure, or no such engine or folder.
    """
    for name, value in {"jobs": jobs, "rounds": rounds}.items():
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    if not Path(folder).is_dir():
        raise InputError(f"folder {folder}: no such folder")
    its = engine_called(engine, engine_args or {}) or Local(jobs, 0)
    imports, waits, returns = [], [], []
    for _ in range(rounds):
        imports.append(import_seconds())
        with tempfile.TemporaryDirectory(dir=folder) as files:
            begun, ended = measure(its, jobs, Path(files) / "engine")
        waits += begun
        returns += ended
    wait, result, beside = (statistics.median(seconds) for seconds in (waits, returns, imports))
    print(f"{engine}: a call begins after {wait:.1f} s; its result is here {result:.1f} s later")
    print(f"import of torch: {beside:.1f} s")


if __name__ == "__main__":
    cli(main)
