"""Calls as tasks of a Ray cluster that is running; Ray itself starts a task again whose process or node is lost."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from basics.errors import InputError
from harness.processes.engines.engine import TRIES, Job, package, result_of
from harness.processes.pools import ProcessKilledError

T = TypeVar("T")
CONNECT_SECONDS = 20  # that a cluster gets to answer
LONGEST = 300  # characters of what Ray says


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
        job = ray.remote(_do).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=TRIES - 1)
        how = Job(self.cpus, Path.cwd(), folder.resolve())
        waiting = {job.remote(how, call, task): number for number, task in enumerate(tasks)}
        lost: Exception | None = None
        try:
            while waiting:
                ended = ray.wait(list(waiting), num_returns=1)[0][0]
                number = waiting.pop(ended)
                try:
                    result = ray.get(ended)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                    lost = error  # the others may well go on
                    continue
                yield number, result_of(result)
            if lost:
                raise ProcessKilledError(f"a process, or its node, was lost {TRIES} times; see Ray's logs") from lost
        finally:
            for each in waiting:
                ray.cancel(each, force=True)


def _do(job: Job, call: Callable[..., T], task: tuple) -> T | InputError:
    """The task, as a function: Ray makes no tasks of objects."""
    return job(call, task)
