"""Processes that end with the one that started them, however it ends: ranks, workers of a pool, scripts.

On Linux a process can ask to be killed when its parent ends (prctl). Elsewhere, and if the parent is a fork server
instead of the process that wanted this one, a thread waits for that end. A script may start processes of its own: it
leads a process group, which is ended as a whole.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from basics.errors import InputError

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
LOOK_SECONDS = 0.5  # between two looks at the parent
STOP_SECONDS = 15.0  # that a process gets to end by itself


def end_with_parent(parent: int) -> None:
    """Lets this process end with `parent`, which started it directly; ends it at once if the parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        _end_after(partial(_await_end_of, parent))
    if os.getppid() != parent:
        os._exit(1)


def end_with_starter() -> None:
    """The same for a process of `multiprocessing`, which a fork server may have started on behalf of another one."""
    starter = multiprocessing.parent_process()
    assert starter is not None and starter.pid is not None  # set in every such process
    if sys.platform == "linux" and os.getppid() == starter.pid:
        end_with_parent(starter.pid)
    else:
        _end_after(starter.join)


def lead_group() -> None:
    """Makes this process the leader of all that it starts: `stop`, or the end of its starter, ends them together."""
    if os.name == "posix":
        os.setpgrp()


def _end_after(wait: Callable[[], None]) -> None:
    """Ends this process, and its group if it leads one, once `wait` returns."""

    def end() -> None:
        wait()
        if os.name == "posix" and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _await_end_of(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)


def server_context(preload: Sequence[str]) -> SpawnContext | ForkServerContext:
    """Starts processes in tenths of a second, from one without threads that has imported these modules."""
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


@contextmanager
def killed_on_exit() -> Iterator[None]:
    """If a signal or bad input ends what is within, kills what it started; a pool would wait for its workers."""
    others = multiprocessing.active_children()
    try:
        yield
    except (SystemExit, InputError):
        for child in set(multiprocessing.active_children()) - set(others):
            child.kill()
        raise


def stop(process: BaseProcess, seconds: float = STOP_SECONDS) -> None:
    """Ends the process and the group that it leads: by SIGTERM, and by SIGKILL after that many seconds."""
    if seconds and process.is_alive():
        _signal(process, "SIGTERM")
        process.join(seconds)
    _signal(process, "SIGKILL")
    process.join()


def stop_all(processes: Sequence[BaseProcess]) -> None:
    """The same for several, which have that time together."""
    for process in processes:
        if process.is_alive():
            _signal(process, "SIGTERM")
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        stop(process, 0)


def _signal(process: BaseProcess, name: str) -> None:
    """Signals the process and those that it has started, which may outlive it."""
    assert process.pid is not None  # it has been started
    try:
        os.killpg(process.pid, getattr(signal, name))
    except (AttributeError, ProcessLookupError):  # the system has no groups, or the process does not lead one yet
        (process.kill if name == "SIGKILL" else process.terminate)()
