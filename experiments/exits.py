"""How a process ends before its time, and with which status: by SIGTERM, Ctrl-C, the end of its launcher, or a stall.

    with listening():                                    # as `cli` does; a signal ends what it finds at once
        with watching(interruption, stall_timeout):      # as a training does, which may end itself in order
            ...

The status is 128 and the number of the signal, as shells have it: 143 after SIGTERM, 130 after Ctrl-C. A thread
stands beside the main one, which hears of no signal while it is inside a library's call, and that may last for ever.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runs import is_rank_zero

if TYPE_CHECKING:
    from callbacks import Interruption

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0  # seconds after a signal within which a batch must end, or the process
SAME = 1.0  # seconds within which signals are one: a terminal and a launcher may both send it
LAUNCHER = "EXPERIMENT_LAUNCHER"  # of a further rank: the process that started it
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Watch(threading.Thread):
    """Ends the process where the main thread does not: see the tests in `_look`."""

    def __init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        self.signal = 0  # the first one
        self.launcher = _launcher()
        self.training: Interruption | None = None
        self.stall_timeout = 0.0
        self._heard, self._ends = 0.0, False
        self._progress, self._progressed = (), time.monotonic()
        self.inlet, self._outlet = socket.socketpair()  # a pipe would do, but not on Windows
        self.inlet.setblocking(False)

    def handle(self, number: int, frame: Any) -> None:
        """Python's signal handler, in the main thread."""
        if self.signal:
            return  # the second one is this thread's
        self.signal = number
        if self.training and self.training.interrupt(number):
            return
        if self.launcher:
            os.kill(self.launcher, number)
        raise SystemExit(128 + number)

    def run(self) -> None:
        while not self._ends:
            ready, _, _ = select.select([self._outlet], [], [], 0.5)
            for number in self._outlet.recv(64) if ready else b"":
                if number in SIGNALS:
                    self._hear(number)
            self._look(time.monotonic())

    def end(self) -> None:
        self._ends = True
        self.inlet.send(b"\0")
        self.join()
        self.inlet.close()
        self._outlet.close()

    def _hear(self, number: int) -> None:
        now = time.monotonic()
        if not self._heard:
            self._heard = self._progressed = now
            if self.training and self.training.active and is_rank_zero():
                _say(f"\n{signal.Signals(number).name}: ends after this step; a second one ends at once\n")
        elif now - self._heard > SAME and not self.launcher:  # further ranks end with their launcher
            os._exit(128 + number)

    def _look(self, now: float) -> None:
        if self.launcher and os.getppid() != self.launcher:
            os._exit(1)
        progress = self.training.progress() if self.training else ()
        if progress != self._progress:
            self._progress, self._progressed = progress, now
        idle = now - self._progressed
        saving = self.training is not None and self.training.saving
        if self._heard and not saving and idle > PATIENCE + SAME * bool(self.launcher):
            os._exit(128 + self.signal)
        if self.training and 0 < self.stall_timeout < idle:
            self._end_stalled()

    def _end_stalled(self) -> None:
        stack = traceback.format_stack(sys._current_frames()[threading.main_thread().ident])
        _say(
            f"\nerror: no batch has ended for {self.stall_timeout:g} s: {self.training.where()};"
            f" the main thread is at\n{''.join(stack)}"
        )
        if self.launcher:  # which may be the one that stalls, and be stopped
            time.sleep(2.0)  # for its own message
            os.kill(self.launcher, getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(1)


_watch: Watch | None = None


@contextmanager
def listening() -> Iterator[None]:
    """Within, SIGTERM and Ctrl-C end the process in order, a second one at once, and with its launcher it ends too."""
    global _watch
    if _watch or threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch = watch = Watch()
    watch.start()
    before = {number: signal.signal(number, watch.handle) for number in SIGNALS}
    descriptor = signal.set_wakeup_fd(watch.inlet.fileno(), warn_on_full_buffer=False)
    try:
        if watch.launcher:
            die_with_parent()
        yield
    except BaseException as error:
        if not watch.signal:
            raise
        if watch.launcher:  # Lightning kills a launcher that still runs when another rank has ended with an error
            time.sleep(PATIENCE)
        raise SystemExit(128 + watch.signal) from error
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        watch.end()
        _watch = None


@contextmanager
def watching(training: "Interruption", stall_timeout: float) -> Iterator[None]:
    """Within, a signal is handed to `training`, and a process in which no batch ends for so many seconds is ended."""
    if not _watch:
        yield
        return
    _watch.stall_timeout, _watch._progressed, _watch.training = stall_timeout, time.monotonic(), training
    os.environ[LAUNCHER] = str(os.getpid())  # for the ranks that Lightning may start
    try:
        yield
    finally:
        _watch.training = None
        del os.environ[LAUNCHER]


def die_with_parent() -> None:
    """Lets Linux kill this process when its parent ends, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _launcher() -> int:
    """The process that started this one as a further rank of its run; 0 where there is none."""
    return int(os.environ.get(LAUNCHER, 0)) if int(os.environ.get("LOCAL_RANK", 0)) else 0


def _say(text: str) -> None:
    os.write(2, text.encode())  # whole, also where several ranks speak
