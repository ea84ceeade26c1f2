"""All uses of the internals of argparse and jsonargparse; checked on jsonargparse 4.53 and Python 3.11.

Both keep a parser's flags in `_actions`, and neither offers a public way to look at them. No other file names these,
as `tests/test_internals.py` checks.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from jsonargparse import SUPPRESS, ArgumentParser

from harness.command_line.lists import with_brackets


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


def allow_commas(parser: ArgumentParser) -> None:
    """Lets every list be given as `3,5`, also in a config file; jsonargparse wants `[3, 5]`."""
    for action in parser._actions:
        kind = getattr(action, "_typehint", None)
        others = [part for part in get_args(kind) if part is not NoneType]
        optional = get_origin(kind) in (Union, UnionType) and len(others) == 1
        kind = others[0] if optional else kind
        if get_origin(kind) in (list, dict):
            action._check_type = _with_commas(action._check_type, kind, "null" if optional else None)  # type: ignore[attr-defined]  # jsonargparse's


def _with_commas(check: Callable[..., Any], kind: Any, nothing: str | None) -> Callable[..., Any]:
    """`check`, for a list or a dict of lists, which gets `--levels.size S,M` as a tuple of the key and the value.

    Args:
        nothing: what is typed for no list at all.
    """

    @wraps(check)  # jsonargparse looks at its parameters
    def check_with_commas(value: Any, **options: Any) -> Any:
        if get_origin(kind) is dict and hasattr(value, "_replace"):
            return check(value._replace(val=with_brackets(value.val, get_args(kind)[1])), **options)
        return check(value if value == nothing else with_brackets(value, kind), **options)

    return check_with_commas


def flags_of(parser: ArgumentParser) -> list[str]:
    """All flags of --help as they are typed, for suggesting the nearest one to a mistyped flag."""
    return [flag for action in parser._actions if action.help != SUPPRESS for flag in action.option_strings]


def defaults_of(parser: ArgumentParser, names: Iterable[str]) -> dict[str, Any]:
    """The defaults of those flags that the parser has; `get_defaults` also reads the config files."""
    return {action.dest: action.default for action in parser._actions if action.dest in names}


def set_help(parser: ArgumentParser, texts: Mapping[str, str]) -> None:
    """Replaces what --help says of these flags; argparse has no public way to change it."""
    for action in parser._actions:
        action.help = texts.get(action.dest, action.help)
