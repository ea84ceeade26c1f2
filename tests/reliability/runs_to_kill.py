"""Real processes that train, to be killed: forked from one that has everything imported, in 0.1 s and not in 6.

The fork server is Python's own (`multiprocessing`). It has imported torch, Lightning and the project and trained
nothing, so a child is as a new process is; it has a process group of its own.
"""

import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = Path(__file__).with_name("traced_mnist.py")
LIMIT = 120  # seconds of any wait
# 1,292 digits in 21 batches of 64; dropout and augmentation draw random numbers.
FLAGS = "--sample --net mlp --net_args.widths [32] --net_args.dropout 0.2 --val_size 145 --accelerator cpu".split()
FLAGS += ["--enable_progress_bar", "false", "--log_every_n_steps", "7"]
BATCHES = 21


def _child(flags: list[str], env: dict[str, str], log: Path) -> None:
    os.setsid()
    os.environ.update(env)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(1)
    tempfile.tempdir = None  # TMPDIR is another one now
    sys.argv = [str(SCRIPT), *flags]
    from traced_mnist import main

    from harness.command_line.cli import cli

    cli(main, None, flags)


def fork_server() -> Any:
    """The context whose processes are forked from one with everything imported."""
    paths = [SCRIPT.parent, SCRIPT.parents[2] / "experiments", SCRIPT.parents[2]]
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(map(str, paths)))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["traced_mnist", "runs_to_kill"])
    return context


class Run:
    """A training in a folder of its own, as its user has it: a command, and `--resume` after a kill.

    Args:
        ranks: processes, each a fork, that find one another as those of torchrun do.
        env: variables of all processes.
    """

    def __init__(self, context: Any, folder: Path, flags: list[str], ranks: int = 1, **env: str) -> None:
        folder.mkdir(parents=True)
        self.context, self.folder, self.ranks = context, folder, ranks
        self.flags = [*FLAGS, *flags, "--run_dir", str(folder / "runs")]
        self.env = {"TRACE": str(folder / "trace"), "TMPDIR": str(folder), **env}
        self.processes: list[Any] = []

    @property
    def directory(self) -> Path | None:
        """The run's directory; the newest, where a start before any checkpoint was killed and repeated."""
        found = sorted(self.folder.glob("runs/[!.]*/*"), key=lambda path: path.stat().st_mtime_ns)
        return found[-1] if found else None

    @property
    def last(self) -> Path:
        return (self.directory or self.folder) / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("log.*")))

    def start(self, *more: str) -> "Run":
        """Starts it, or goes on where there is a checkpoint."""
        flags = ["--resume", str(self.directory)] if any(self.last.parent.glob("*.ckpt")) else self.flags
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.processes = []
        for rank in range(self.ranks):
            env = dict(self.env)
            if self.ranks > 1:
                env |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(self.ranks), GROUP_RANK="0")
                env |= dict(LOCAL_WORLD_SIZE=str(self.ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
                env |= dict(TORCHELASTIC_RUN_ID="torture")
            process = self.context.Process(target=_child, args=([*flags, *more], env, self.folder / f"log.{rank}"))
            process.start()
            self.processes.append(process)
        return self

    def end(self) -> "Run":
        """Waits until it has ended as it should."""
        codes = self.wait()
        assert codes == [0] * self.ranks, f"exit status {codes}: {self.log[-2000:]}"
        return self

    def wait(self, seconds: float = LIMIT) -> list[int]:
        """The exit status of each process; those that go on after `seconds` are killed."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                self.kill()
                raise AssertionError(f"goes on after {seconds} s: {self.log[-2000:]}")
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        """kill -9 of all processes."""
        for process in self.processes:
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.join()

    def kill_when(self, moment: Callable[[], bool]) -> bool:
        """Kills at that moment; False where it ended before."""
        while not moment():
            if all(process.exitcode is not None for process in self.processes):
                return False
            time.sleep(0.0005)
        self.kill()
        return True

    def lines(self, stage: str) -> int:
        """How many batches of a stage the trace has; one that is killed leaves whole lines."""
        try:
            return Path(self.env["TRACE"] + ".0").read_text().count(f"{stage} ")
        except FileNotFoundError:
            return 0

    def saving(self) -> bool:
        """Whether a checkpoint is being written now: a temporary file is there."""
        return bool(self.leftovers())

    def leftovers(self) -> list[Path]:
        """Files that are no checkpoints, beside those that the run went on from, and in TMPDIR.

        A run that is killed in its first save has none; what it leaves is in a directory that nothing goes on in.
        """
        tmpdir, kept = Path(self.env["TMPDIR"]), re.compile(r".*\.ckpt|log\..*|trace\..*|runs|torch.*")
        beside = [path for path in self.last.parent.glob("*") if path.exists()]
        return [path for path in [*beside, *tmpdir.iterdir()] if not kept.fullmatch(path.name)]

    def trace(self) -> dict[str, str]:
        """What each training batch held and lost, by rank, epoch and batch.

        Raises:
            AssertionError: one that was done twice, before a kill and after it, was not the same both times.
        """
        values: dict[str, str] = {}
        for path in sorted(self.folder.glob("trace.*")):
            for line in path.read_text().splitlines():
                stage, epoch, batch, value = line.split(" ", 3)
                key = f"{path.suffix} {stage} {epoch} {batch}"
                assert stage != "train" or values.get(key, value) == value, f"{key} was {values[key]} and is {value}"
                values[key] = value
        return {key: value for key, value in values.items() if " train " in key}

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """TensorBoard's points, those of losses and accuracies."""
        events = EventAccumulator(str(self.directory)).Reload()
        names = [name for name in events.Tags()["scalars"] if "second" not in name]
        return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


@contextmanager
def started(run: Run, *more: str) -> Iterator[Any]:
    """The main process of a run, one that launches the other ranks itself; whatever is left at the end is killed."""
    if "--devices" in run.flags and run.flags[run.flags.index("--devices") + 1] != "1":
        process = _launch(run, *more)  # Lightning launches by the command line
    else:
        process = _Forked(run.start(*more).processes[0])
    try:
        yield process
    finally:
        for survivor in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(survivor, signal.SIGKILL)
        process.wait()


def _launch(run: Run, *more: str) -> subprocess.Popen:
    flags = ["--resume", str(run.directory)] if any(run.last.parent.glob("*.ckpt")) else run.flags
    command = [sys.executable, str(SCRIPT), *flags, *more]
    with (run.folder / "log.0").open("a") as log:
        return subprocess.Popen(command, env=os.environ | run.env, stdout=log, stderr=log, start_new_session=True)


class _Forked:
    """A forked process as subprocess.Popen has one."""

    def __init__(self, process: Any) -> None:
        self.process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int:
        self.process.join(LIMIT)
        return self.process.exitcode


def members(session: int) -> list[int]:
    """The processes that a command has started and that go on, by their session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, _parent, _group, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def wait_for(moment: Callable[[], bool], seconds: float = LIMIT) -> None:
    deadline = time.monotonic() + seconds
    while not moment() and time.monotonic() < deadline:
        time.sleep(0.02)


class Lab:
    """Makes runs in one folder, with random numbers that follow from a seed, and keeps the uninterrupted ones."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random, self.context = folder, random.Random(seed), fork_server()
        self._count, self._whole = 0, {}

    def run(self, flags: list[str], ranks: int = 1, **env: str) -> Run:
        self._count += 1
        return Run(self.context, self.folder / str(self._count), flags, ranks, **env)

    def whole(self, flags: list[str], ranks: int = 1) -> Run:
        """A run of these flags that nothing interrupts."""
        key = (*flags, ranks)
        if key not in self._whole:
            self._whole[key] = self.run(flags, ranks).start().end()
        return self._whole[key]

    def copy(self, run: Run) -> Run:
        """A copy of an interrupted run in another folder."""
        copy = self.run([])
        copy.flags = run.flags
        shutil.copytree(run.folder, copy.folder, dirs_exist_ok=True)
        return copy
