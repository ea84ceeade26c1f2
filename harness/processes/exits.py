"""How a process ends before its time, and with which status: by a signal, a stall, or the end of another rank.

    with listening():                                          # as `cli` does; a signal ends what it finds at once
        with watching(trainer, interruption, stall_timeout):   # a training, which ends in order
            ...

After SIGTERM the status is 143 and after Ctrl-C 130: 128 and the signal's number, as shells have it.
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

MARK = "EXPERIMENT_LAUNCHER"  # tells a further rank which process has started it
LAUNCHER = int(os.environ.get(MARK, 0)) if int(os.environ.get("LOCAL_RANK", 0)) else 0

if LAUNCHER:  # here and not later, for the imports that follow take seconds
    end_with_parent(LAUNCHER)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback

_watch: Watch | None = None
_signal = 0  # the first one that the main thread knows of


def _handle(number: int, frame: Any) -> None:
    """Python's signal handler, which the main thread calls as soon as it can."""
    global _signal
    if _signal:
        return
    _signal = number
    training = _watch.training if _watch else None
    if training and training.interruption.interrupt(number):
        return
    if LAUNCHER:
        os.kill(LAUNCHER, number)  # before it finds this rank gone
    raise SystemExit(128 + number)


@contextmanager
def listening() -> Iterator[None]:
    """Within, SIGTERM and Ctrl-C end the process in order, and a further rank ends with its launcher."""
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
        # Where another rank has ended first, that was an error here.
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
    """Within, a signal is handed to `interruption`, and where no batch ends for so many seconds, the process does."""
    if not _watch:
        yield
        return
    _watch.training = Training(trainer, interruption, stall_timeout)
    os.environ[MARK] = str(os.getpid())  # for the ranks that Lightning may start
    try:
        yield
    finally:
        _watch.training = None
        del os.environ[MARK]
