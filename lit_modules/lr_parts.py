"""Learning rates by parts of a network: `--lr_parts 'features=0.01,classifier=0.1'`."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from basics.errors import InputError


def groups_of(net: nn.Module, text: str) -> list[dict[str, Any]]:
    """The parameters in groups with a learning rate each; the last group has none of its own.

    Args:
        text: `name=rate` pairs, separated by commas. A name is that of a layer or parameter, as in `named_parameters`,
            or a pattern for it with `*`; it stands for all below it. A parameter belongs to the first that fits.

    Raises:
        InputError: it is not written like that, a rate is negative, or a name fits no parameter that is left.
    """
    left = dict(net.named_parameters())
    groups: list[dict[str, Any]] = []
    for pattern, rate in _pairs(text):
        names = [name for name in left if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not names:
            parts = ", ".join(name for name, part in net.named_children() if any(True for _ in part.parameters()))
            raise InputError(
                f"lr_parts {pattern}: no part of {type(net).__name__} is left for it; its parts are {parts}"
            )
        groups.append({"params": [left.pop(name) for name in names], "lr": rate})
    return [*groups, {"params": [*left.values()]}] if left else groups


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for part in text.split(","):
        pattern, mark, number = (word.strip() for word in part.partition("="))
        try:
            rate = float(number)
        except ValueError:
            rate = -1.0
        if not (pattern and mark and 0 <= rate < float("inf")):
            raise InputError(f"lr_parts {part!r}: must be a name and a learning rate, such as features=0.01")
        yield pattern, rate
