"""Processes that end with the one that started them, however that ends: ranks, workers of a pool, scripts.

Linux kills a process when its parent ends, if the process has asked for it (prctl). Elsewhere, and where the parent is
a fork server and not the process that wanted this one, a thread waits for that end. A script may start processes of its
own: it leads a group of them, and the group is ended as one.
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

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
LOOK_SECONDS = 0.5  # from one look at the parent to the next
STOP_SECONDS = 15.0  # that a process has to end by itself


def end_with_parent(parent: int) -> None:
    """Lets this process, which `parent` has started by itself, end with it; ends it now where the parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        _end_after(partial(_await_end_of, parent))
    if os.getppid() != parent:
        os._exit(1)


def end_with_starter() -> None:
    """The same in a process of `multiprocessing`, which a fork server may have made for whoever wanted it."""
    starter = multiprocessing.parent_process()
    assert starter is not None and starter.pid is not None  # as in such a process
    if sys.platform == "linux" and os.getppid() == starter.pid:
        end_with_parent(starter.pid)
    else:
        _end_after(starter.join)


def lead_group() -> None:
    """Makes this process one that is ended with all that it starts, by `stop` and where its starter ends."""
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
    """Starts processes in tenths of a second, from one that has imported these modules and has no threads."""
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


@contextmanager
def killed_on_exit() -> Iterator[None]:
    """Where a signal ends this process within, kills what was started within: a pool would wait for its workers."""
    others = multiprocessing.active_children()
    try:
        yield
    except SystemExit:
        for child in set(multiprocessing.active_children()) - set(others):
            child.kill()
        raise


def stop(process: BaseProcess, seconds: float = STOP_SECONDS) -> None:
    """Ends the process and the group that it leads: asks it to, and after that many seconds does not ask."""
    if seconds and process.is_alive():
        _signal(process, "SIGTERM")
        process.join(seconds)
    _signal(process, "SIGKILL")
    process.join()


def _signal(process: BaseProcess, name: str) -> None:
    """To the process and those that it has started, which may outlive it."""
    assert process.pid is not None  # it was started
    try:
        os.killpg(process.pid, getattr(signal, name))
    except (AttributeError, ProcessLookupError):  # not on this system, or not yet a group of its own
        (process.kill if name == "SIGKILL" else process.terminate)()
