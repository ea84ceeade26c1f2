"""Options of a network or loss, checked against its annotations before torch meets a string instead of a number."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from basics.errors import InputError

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", NoneType: "null"}
LEAST = {"widths": 1, "size": 1, "embedding_size": 1, "numbers": 0}  # of any option with this name


def check_options(flag: str, name: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Checks the options of the network or loss called `name` against `maker`'s third and later parameters.

    Args:
        flag: the flag that they come from, such as net_args.

    Raises:
        InputError: an option is unknown, or a value has the wrong type or is out of its range.
    """
    known = _options(maker)
    for option, value in options.items():
        if option not in known:
            raise InputError(f"{flag} {option!r}: {name} has no such option; it has {', '.join(known) or 'none'}")
        kind, usual = known[option].annotation, known[option].default
        if not _fits(value, kind):
            example = "" if usual in (inspect.Parameter.empty, None) else f", such as {_plain(usual)}"
            raise InputError(f"{flag}.{option} {value}: {_misfit(value, kind)}{name} expects {_words(kind)}{example}")
        if value != usual and any(number < LEAST.get(option, -math.inf) for number in _numbers(value)):
            raise InputError(f"{flag}.{option} {_plain(value)}: must be at least {LEAST[option]}")
        if option == "dropout" and not 0 <= value < 1:
            raise InputError(f"{flag}.dropout {value}: must be from 0 to below 1")


def default_options(maker: Callable[..., Any]) -> dict[str, Any]:
    """The options of a network or loss, each with its default."""
    return {name: _plain(each.default) for name, each in _options(maker).items()}


def with_lists(maker: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with `300,100` or a single number as a list where that is what `maker` expects."""
    known, read = _options(maker), dict(options)
    for name, value in options.items():
        if name in known and not _fits(value, known[name].annotation):
            parts = [_number_in(part.strip()) for part in str(value).split(",")]
            read[name] = parts if _fits(parts, known[name].annotation) else value
    return read


def _number_in(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _options(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What it takes besides its two sizes."""
    known = dict(list(_parameters(maker).items())[2:])
    if options_type := getattr(maker, "options_type", None):  # a dataclass, whose fields it takes as keyword arguments
        known = {key: each for key, each in known.items() if each.kind is not each.VAR_KEYWORD}
        known |= _parameters(options_type)
    return known


def _parameters(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(maker, eval_str=True).parameters
    except NameError:  # an annotation is imported for type checkers only
        return inspect.signature(maker).parameters


def _fits(value: Any, kind: Any) -> bool:
    """Whether the value is of the annotated kind, as far as that is plain data; anything fits other kinds."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and _all_fit(value, origin, parts)
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)


def _all_fit(values: Sequence[Any], origin: type, parts: tuple[Any, ...]) -> bool:
    """Whether the elements fit `Sequence[int]`, or one by one `tuple[int, int]`."""
    if origin is tuple and parts[-1] is not Ellipsis:
        return len(values) == len(parts) and all(map(_fits, values, parts))
    return all(_fits(value, parts[0]) for value in values)


def _misfit(value: Any, kind: Any) -> str:
    """Which part of `300,x` is no element of the list that is expected; "" if it is no list of so many numbers."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]
    for origin, parts in ((get_origin(each), get_args(each)) for each in kinds):
        if isinstance(value, str) and isinstance(origin, type) and issubclass(origin, Sequence):
            wrong = [part for part in value.split(",") if not _fits(_number_in(part.strip()), parts[0])]
            return f"{wrong[0].strip()!r} is not {_words(parts[0])}; " if wrong else ""
    return ""


def _words(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis:
        return f"a list of {len(get_args(kind))}"
    return WORDS.get(kind, "a list" if get_origin(kind) else getattr(kind, "__name__", str(kind)))


def _numbers(value: Any) -> list[Any]:
    """The numbers in a value, which may be a list or a list of lists."""
    if isinstance(value, list | tuple):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, Real) else []


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
