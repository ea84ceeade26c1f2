"""One line of an examination: what was looked at, what was found, and what is usual."""

import textwrap
from typing import NamedTuple

WIDTHS = 11, 21  # columns of the first two words


class Finding(NamedTuple):
    """`ok` says whether `found` is as `expected`; both are phrases with numbers in them."""

    what: str
    ok: bool
    found: str
    expected: str

    def __str__(self) -> str:
        verdict, what = WIDTHS
        return f"{'ok' if self.ok else 'look here':<{verdict}}{self.what:<{what}}{self.found}; expected {self.expected}"

    def within(self, width: int) -> str:
        """The line, in several if it is longer than `width` columns."""
        return textwrap.fill(str(self), width, subsequent_indent=" " * sum(WIDTHS), break_on_hyphens=False)
