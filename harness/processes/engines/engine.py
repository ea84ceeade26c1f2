"""What every engine does, and which there are.

    engine = engine_called("slurm", {"partition": "gpu", "gpus": 1}) or Local(workers=4, accelerators=0)
    for number, result in engine.run(train_fold, tasks, folder):
        ...

A call may be started again after its process was killed, so it has to find out by itself what it has done already: a
fold that has ended is read, a script goes on from its checkpoint.
"""

import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

from basics.choose import choose
from basics.errors import InputError
from harness.processes.pools import in_processes

T = TypeVar("T")
TRIES = 3  # a call whose process was killed so often is likely to be the reason, for example by its memory
VISIBLE_SECONDS = 10.0  # until a file that another machine has written is seen here, at the latest
# Modules with an `Engine` that takes the options; imported when asked for, for they need packages of their own.
CLUSTERS = {"slurm": "harness.processes.engines.slurm", "ray": "harness.processes.engines.on_ray"}


class Engine(Protocol):
    """Something that runs calls."""

    def check(self) -> None:
        """Raises InputError if it cannot be reached, or can never give a call what it needs."""

    def run(self, call: Callable[..., T], tasks: Sequence[tuple], folder: Path) -> Iterator[tuple[int, T]]:
        """Yields a task's number and the result of `call(*task)`, as they end. What goes on ends with the iterator.

        Args:
            call: a function that other processes can import, or a `partial` of one.
            folder: for the engine's own files; every machine has to see it.

        Raises:
            InputError: a call raised it.
            ProcessKilledError: the process of a call was killed, also when it was tried again.
        """


@dataclass(frozen=True)
class Local:
    """Processes of this machine; with one worker, this process."""

    workers: int
    accelerators: int

    def check(self) -> None:
        """Does nothing: this machine is there."""

    def run(self, call: Callable[..., T], tasks: Sequence[tuple], folder: Path) -> Iterator[tuple[int, T]]:
        if self.workers == 1:
            yield from ((number, call(*task)) for number, task in enumerate(tasks))
        else:
            yield from enumerate(in_processes(call, tasks, self.workers, self.accelerators))


def engine_called(name: str, options: Mapping[str, Any]) -> Engine | None:
    """The engine of a cluster, which has been found to answer; None for local processes.

    Raises:
        InputError: there is no such engine or option, its package is missing, or the cluster refuses.
    """
    module = choose("engine", name, {"local": None, **CLUSTERS}, "--engine")
    if module is None:
        if options:
            raise InputError(f"--engine_args.{next(iter(options))}: is for --engine {' and '.join(CLUSTERS)}")
        return None
    made = import_module(module).Engine
    kinds = {field.name: type(field.default) for field in fields(made)}
    # An account may be a number.
    named = {option: str(value) for option, value in options.items() if kinds.get(option) is str and type(value) is int}
    options = {**options, **named}
    _check_options(name, options, kinds)
    engine: Engine = made(**options)
    engine.check()
    return engine


def _check_options(engine: str, options: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for option, value in options.items():
        kind = choose("option", option, kinds, f"--engine {engine}")
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not fits:
            raise InputError(f"--engine_args.{option} {value}: must be {kind.__name__}")
        if kind is not str and not 0 <= value < math.inf:
            raise InputError(f"--engine_args.{option} {value}: must be a finite number, at least 0")


def package(name: str, engine: str) -> Any:
    """The package that an engine needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"--engine {engine}: needs the package {name}; pip install {name}") from error


def appears(path: Path) -> bool:
    """Whether the path exists; on storage that machines share, what another has just written is seen late."""
    return awaited(path.exists)


def awaited(is_there: Callable[[], bool]) -> bool:
    """Whether something is there that another machine has just written, or comes to be seen in a while."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not (there := is_there()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return there


@dataclass(frozen=True)
class Job:
    """How a job of a cluster does a call.

    Attributes:
        cpus: cores that it has.
        folder: in which the command was given, for paths that begin there.
        shared: the engine's own folder, beside that of the runs.
    """

    cpus: int
    folder: Path
    shared: Path

    def __call__(self, call: Callable[..., T], task: tuple) -> T | InputError:
        """The result of the call. Bad input is a result too, which can be sent."""
        os.environ.pop("SLURM_NTASKS", None)  # else Lightning takes the job for one rank of a larger training
        for path in (self.folder, self.shared):
            if not appears(path):
                return InputError(
                    f"{path}: {socket.gethostname()} does not see it; runs and data must be on shared storage"
                )
        os.chdir(self.folder)
        import torch  # imported here because it takes seconds, and is not needed to submit jobs

        torch.set_num_threads(max(1, self.cpus))
        try:
            return call(*task)
        except InputError as error:
            return InputError(str(error))  # a plain one: others may not survive being pickled


def result_of(said: T | InputError) -> T:
    """The result in what a job has answered.

    Raises:
        InputError: the answer is one.
    """
    if isinstance(said, InputError):
        raise said
    return said
