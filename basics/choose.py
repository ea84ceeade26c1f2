"""Looks things up by the name that a user typed."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

from basics.errors import InputError

T = TypeVar("T")
NEAR = 0.6  # share of letters that a misspelling has in common with what was meant, by difflib's ratio


def choose(kind: str, name: str, options: Mapping[str, T], flag: str = "") -> T:
    """Returns `options[name]`.

    Args:
        flag: what the name was given to, if that is called otherwise than what it names.

    Raises:
        InputError: there is no such name; the message gives the nearest one, if one is near, and lists all.
    """
    if name in options:
        return options[name]
    near = nearest(name, options)
    hint = f"did you mean {near}? " if near else ""
    raise InputError(f"{flag or kind} {name!r}: no such {kind}; {hint}There are {', '.join(sorted(options))}")


def nearest(name: str, names: Collection[str]) -> str:
    """The name of which this one is a misspelling; "" if none is near.

    Of several that differ in a number only, as resnet18 and resnet34 do, none is a misspelling of resnet20.
    """
    family = [each for each in names if _without_digits(each) == _without_digits(name)]
    found = get_close_matches(name, names, n=1, cutoff=NEAR)
    return found[0] if found and len(family) < 2 else ""


def _without_digits(name: str) -> str:
    return re.sub(r"\d+", "0", name)
