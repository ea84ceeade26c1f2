"""One run repeated with several seeds, and the mean of the results.

    python experiments/repeat.py --seeds 5 mnist.py --net lenet5
    python experiments/repeat.py --seeds 3 --jobs 2 cifar10.py --sample     two at a time, which share the cores

Flags before the script's name are those of this tool; those after it are passed on, except for `--run_dir DIR`, which
may be anywhere. Each seed has a run directory as usual, in runs/repeat/<script>_<flags>_<code>/seed<N>/, and a log.txt
with its output. In TensorBoard:

    tensorboard --logdir runs/repeat/<script>_<flags>_<code>

The same command again continues where it was interrupted: seeds that have finished are not run again, one with a
checkpoint is resumed, and a higher --seeds adds more. It ends with the table and the figure of compare.py. If a run
fails the others continue; its last line is shown at the end, and the exit status is 1.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from filelock import FileLock, Timeout

from basics.amounts import amount
from basics.errors import InputError, writing
from harness.command_line.cli import cli
from harness.comparing.report import compare
from harness.comparing.run_files import read_runs
from harness.comparing.scripts import (
    await_claims,
    check_flags,
    find_script,
    finished,
    interruptible,
    label,
    last_line,
    split_command,
    start,
)
from harness.processes.children import stop
from harness.runs.layout import CLAIM

OWN = ("--first_seed",)  # flags of this tool that may follow the script's name too; scripts have --seeds and --jobs


def main(
    script: str,
    seeds: int = 5,
    first_seed: int = 0,
    jobs: int = 1,
    run_dir: str = "runs",
    arguments: list[str] = [],  # noqa: B006  read only; jsonargparse shows it in --help
) -> None:
    """Runs a script with several seeds, each in a process of its own, and compares the runs.

    Args:
        script: the script to run, such as mnist.py.
        seeds: how many.
        first_seed: the first seed; the others count up from it.
        jobs: runs at a time, which share cores and accelerators; before the script's name, like --seeds.
        run_dir: folder for repeat/<script>_<flags>_<code>/, which holds the runs; before or after the script's name.
        arguments: those of the script, after its name.
    """
    for name, value in {"seeds": seeds, "jobs": jobs}.items():
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    path = find_script(script)
    check_flags(path, arguments, {"--seed": first_seed})
    folder = Path(run_dir) / "repeat" / label(path, arguments)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / CLAIM, timeout=0):
            folders = {seed: folder / f"seed{seed}" for seed in range(first_seed, first_seed + seeds)}
            failed = run_seeds(path, arguments, folders, jobs)
    except Timeout as error:
        raise InputError(f"{folder}: the same command is already running there") from error
    if any(finished(its) for its in folders.values()):
        compare(read_runs([folder]), None, "table", None, folder / "compare.png")
    for seed in failed:
        print(f"seed {seed} failed: {last_line(folders[seed] / 'log.txt')}", file=sys.stderr)
    if failed:
        sys.exit(1)


def run_seeds(script: Path, arguments: Sequence[str], folders: dict[int, Path], jobs: int) -> list[int]:
    """Runs the seeds that have not finished, `jobs` at a time, and returns those that have failed."""
    for folder in folders.values():
        await_claims(folder)
    waiting = [seed for seed in folders if not finished(folders[seed])]
    if len(waiting) < len(folders):
        print(f"already finished: {len(folders) - len(waiting)} of {amount(len(folders), 'seed')}", flush=True)
    if waiting:
        print(f"{next(iter(folders.values())).parent}: {amount(len(waiting), 'run')}", flush=True)
    running: dict[int, tuple[int, BaseProcess]] = {}  # by their place among the runs that share the machine
    failed = []
    try:
        while waiting or running:
            for place in [place for place in range(jobs) if place not in running][: len(waiting)]:
                seed = waiting.pop(0)
                running[place] = seed, start(script, [*arguments, "--seed", str(seed)], folders[seed], (place, jobs))
            wait([process.sentinel for _, process in running.values()])
            for place, (seed, process) in list(running.items()):
                if not process.is_alive():
                    failed += [] if _ended(seed, process, folders[seed]) else [seed]
                    del running[place]
    finally:
        for _, process in running.values():
            stop(process)
    return failed


def _ended(seed: int, process: BaseProcess, folder: Path) -> bool:
    """Prints how the run went, and returns whether it has finished."""
    stop(process, 0)  # and any processes that it left behind
    run = finished(folder)
    print(f"seed {seed}: {run}" if run else f"seed {seed}: failed, see {folder / 'log.txt'}", flush=True)
    return run is not None


if __name__ == "__main__":
    with interruptible():
        cli(main, None, split_command(sys.argv[1:], OWN))
