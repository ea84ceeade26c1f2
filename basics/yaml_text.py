"""Flags as YAML, and untrusted YAML: refused before it is loaded if it is too deep, contains itself, or would expand
without limit.

Recursion over such a text ends in some error or in a crash, depending on the versions of Python and libyaml.
"""

from collections.abc import Mapping
from typing import Any

import yaml

ALIASES = 20  # at most; ten lines that each name the one before nine times make a billion values
DEEPEST = 50  # levels of nested lists and dicts; flags need four
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # five times as fast, if libyaml is installed
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times


def as_yaml(values: Mapping[str, Any]) -> str:
    """Plain values, such as flags, in their order."""
    return yaml.dump(dict(values), Dumper=Dumper, sort_keys=False)


class HostileYAMLError(yaml.YAMLError):
    """The text is YAML, but too deep or too large."""


def load_yaml(text: str | bytes) -> Any:
    """The single document in `text`, as plain values.

    Raises:
        yaml.YAMLError: it is not YAML, or `check_yaml` refuses it.
    """
    check_yaml(text)
    return yaml.load(text, Loader)


def check_yaml(text: str | bytes) -> None:
    """Goes through the parser's events, which come one after another at any depth, so that nothing recurses.

    Raises:
        HostileYAMLError: `text` has more than `ALIASES` aliases, more than `DEEPEST` levels, or contains itself.
        yaml.YAMLError: it is not YAML.
    """
    open_: list[str | None] = []  # anchors of the lists and dicts that are still open
    deepest = [0]  # levels within each of them, and within the document
    levels: dict[str | None, int] = {}  # levels within what an alias may name
    aliases = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(event.anchor)
            deepest.append(0)
        elif isinstance(event, yaml.CollectionEndEvent):
            within = deepest.pop() + 1
            levels[open_.pop()] = within
            deepest[-1] = max(deepest[-1], within)
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if event.anchor in open_:
                raise HostileYAMLError(f"{event.anchor} is a list or dict that is within itself")
            deepest[-1] = max(deepest[-1], levels.get(event.anchor, 0))
        if aliases > ALIASES:
            raise HostileYAMLError(f"more than {ALIASES} aliases")
        if len(open_) + deepest[-1] > DEEPEST:
            raise HostileYAMLError(f"lists or dicts more than {DEEPEST} deep in one another")
