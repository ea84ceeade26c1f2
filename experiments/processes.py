"""Calls of one function at a time or several, each in a process with its share of the cores and an accelerator."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

from command_line import config, is_ours

T = TypeVar("T")


def cores() -> int:
    """How many of the machine's this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(call: Callable[..., T], tasks: Iterable[tuple], workers: int, accelerators: int) -> Iterator[T]:
    """The results of `call(*task)` for each task, in their order, from `workers` processes.

    Raises:
        ValueError: what a process refused.
    """
    # A forked process has everything imported; but CUDA does not survive it.
    context = multiprocessing.get_context("spawn" if accelerators or os.name != "posix" else "fork")
    start = workers, accelerators, dict(config), context.Value("i", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, start) as pool:
        for refusal, result in pool.map(partial(_guarded, call), tasks):
            if refusal:
                raise ValueError(refusal)
            yield result


def _start_worker(workers: int, accelerators: int, flags: dict[str, Any], counter: Any) -> None:
    config.update(flags)
    with counter.get_lock():
        number, counter.value = counter.value, counter.value + 1
    take_share(number, workers, accelerators)


def take_share(number: int, workers: int, accelerators: int) -> None:
    """Leaves this process the part of cores and accelerators that is due to number `number` of so many workers."""
    import torch  # here, for its import takes seconds, and who only starts processes needs none

    torch.set_num_threads(max(1, cores() // workers))
    if accelerators:
        visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(accelerators)))).split(",")
        share = max(1, len(visible) // workers)
        first = number * share % len(visible)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible[first : first + share])  # CUDA starts after this


def _guarded(call: Callable[..., T], task: tuple) -> tuple[str, T | None]:
    """The result, or the line that bad input is to end with: a traceback would not come through as it was."""
    try:
        return "", call(*task)
    except (ValueError, OSError) as error:
        if is_ours(error):
            return str(error), None
        raise
