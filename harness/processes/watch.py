"""The thread that `exits.py` runs beside the main one, to end the process when the main thread cannot.

The main thread sees no signal while it is inside a library call, and such a call may wait for ever, for a rank that is
gone or has stopped.
"""

import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from basics.lightning_internals import batch_in_epoch, progress, take_over_ranks
from harness.processes.children import STOP_SECONDS

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from callbacks import Interruption

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK_EVERY = 0.5  # seconds
LONGER = STOP_SECONDS + 5  # that a process is given which waits for others to end
PATIENCE = 10.0  # seconds without a finished batch that a training is given after a signal
LITTLE = 3.0  # the same if there is nothing to save
SAME = 1.0  # seconds within which signals count as one: a terminal and a launcher may both send it


class Training(NamedTuple):
    """What is watched."""

    trainer: "Trainer"
    interruption: "Interruption"
    stall_timeout: float


class Watch(threading.Thread):
    """Watches for signals, for the end of ranks that Lightning has started, and for the progress of a training.

    Args:
        launcher: the process that started this one, if this is a further rank; else 0.

    Attributes:
        training: what is watched, if anything is.
        inlet: the socket for `signal.set_wakeup_fd`, to which Python writes the number of each signal.
    """

    def __init__(self, launcher: int) -> None:
        super().__init__(name="watch", daemon=True)
        self.launcher = launcher
        self.training: Training | None = None
        self.inlet, self._outlet = socket.socketpair()
        self.inlet.setblocking(False)
        self._ranks: list[subprocess.Popen] = []
        self._signal, self._heard_at = 0, 0.0  # of the first signal
        self._failed_at = 0.0  # when a rank failed
        self._progress: tuple[Any, ...] = ()
        self._progressed_at = 0.0
        self._ends = False

    def run(self) -> None:
        while not self._ends:
            ready, _, _ = select.select([self._outlet], [], [], LOOK_EVERY)
            now, training = time.monotonic(), self.training
            for number in self._outlet.recv(64) if ready else b"":
                if number in SIGNALS:
                    self._hear(number, now, training)
            if training:
                self._look_at_ranks(training.trainer, now)
                self._look_at_progress(training, now)
            elif self._signal and now - self._heard_at > (LONGER if multiprocessing.active_children() else PATIENCE):
                self._leave(128 + self._signal)

    def end(self) -> None:
        self._ends = True
        self.inlet.send(b"\0")
        self.join()
        self.inlet.close()
        self._outlet.close()

    def _hear(self, number: int, now: float, training: Training | None) -> None:
        if not self._signal:
            self._signal, self._heard_at, self._progressed_at = number, now, now
            if training and training.interruption.active and training.trainer.is_global_zero:
                _say(f"\n{signal.Signals(number).name}: stopping after this step; a second one stops at once\n")
        elif now - self._heard_at > SAME:
            self._leave(128 + number)

    def _look_at_ranks(self, trainer: "Trainer", now: float) -> None:
        """Ends the run with the first rank that fails; if a signal killed that rank early, by the same signal."""
        self._ranks += take_over_ranks(trainer)
        for number, process in enumerate(self._ranks, 1):
            status = process.poll()
            if not status or self._signal:
                continue
            if ended_by := _signal_of(status):
                os.kill(os.getpid(), ended_by)
            elif not self._failed_at:
                self._failed_at = now
                _say_failed(number, status)
            elif now - self._failed_at > PATIENCE:  # the main thread is waiting for that rank
                self._leave(max(1, status))

    def _look_at_progress(self, training: Training, now: float) -> None:
        trainer, interruption, stall_timeout = training
        seen = progress(trainer), interruption.active, interruption.saving
        if seen != self._progress:
            self._progress, self._progressed_at = seen, now
        idle = now - self._progressed_at
        if self._signal and not interruption.saving and idle > (PATIENCE if interruption.active else LITTLE):
            self._leave(128 + self._signal)
        if 0 < stall_timeout < idle:
            self._end_stalled(trainer, stall_timeout)

    def _end_stalled(self, trainer: "Trainer", seconds: float) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = "".join(traceback.format_stack(frame))
        _say(f"\nerror: no batch has ended for {seconds:g} s, {_where(trainer)}; the main thread is at\n{stack}")
        if self.launcher:  # it may itself stall, or be stopped
            time.sleep(LITTLE)  # so that it can print its own message
            os.kill(self.launcher, signal.SIGKILL)
        self._leave(1)

    def _leave(self, status: int) -> None:
        self.kill_ranks()
        os._exit(status)

    def kill_ranks(self) -> None:
        """Kills the processes that Lightning has started."""
        for process in self._ranks:
            process.kill()

    def await_ranks(self) -> int:
        """Gives failed ranks time to say why; returns the number of the signal that ended one of them, or 0."""
        deadline, ended_by = time.monotonic() + LITTLE, 0
        for number, process in enumerate(self._ranks, 1):
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(max(0.0, deadline - time.monotonic()))
                ended_by = ended_by or _signal_of(status)
                if status and not _signal_of(status) and not self._failed_at:
                    self._failed_at = time.monotonic()
                    _say_failed(number, status)
        return ended_by


def _signal_of(status: int) -> int:
    """Which of the signals handled here ended a process with this status; 0 for any other end."""
    return next((int(number) for number in SIGNALS if status in (-number, 128 + number)), 0)


def _say_failed(number: int, status: int) -> None:
    _say(f"\nrank {number} " + (f"was killed by signal {-status}" if status < 0 else "failed") + "\n")


def _where(trainer: "Trainer") -> str:
    state, epoch, batch = trainer.state, trainer.current_epoch + 1, batch_in_epoch(trainer) + 1
    place = f"rank {trainer.global_rank}, {state.stage.value if state.stage else 'between stages'}"
    return f"{place}, epoch {epoch}, batch {batch}, after step {trainer.global_step}"


def _say(text: str) -> None:
    os.write(2, text.encode())  # in one piece, even if several ranks write
