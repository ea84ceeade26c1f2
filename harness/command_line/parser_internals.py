"""All uses of the internals of argparse and jsonargparse; checked on jsonargparse 4.53 and Python 3.11.

Both keep a parser's flags in `_actions`, and neither offers a public way to look at them. No other file names these,
as `tests/test_internals.py` checks.
"""

from collections.abc import Iterable
from typing import Any

from jsonargparse import ArgumentParser


def allow_bare_flags(parser: ArgumentParser) -> None:
    """Lets `--sample` mean `--sample true`, and allows a list without a flag to be given as `script a b`.

    jsonargparse supports neither: it takes a bool's value from the next word, and reads a list as one word of YAML.
    """
    for action in parser._actions:
        if isinstance(action.default, bool) or str(action.metavar).startswith("{true"):
            action.nargs, action.const = "?", True
        elif not action.option_strings and getattr(action, "_typehint", None) == list[str]:
            action.nargs, action.metavar = "+", action.dest
            action._typehint = str  # type: ignore[attr-defined]  # an attribute of jsonargparse's own actions


def flags_of(parser: ArgumentParser) -> list[str]:
    """All flags as they are typed, for suggesting the nearest one to a mistyped flag."""
    return [flag for action in parser._actions for flag in action.option_strings]


def defaults_of(parser: ArgumentParser, names: Iterable[str]) -> dict[str, Any]:
    """The defaults of those flags that the parser has; `get_defaults` also reads the config files."""
    return {action.dest: action.default for action in parser._actions if action.dest in names}
