"""Output into a pipe whose reader has ended, as in `script | head -3`."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STATUS = 128 + signal.SIGPIPE  # 141, which shells report of tools that the signal has ended


@contextmanager
def ending_with_reader() -> Iterator[None]:
    """Ends the process without a word, and with status 141, if nobody reads stdout any more; other errors pass."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # what is written at exit would end in a message of Python's own
    except BrokenPipeError as error:
        if not _has_no_reader():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for all that is still in the buffer
        raise SystemExit(STATUS) from error


def _has_no_reader() -> bool:
    """Whether it is stdout whose reader is gone, and not the other end of some process's pipe."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # asks for errors only
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
