"""Checks that run one after another, are reported as they end, and are one markdown table at last."""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Check(NamedTuple):
    """Something to find out.

    Attributes:
        needs: seconds that there have to be for it.
        find: returns the result in words.
    """

    part: str
    what: str
    needs: float
    find: Callable[[], str]


class Results:
    """Of checks that have to end by some time; one that fails is told in a line, and the next one runs."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.perf_counter() + seconds
        self.rows: list[tuple[str, str, str]] = []

    def left(self) -> float:
        """Seconds."""
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
    """What it finds, or its error in a line."""
    try:
        return find()
    except Exception as error:  # whatever a card, a driver or a kernel comes up with
        return f"failed: {one_line(error)}"


def one_line(error: Exception) -> str:
    """Such as "RuntimeError: CUDA error: out of memory"."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}".replace("|", "/")
