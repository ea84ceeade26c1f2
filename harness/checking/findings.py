"""One line of an examination: what was looked at, what was found, and what is usual."""

from typing import NamedTuple


class Finding(NamedTuple):
    """`ok` says whether `found` is as `expected`; both are phrases with numbers in them."""

    what: str
    ok: bool
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'look here':<11}{self.what:<21}{self.found}; expected {self.expected}"
