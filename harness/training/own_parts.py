"""Callbacks and loggers that the command line names: `--callbacks lightning.pytorch.callbacks.DeviceStatsMonitor`.

A flag is a list of classes, each with its import path, and with arguments if it needs any, which are plain data:

    --callbacks 'callbacks.mine.Mine, lightning.pytorch.callbacks.Timer(duration="00:01:00:00")'

Flags also come from config files, which may be a stranger's: so only modules of this project's packages and the parts
of Lightning below are imported, only a class is called, and arguments are read as literals; nothing is evaluated.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from basics.errors import InputError
from basics.versions import ROOT
from harness.training.flags import FitFlags
from harness.training.trainer import Extras

FROM_LIGHTNING = ("lightning.pytorch.callbacks", "lightning.pytorch.loggers")
OURS = ("basics", "callbacks", "datamodules", "experiments", "harness", "lit_modules")
EXAMPLES = {
    "callbacks": 'lightning.pytorch.callbacks.Timer(duration="00:01:00:00")',
    "loggers": 'lightning.pytorch.loggers.CSVLogger(name="csv")',
}
Part = TypeVar("Part", Callback, Logger)


class Named(NamedTuple):
    """A class by its import path, and the arguments to call it with."""

    path: str
    args: list[Any]
    options: dict[str, Any]


def own_parts(flags: FitFlags, run: Path | None) -> Extras:
    """The callbacks and loggers that the flags name, made anew.

    Args:
        run: where loggers write that have a `save_dir` and are given none.

    Raises:
        InputError: a path is not allowed, is no such class, or its arguments are wrong.
    """
    callbacks = [_made("callbacks", each, Callback) for each in _read("callbacks", flags.callbacks)]
    here = {"save_dir": str(run)} if run else {}
    abstract: Any = Logger  # of which only subclasses are made
    loggers = [_made("loggers", each, abstract, here) for each in _read("loggers", flags.loggers)]
    return Extras(callbacks, loggers)


def _read(flag: str, text: str) -> Iterator[Named]:
    """The classes that a flag lists."""
    if not text.strip():
        return
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        for part in tree.elts if isinstance(tree, ast.Tuple | ast.List) else [tree]:
            call = part if isinstance(part, ast.Call) else ast.Call(part, [], [])
            options = {str(each.arg or "**"): ast.literal_eval(each.value) for each in call.keywords}
            yield Named(_path(call.func), [ast.literal_eval(each) for each in call.args], options)
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(
            f"--{flag} {text}: expected import paths of classes, separated by commas, such as {EXAMPLES[flag]};"
            " arguments must be plain numbers, strings, lists or dicts"
        ) from error


def _path(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_path(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise TypeError


def _made(flag: str, named: Named, kind: type[Part], usual: Mapping[str, Any] = {}) -> Part:
    """What the class makes of its arguments; `usual` are options for classes that have them."""
    where = f"--{flag} {named.path}"
    try:
        module, name = _imported(where, named.path)
        its = getattr(module, name, None)
        if isinstance(its, type) and issubclass(its, kind):
            known = {} if named.args else usual.keys() & inspect.signature(its).parameters.keys()
            return its(*named.args, **{**{option: usual[option] for option in known}, **named.options})
    except InputError:
        raise
    except Exception as error:  # anything may happen in somebody's file
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error
    fault = f"there is no {name} in it" if its is None else f"is not a {kind.__name__} of Lightning"
    raise InputError(f"{where}: {fault}")


def _where_it_is(name: str) -> str:
    """What to write for a class that is named without its module."""
    there = [module for module in ("callbacks", *FROM_LIGHTNING) if hasattr(import_module(module), name)]
    return f"did you mean {there[0]}.{name}?" if there else f"it takes one such as {EXAMPLES['callbacks']}"


def _imported(where: str, path: str) -> tuple[ModuleType, str]:
    """The module of a class, if it may be imported, and the name of the class in it."""
    module, _, name = path.rpartition(".")
    if not module:
        raise InputError(f"{where}: is no import path; {_where_it_is(name)}")
    ours = module.partition(".")[0] in OURS
    if not ours and not any(f"{module}.".startswith(f"{allowed}.") for allowed in FROM_LIGHTNING):
        raise InputError(f"{where}: may not be imported; only classes in {', '.join((*OURS, *FROM_LIGHTNING))} are")
    found = import_module(module)
    if ours and not Path(str(found.__file__)).resolve().is_relative_to(ROOT):
        raise InputError(f"{where}: is imported from {found.__file__}, outside this project")
    return found, name
