"""Calls as a job array of SLURM, submitted by submitit.

SLURM queues a job again when its node is lost, or when it is preempted where PreemptMode is REQUEUE; submitit does it
90 s before the time limit. A job that was killed by other means is submitted again here. The state of jobs is read from
`squeue` instead of submitit's `sacct`, which needs an accounting database that not every cluster has.
"""

import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from basics.amounts import amount
from basics.errors import InputError
from harness.processes.engines.engine import TRIES, Job, appears, package, result_of
from harness.processes.pools import ProcessKilledError

T = TypeVar("T")
LOOK_SECONDS = 2.0  # between two looks at the queue, which all users of a cluster share
COMMAND_SECONDS = 60  # that a command of SLURM may take
RESTARTS = 100  # after the time limit
LONGEST_NAME = 40  # characters of a job's name, and nine that no other has
NAMES = "jobs.txt"  # names of arrays in the queue, for the next controller if this one is killed


@dataclass(frozen=True)
class Engine:
    """A job array, one job for each call.

    Attributes:
        partition, account, qos: as `sbatch` has them; "" leaves the choice to the cluster.
        cpus, gpus, memory, hours: of each job; memory in GB.
        at_a_time: jobs that may run at the same time; 0: all.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    cpus: int = 1
    gpus: int = 0
    memory: float = 4.0
    hours: float = 24.0
    at_a_time: int = 0

    def check(self) -> None:
        """Asks `sbatch` whether it would take such a job; nothing is queued."""
        package("submitit", "slurm")
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._parameters().items()]
        try:
            said = _slurm("sbatch", "--test-only", *options, "--wrap", "true")
        except FileNotFoundError as error:
            raise InputError("--engine slurm: there is no sbatch here; start this on a cluster's login node") from error
        if said.returncode:
            raise InputError(f"--engine slurm: {_reason(said.stderr)}")

    def _parameters(self) -> dict[str, Any]:
        """By the names that `sbatch` has for them."""
        named = {"partition": self.partition, "account": self.account, "qos": self.qos, "gpus_per_node": self.gpus}
        return {
            "cpus_per_task": max(1, self.cpus),
            "mem": f"{round(self.memory * 1024)}M",
            "time": max(1, round(self.hours * 60)),
            **{name: value for name, value in named.items() if value},
        }

    def run(self, call: Callable[..., T], tasks: Sequence[tuple], folder: Path) -> Iterator[tuple[int, T]]:
        folder.mkdir(parents=True, exist_ok=True)
        _end(folder)  # what a controller that was killed has left in the queue
        waiting = dict(enumerate(tasks))
        try:
            for _ in range(TRIES):
                jobs = self._submit(call, waiting, folder) if waiting else {}
                for number, result in _as_they_end(jobs):
                    del waiting[number]
                    yield number, result
        except (SystemExit, KeyboardInterrupt):
            _cancel(_names_in(folder))  # an interrupted process has seconds; the next one waits until they have ended
            raise
        except BaseException:
            _end(folder)
            raise
        _end(folder)
        if waiting:
            raise ProcessKilledError(f"{amount(len(waiting), 'job')} left no result in {TRIES} attempts; see {folder}")

    def _submit(self, call: Callable[..., T], tasks: dict[int, tuple], folder: Path) -> dict[int, Any]:
        submitit = package("submitit", "slurm")
        name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', folder.parent.name)[:LONGEST_NAME]}-{secrets.token_hex(4)}"
        with (folder / NAMES).open("a") as file:  # before there are such jobs: a command may be killed at any moment
            file.write(f"{name}\n")
        executor = submitit.SlurmExecutor(folder, max_num_timeout=RESTARTS)
        executor.update_parameters(
            **self._parameters(),
            job_name=name,
            array_parallelism=self.at_a_time or len(tasks),
            srun_args=[f"--cpus-per-task={max(1, self.cpus)}"],  # SLURM 22.05 to 23.02 do not hand sbatch's to srun
        )
        how = Again(self.cpus, Path.cwd(), folder.resolve())
        while not (jobs := _accepted(executor, how, call, list(tasks.values()))):
            time.sleep(LOOK_SECONDS)  # SLURM's controller is away
        return dict(zip(tasks, jobs, strict=True))


class Again(Job):
    """A job that, when the time limit nears, is queued again as it was; `checkpoint` is submitit's name for that."""

    def checkpoint(self, *given: Any) -> Any:
        return package("submitit", "slurm").helpers.DelayedSubmission(self, *given)


def _accepted(executor: Any, how: Again, call: Callable[..., Any], tasks: list[tuple]) -> list[Any]:
    """The jobs of an array, one for each task; none while SLURM does not answer."""
    try:
        return list(executor.map_array(how, [call] * len(tasks), tasks))
    except package("submitit", "slurm").core.utils.FailedJobError as error:
        if _queued() is None:
            return []
        raise InputError(f"--engine slurm: {_reason(str(error))}") from error


def _as_they_end(jobs: dict[int, Any]) -> Iterator[tuple[int, Any]]:
    """Numbers and results of the jobs that end with one."""
    waiting = dict(jobs)
    while waiting:
        queued = _queued()
        for number, job in list(waiting.items()):
            if queued is not None and job.job_id not in queued:
                del waiting[number]
                if appears(job.paths.result_pickle):
                    yield number, _result(job)
                else:
                    _check_seen(job)
        if waiting:
            time.sleep(LOOK_SECONDS)


def _result(job: Any) -> Any:
    kind, value = package("submitit", "slurm").core.utils.pickle_load(job.paths.result_pickle)
    if kind == "error":
        raise RuntimeError(f"job {job.job_id} failed; its log is {job.paths.stderr}\n{value}")
    return result_of(value)


def _check_seen(job: Any) -> None:
    """Raises InputError if the job has not even left the log that SLURM begins for it."""
    if not appears(job.paths.stderr):
        raise InputError(
            f"--engine slurm: job {job.job_id} has left no log in {job.paths.folder}: its node does not see this"
            " folder, or it was cancelled before it began"
        )


def _queued(*names: str) -> set[str] | None:
    """Our jobs, or those with one of the names, that wait, run or end, as 17_2; None while SLURM does not answer."""
    of_names = [f"--name={','.join(names)}"] if names else []
    said = _slurm("squeue", "--me", "--noheader", "--array", "--format=%i", *of_names)
    return None if said.returncode else set(said.stdout.split())


def _names_in(folder: Path) -> list[str]:
    """The names of the arrays that were submitted from `folder`, and may be in the queue."""
    names = folder / NAMES
    return names.read_text().split() if names.exists() else []


def _cancel(names: Sequence[str]) -> None:
    for name in names:
        _slurm("scancel", "--me", f"--name={name}")


def _end(folder: Path) -> None:
    """Takes the jobs that were submitted from `folder` out of the queue, and waits until they have ended."""
    names = _names_in(folder)
    while names:
        _cancel(names)
        if _queued(*names) == set():
            break
        time.sleep(LOOK_SECONDS / 4)
    (folder / NAMES).unlink(missing_ok=True)


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {COMMAND_SECONDS} s")


def _reason(said: str) -> str:
    """The last thing that `sbatch` said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ").removeprefix("allocation failure: ") if lines else "refused"
