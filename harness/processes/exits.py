"""How a process ends early, and with which status: by a signal, a stall, or the end of another rank.

    with listening():                                          # in `cli`: a signal ends the process at once
        with watching(trainer, interruption, stall_timeout):   # a training: it ends in order
            ...

The status is 143 after SIGTERM and 130 after Ctrl-C: 128 plus the signal's number, as in shells.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.processes.children import end_with_parent
from harness.processes.watch import SIGNALS, Training, Watch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from callbacks import Interruption

MARK = "EXPERIMENT_LAUNCHER"  # tells a further rank which process started it
LAUNCHER = int(os.environ.get(MARK, 0)) if int(os.environ.get("LOCAL_RANK") or 0) else 0

if LAUNCHER:  # not later, because the imports that follow take seconds
    end_with_parent(LAUNCHER)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback

_watch: Watch | None = None
_signal = 0  # the first signal that the main thread has seen


def _handle(number: int, frame: Any) -> None:
    """The handler that Python calls in the main thread as soon as it can."""
    global _signal
    if _signal:
        return
    _signal = number
    training = _watch.training if _watch else None
    if training and training.interruption.interrupt(number):
        return
    if LAUNCHER:
        os.kill(LAUNCHER, number)  # before it notices that this rank is gone
    raise SystemExit(128 + number)


@contextmanager
def listening() -> Iterator[None]:
    """While it lasts, SIGTERM and Ctrl-C end the process in order, and a further rank ends with its launcher."""
    global _watch, _signal
    if _watch or threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch, _signal = Watch(LAUNCHER), 0
    _watch.start()
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    descriptor = signal.set_wakeup_fd(_watch.inlet.fileno(), warn_on_full_buffer=False)
    try:
        yield
    except BaseException as error:
        # If another rank has ended first, this error is a consequence.
        if number := _signal or (0 if isinstance(error, SystemExit) else _watch.await_ranks()):
            _watch.kill_ranks()
            raise SystemExit(128 + number) from error
        raise
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        _watch.end()
        _watch = None


@contextmanager
def watching(trainer: "Trainer", interruption: "Interruption", stall_timeout: float) -> Iterator[None]:
    """While it lasts, `interruption` gets signals, and the process ends if no batch has for `stall_timeout` s."""
    if not _watch:
        yield
        return
    _watch.training = Training(trainer, interruption, stall_timeout)
    os.environ[MARK] = str(os.getpid())  # for ranks that Lightning may start
    try:
        yield
    finally:
        _watch.training = None
        del os.environ[MARK]
