"""Checks that run one after another; each is reported as it ends, and at the end all are one markdown table."""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Check(NamedTuple):
    """One check.

    Attributes:
        needs: seconds that must be left for it.
        find: makes the check, and returns the result in words.
    """

    part: str
    what: str
    needs: float
    find: Callable[[], str]


class Results:
    """The results of checks that must end by some time; a failure takes one line, and the next check runs."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.perf_counter() + seconds
        self.rows: list[tuple[str, str, str]] = []

    def left(self) -> float:
        """The seconds that are left."""
        return self.ends - time.perf_counter()

    def add(self, check: Check) -> None:
        enough = self.left() >= check.needs
        result = attempt(check.find) if enough else f"left out: {self.left():.0f} s left, {check.needs:.0f} s needed"
        self.rows.append((check.part, check.what, result))
        print(f"{check.part}: {check.what}: {result}", flush=True)

    def table(self) -> str:
        lines = [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join(["| part | what | result |", "| --- | --- | --- |", *lines])


def attempt(find: Callable[[], T]) -> T | str:
    """The result, or the error in one line."""
    try:
        return find()
    except Exception as error:  # a GPU, a driver or a kernel may raise anything
        return f"failed: {one_line(error)}"


def one_line(error: Exception) -> str:
    """The error in one line, such as "RuntimeError: CUDA error: out of memory"."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}".replace("|", "/")
