"""Calls a function in several processes, each with its share of the cores and accelerators."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from basics.cores import cores
from basics.errors import InputError
from harness.processes.children import end_with_starter, killed_on_exit
from harness.processes.watch import SIGNALS

T = TypeVar("T")


class ProcessKilledError(InputError, ChildProcessError):
    """A process was killed from outside, for example for lack of memory; fewer processes at a time may help."""


def _native_threads() -> int:
    """How many threads libraries have started, for example to share the work of a tensor operation."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) - threading.active_count() if tasks.exists() else 0


NATIVE_THREADS = _native_threads()  # those that the imports started
_has_forked = False  # forking changes that number


def in_processes(call: Callable[..., T], tasks: Iterable[tuple], workers: int, accelerators: int) -> Iterator[T]:
    """Yields the result of `call(*task)` for each task, in order, from `workers` processes that end with this one.

    Raises:
        InputError: a process raised it.
        ProcessKilledError: a process was killed.
    """
    global _has_forked
    # A forked process has everything imported. But CUDA does not survive a fork, nor do the threads of an earlier
    # tensor operation: the first operation in the forked process would wait for them for ever.
    fresh = not _has_forked and _native_threads() <= NATIVE_THREADS
    forks = sys.platform == "linux" and not accelerators and (cores() // workers <= 1 or fresh)
    _has_forked = _has_forked or forks
    context = multiprocessing.get_context("fork" if forks else "spawn")
    start = workers, accelerators, context.Value("i", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, start) as pool, killed_on_exit():
        try:
            yield from pool.map(call, *zip(*tasks, strict=True))
        except BrokenProcessPool as error:
            raise ProcessKilledError("one of the processes was killed; the others were ended") from error


def _start_worker(workers: int, accelerators: int, counter: Any) -> None:
    """Gives a new process its share of the cores and accelerators."""
    end_with_starter()
    signal.set_wakeup_fd(-1)  # a forked process inherits its parent's
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)  # Ctrl-C is for the parent
    with counter.get_lock():
        number, counter.value = counter.value, counter.value + 1
    take_share(number, workers, accelerators)


def take_share(number: int, workers: int, accelerators: int) -> None:
    """Restricts this process to the cores and accelerators that are due to worker `number` of `workers`."""
    import torch  # imported here because it takes seconds, and is not needed to start processes

    torch.set_num_threads(max(1, cores() // workers))
    if accelerators:
        visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(accelerators)))).split(",")
        share = max(1, len(visible) // workers)
        first = number * share % len(visible)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible[first : first + share])  # CUDA is initialised later
