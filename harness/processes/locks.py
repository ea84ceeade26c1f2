"""Locks that one process of all machines holds at a time, as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from basics.errors import InputError, writing


@contextmanager
def locked(path: Path, busy: str, seconds: float = 0) -> Iterator[None]:
    """Holds the lock while this context lasts.

    Args:
        busy: what to say if another process holds it.
        seconds: to wait for it; below 0: without an end.

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    lock = FileLock(path)
    with writing(path):
        try:
            lock.acquire(timeout=seconds, poll_interval=0.02)
        except Timeout as error:
            raise InputError(busy) from error
    try:
        yield
    finally:
        lock.release()
