"""All that is touched here of the internals of argparse and jsonargparse; checked on jsonargparse 4.53 and Python 3.11.

Both keep a parser's flags in `_actions`, and neither has a public way to look at them. No other file names them, which
`tests/test_internals.py` holds.
"""

from collections.abc import Iterable
from typing import Any

from jsonargparse import ArgumentParser


def allow_bare_flags(parser: ArgumentParser) -> None:
    """Lets `--sample` mean `--sample true`, and a list without a flag be given as `script a b`.

    jsonargparse knows neither: it takes a bool's value from the next word, and reads a list as one word of YAML.
    """
    for action in parser._actions:
        if isinstance(action.default, bool) or str(action.metavar).startswith("{true"):
            action.nargs, action.const = "?", True
        elif not action.option_strings and getattr(action, "_typehint", None) == list[str]:
            action.nargs, action.metavar = "+", action.dest
            action._typehint = str  # type: ignore[attr-defined]  # of jsonargparse's own kind of action


def flags_of(parser: ArgumentParser) -> list[str]:
    """All flags as they are typed, to name the nearest one to a mistyped one."""
    return [flag for action in parser._actions for flag in action.option_strings]


def defaults_of(parser: ArgumentParser, names: Iterable[str]) -> dict[str, Any]:
    """The defaults of those of the flags that the parser has; `get_defaults` reads the config files too."""
    return {action.dest: action.default for action in parser._actions if action.dest in names}
