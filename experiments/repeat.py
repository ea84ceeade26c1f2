"""One run repeated with several seeds, and the mean of the results.

    python experiments/repeat.py --seeds 5 mnist.py --net lenet5
    python experiments/repeat.py --seeds 3 --jobs 2 cifar10.py --sample     two at a time, which share the cores
    python experiments/repeat.py --seeds 9 --engine slurm cifar10.py        a job array

Flags before the script's name are those of this tool; those after it are passed on, except for `--run_dir DIR` and
`--first_seed N`, which may be anywhere. Each seed has a run directory as usual, in
runs/repeat/<script>_<flags>_<code>/seed<N>/, and a log.txt with its output. In TensorBoard:

    tensorboard --logdir runs/repeat/<script>_<flags>_<code>

The same command again continues where it was interrupted: seeds that have finished are not run again, one with a
checkpoint is resumed, and a higher --seeds adds more. It ends with the table and the figure of compare.py. If a run
fails the others continue; its last line is shown at the end, and the exit status is 1.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

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
    run_to_end,
    split_command,
    start,
)
from harness.processes.children import stop, stop_all
from harness.processes.engines.engine import Engine, awaited, engine_called
from harness.processes.locks import locked
from harness.processes.pools import ProcessKilledError
from harness.runs.layout import CLAIM

OWN = ("--first_seed",)  # flags of this tool that may follow the script's name too; scripts have --seeds and --jobs


@dataclass(frozen=True, kw_only=True)
class RepeatFlags:
    """Which seeds, and what runs them.

    Args:
        seeds: how many.
        first_seed: the first seed; the others count up from it.
        jobs: runs at a time on this machine, which share cores and accelerators; before the script's name, like
            --seeds.
        engine: what runs them: local, processes of this machine; slurm, a job array; or ray, a Ray cluster; before the
            script's name.
        engine_args: what the jobs of a cluster get, such as --engine_args.gpus 1; see docs/multi_machine.md.
        run_dir: folder for repeat/<script>_<flags>_<code>/, which holds the runs; before or after the script's name.
        arguments: those of the script, after its name.
    """

    seeds: int = 5
    first_seed: int = 0
    jobs: int = 1
    engine: str = "local"
    engine_args: dict[str, Any] | None = None
    run_dir: str = "runs"
    arguments: list[str] = field(default_factory=list)


DEFAULTS = RepeatFlags()


def main(script: str, flags: RepeatFlags = DEFAULTS) -> None:
    """Runs a script with several seeds, each in a process of its own, and compares the runs.

    Args:
        script: the script to run, such as mnist.py.
    """
    for name, value in {"seeds": flags.seeds, "jobs": flags.jobs}.items():
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    path, first, arguments = find_script(script), flags.first_seed, flags.arguments
    if flags.engine != "local" and flags.jobs != 1:
        raise InputError(f"jobs {flags.jobs}: is for this machine; {flags.engine} runs as many as it has room for")
    cluster = engine_called(flags.engine, flags.engine_args or {})
    check_flags(path, arguments, {"--seed": first})
    folder = Path(flags.run_dir) / "repeat" / label(path, arguments)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / CLAIM, f"{folder}: the same command is already running there"):
        folders = {seed: folder / f"seed{seed}" for seed in range(first, first + flags.seeds)}
        waiting = _unfinished(folders)
        if cluster:
            failed = _run_by(cluster, path, arguments, {seed: folders[seed] for seed in waiting}, folder / "engine")
        else:
            failed = run_seeds(path, arguments, {seed: folders[seed] for seed in waiting}, flags.jobs)
    if any(finished(its) for its in folders.values()):
        compare(read_runs([folder]), None, "table", None, folder / "compare.png")
    for seed in failed:
        print(f"seed {seed} failed: {last_line(folders[seed] / 'log.txt')}", file=sys.stderr)
    if failed:
        sys.exit(1)


def _unfinished(folders: dict[int, Path]) -> list[int]:
    """The seeds that have not finished; says how many."""
    for folder in folders.values():
        await_claims(folder)
    waiting = [seed for seed in folders if not finished(folders[seed])]
    if len(waiting) < len(folders):
        print(f"already finished: {len(folders) - len(waiting)} of {amount(len(folders), 'seed')}", flush=True)
    if waiting:
        print(f"{next(iter(folders.values())).parent}: {amount(len(waiting), 'run')}", flush=True)
    return waiting


def _run_by(cluster: Engine, script: Path, arguments: Sequence[str], folders: dict[int, Path], logs: Path) -> list[int]:
    """Lets a cluster run the seeds, and returns those that have failed."""
    seeds = list(folders)
    tasks = [(script, [*arguments, "--seed", str(seed)], folders[seed].resolve()) for seed in seeds]
    try:
        for number, status in cluster.run(run_to_end, tasks, logs):
            if status == 0:
                awaited(partial(_has_finished, folders[seeds[number]]))
            _say_ended(seeds[number], folders[seeds[number]])
    except ProcessKilledError as error:  # of some; the others have ended
        print(error, flush=True)
    return [seed for seed in seeds if not finished(folders[seed])]


def run_seeds(script: Path, arguments: Sequence[str], folders: dict[int, Path], jobs: int) -> list[int]:
    """Runs the seeds, `jobs` at a time, and returns those that have failed."""
    waiting = list(folders)
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
                    stop(process, 0)  # and any processes that it left behind
                    failed += [] if _say_ended(seed, folders[seed]) else [seed]
                    del running[place]
    finally:
        stop_all([process for _, process in running.values()])
    return failed


def _has_finished(folder: Path) -> bool:
    return finished(folder) is not None


def _say_ended(seed: int, folder: Path) -> bool:
    """Prints how the run went, and returns whether it has finished."""
    run = finished(folder)
    print(f"seed {seed}: {run}" if run else f"seed {seed}: failed, see {folder / 'log.txt'}", flush=True)
    return run is not None


if __name__ == "__main__":
    with interruptible():
        cli(main, None, split_command(sys.argv[1:], OWN))
