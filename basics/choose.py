"""Looks things up by the name that a user typed."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from basics.errors import InputError

T = TypeVar("T")


def choose(kind: str, name: str, options: Mapping[str, T], flag: str = "") -> T:
    """Returns `options[name]`.

    Args:
        flag: what the name was given to, if that is called otherwise than what it names.

    Raises:
        InputError: there is no such name; the message gives the nearest one, and lists all.
    """
    if name in options:
        return options[name]
    nearest = get_close_matches(name, options, n=1, cutoff=0)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise InputError(f"{flag or kind} {name!r}: no such {kind}; {hint}There are {', '.join(sorted(options))}")
