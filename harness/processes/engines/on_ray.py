"""Calls as tasks of a Ray cluster that is running; Ray itself starts a task again whose process or node is lost."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from basics.errors import InputError
from harness.processes.engines.engine import TRIES, Job, package, result_of
from harness.processes.pools import ProcessKilledError

T = TypeVar("T")
CONNECT_SECONDS = 20  # that a cluster gets to answer
LONGEST = 300  # characters of what Ray says
OFTEN_LOST = f"a process, or its node, was lost {TRIES} times, perhaps for lack of memory; see Ray's logs"


@dataclass(frozen=True)
class Engine:
    """Tasks of a cluster, as many at a time as its cores and GPUs allow.

    Attributes:
        address: host:port of its head; auto: the cluster that this machine belongs to.
        cpus, gpus: of each call; a share of a GPU is allowed.
    """

    address: str = "auto"
    cpus: int = 1
    gpus: float = 0.0

    def check(self) -> None:
        """Connects to the cluster, and asks for its largest node."""
        ray = package("ray", "ray")
        if not ray.is_initialized():
            self._connect(ray)
        if self.gpus > 1 and self.gpus % 1:
            raise InputError(f"--engine_args.gpus {self.gpus:g}: must be a share of one, or a whole number")
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus for has in nodes):
            ray.shutdown()
            raise InputError(f"--engine ray: no node of {self.address} has cpus {self.cpus} and gpus {self.gpus:g}")

    def _connect(self, ray: Any) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do by default
        host, _, port = self.address.rpartition(":")
        try:
            if host and port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            with _keeping_handler():
                ray.init(self.address, logging_level=logging.CRITICAL, log_to_driver=False)
        except RuntimeError as error:  # such as another version of Python
            raise InputError(f"--engine ray: {self.address}: {' '.join(str(error).split())[:LONGEST]}") from error
        except (OSError, ValueError) as error:
            raise InputError(
                f"--engine ray: no cluster answers at {self.address}; ray start --head begins one"
            ) from error

    def run(self, call: Callable[..., T], tasks: Sequence[tuple], folder: Path) -> Iterator[tuple[int, T]]:
        ray = package("ray", "ray")
        folder.mkdir(parents=True, exist_ok=True)
        job = ray.remote(do_counted).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=TRIES - 1)
        how = Job(self.cpus, Path.cwd(), folder.resolve())
        starts = [folder.resolve() / f"starts{number}.txt" for number in range(len(tasks))]
        for file in starts:
            file.unlink(missing_ok=True)  # of an earlier command
        waiting = {job.remote(how, call, task, starts[number]): number for number, task in enumerate(tasks)}
        lost: Exception | None = None
        try:
            while waiting:
                ended = ray.wait(list(waiting), num_returns=1)[0][0]
                number = waiting.pop(ended)
                try:
                    result = ray.get(ended)
                except (
                    ray.exceptions.WorkerCrashedError,
                    ray.exceptions.NodeDiedError,
                    ray.exceptions.OutOfMemoryError,
                ) as error:
                    lost = error  # the others may well go on
                    continue
                yield number, result_of(result)
            if lost:
                raise ProcessKilledError(OFTEN_LOST) from lost
        finally:
            for each in waiting:
                ray.cancel(each, force=True)


def do_counted(job: Job, call: Callable[..., T], task: tuple, starts: Path) -> T | InputError:
    """The task, as a function: Ray makes no tasks of objects.

    Args:
        starts: a file that has a byte for each time that the task was started. Ray itself counts no loss that is for
            lack of memory, and would start such a task for ever.
    """
    if starts.parent.is_dir():  # else the job says that this node does not see it
        with starts.open("a") as file:
            file.write("x")
        if starts.stat().st_size > TRIES:
            return ProcessKilledError(OFTEN_LOST)
    return job(call, task)


@contextmanager
def _keeping_handler() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray replaces by one that aborts the process."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
