"""Replaces the defaults that a recipe chose for its own optimizer if the command line names another one."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from harness.command_line.parser_internals import defaults_of

OPTIONS = ("optimizer", "lr", "backbone_lr", "momentum", "weight_decay")


def set_usual_defaults(parser: ArgumentParser, args: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Gives the chosen optimizer its usual options as defaults; returns the changed ones, with old and new value.

    Values from a flag, a config file or a resumed run stay.

    Args:
        parser: the parser, with the recipe's defaults.
        args: the command line without --help and the like, which would end the process.
    """
    recipe = defaults_of(parser, OPTIONS)
    if not isinstance(recipe.get("optimizer"), str) or not isinstance(recipe.get("lr"), float):
        return {}
    from lit_modules.usual import usual_options  # imported here because tools that only look at runs do without torch

    before = parser.parse_args(args)
    parser.set_defaults(usual_options(before["optimizer"], recipe))
    after = parser.parse_args(args)
    return {name: (before[name], after[name]) for name in OPTIONS if name in recipe and before[name] != after[name]}


def describe(optimizer: str, changed: dict[str, tuple[Any, Any]]) -> str:
    """One line on what `set_usual_defaults` has changed."""
    parts = [f"{name} {after:g} instead of {before:g}" for name, (before, after) in changed.items()]
    return f"optimizer {optimizer}: {', '.join(parts)}, as is usual for it; the defaults are for another optimizer"
