"""What the long run shows: each check is a function of how often it is tried, and raises AssertionError at a failure.

It returns what it found, for the table of docs/reliability.md.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from disk_checks import damaged_checkpoints, full_disk, kills_during_saves
from kill_checks import callbacks_after_kills, curves_after_kills, kills_at_random_steps, several_kills
from rank_checks import evaluation, failing_ranks, signals, two_ranks
from runs_to_kill import BATCHES, Lab

ROOT = Path(__file__).resolve().parents[2]


def starts_at_once(lab: Lab, count: int) -> str:
    """Runs of one name started at once."""
    runs = [lab.run(["--max_epochs", "1"]) for _ in range(count)]
    for run in runs:
        run.flags[-1] = str(runs[0].folder / "runs")
        run.start()
    for run in runs:
        run.end()
    directories = list(runs[0].folder.glob("runs/*/*"))
    assert len(directories) == count, f"{len(directories)} directories"
    return f"{count} runs, {count} directories"


def downloads_at_once(lab: Lab, count: int) -> str:
    """Four processes downloading at once, and broken downloads, see tests/test_download.py; `count` times."""
    return _tests("test_download.py", count)


def hostile_files(lab: Lab, count: int) -> str:
    """Malicious checkpoints, configs, archives, pickles, images, tables; see tests/test_hostile_files.py."""
    return "0 executions, 0 escapes; " + _tests("test_hostile_files.py", count)


def _tests(file: str, times: int) -> str:
    for _ in range(times):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{file}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        last = done.stdout.strip().splitlines()[-1]
        assert done.returncode == 0, last
    return last.strip("= ").partition(" in ")[0]


def memory(lab: Lab, count: int) -> str:
    """The shape of a long run: `count` thousand steps, with a validation and checkpoints every 21."""
    steps = 1000 * count
    run = lab.run(["--max_epochs", str(steps // BATCHES)])
    run.start()
    pid, sizes, files = run.processes[0].pid, [], []
    while run.processes[0].exitcode is None:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            sizes.append(pages * resource.getpagesize() / 2**20)
            files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        except (OSError, IndexError):  # it has just ended
            break
        time.sleep(0.05)
    run.end()
    third, tenth = len(sizes) // 3, len(sizes) // 10
    # Medians: a file is open for a moment while a checkpoint is written, and several while pictures are drawn.
    early, late = np.median(sizes[third : third + tenth]), np.median(sizes[-tenth:])
    opened = np.median(files[third : third + tenth]), np.median(files[-third:])
    found = (
        f"{steps:,} steps: {early:.1f} MiB after a third, {late:.1f} at the end; {opened[0]:g} and {opened[1]:g} files"
    )
    assert late <= 1.02 * early and opened[1] <= opened[0], found
    return found


class Check(NamedTuple):
    """A row of the table."""

    name: str
    criterion: str
    function: Callable[[Lab, int], str]
    short: int  # tries in `make test`; 0: none, since tests of their own, such as test_resume.py, are faster
    long: int  # in `make torture`


CHECKS = [
    Check("kill -9 at random steps", "weights, optimizer, loss and batch of each step identical",
          kills_at_random_steps, 1, 100),
    Check("1 to 4 kills in one run; in validation; in a save", "identical", several_kills, 0, 20),
    Check("plateau, early stopping, best epoch after 4 kills", "equal rate, wait count, files",
          callbacks_after_kills, 0, 5),
    Check("TensorBoard's curves after 2 kills", "no point missing, none twice", curves_after_kills, 0, 10),
    Check("kill in a save, TMPDIR on another file system", "0 unloadable, 0 leftovers", kills_during_saves, 1, 50),
    Check("bit flips, truncations, empty files", "all noticed, the one before used", damaged_checkpoints, 2, 300),
    Check("full disk", "old checkpoint loads, exit status not 0, one line", full_disk, 1, 4),
    Check("TERM, INT to main, group, rank 1 of 1, 2 ranks", "143 or 130, < 15 s, loadable, no survivors, exact resume",
          signals, 0, 10),
    Check("one rank raises, dies, stalls", "not 0 within 30 s, original traceback", failing_ranks, 0, 6),
    Check("2 ranks", "1 rank's weights <= 1e-6; identical after a kill", two_ranks, 0, 5),
    Check("evaluation of 1, 2, 7, 101 images on 2 ranks", "each once, exact", evaluation, 1, 4),
    Check("8 runs started at once", "8 directories", starts_at_once, 2, 8),
    Check("4 processes downloading at once", "one valid copy, downloaded once", downloads_at_once, 0, 5),
    Check("hostile files", "0 executions, 0 escapes", hostile_files, 0, 1),
    Check("20,000 steps", "memory < 2 % growth after warm-up, no more open files", memory, 0, 20),
]  # fmt: skip
