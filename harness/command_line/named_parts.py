"""Networks and losses that flags name: which there are, the options of the chosen one, and lists among these."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from basics.choose import choose
from harness.command_line.parser_internals import defaults_of, set_help
from lit_modules.options import default_options, with_lists

NAMED_BY = {"net_args": "net", "loss_args": "loss"}  # flags with options, and the flags that name what they belong to


def read_option_lists(flags: Namespace) -> None:
    """Makes lists of the texts with commas, such as that of `--net_args.widths 300,100`, where a list is expected.

    An unknown name or option stays for the network or loss itself to refuse.
    """
    for options, named_by in NAMED_BY.items():
        given, name = flags.get(options), flags.get(named_by)
        if given and name in (makers := _makers(named_by, name)):
            flags[options] = with_lists(makers[name], given)


def describe_parts(parser: ArgumentParser, flags: Namespace, recipes: Collection[str]) -> None:
    """Lets --help name all networks, and the options of the chosen network and loss.

    Args:
        flags: the command line as far as it goes, with the chosen names.
        recipes: the networks that the script has a recipe for.

    Raises:
        InputError: there is no network or loss of the chosen name.
    """
    for options, named_by in NAMED_BY.items():
        if options not in defaults_of(parser, NAMED_BY):
            continue
        name = flags[named_by]
        makers = _makers(named_by, name)
        usual = default_options(choose(named_by, name, makers))
        flags_of_it = ", ".join(f"--{options}.{option} {_typed(value)}" for option, value in usual.items())
        texts = {options: f"{name} takes {flags_of_it}." if usual else f"{name} takes none."}
        if named_by == "net":
            texts[named_by] = _names(makers, recipes)
            texts[options] += " --net NAME --help shows what another network takes."
        set_help(parser, texts)


def _names(makers: Collection[str], recipes: Collection[str]) -> str:
    own, others = sorted(set(makers) & set(recipes)), sorted(set(makers) - set(recipes))
    if not own:
        return f"{', '.join(others)} (lit_modules/nets)."
    return f"{', '.join(own)}, which have a recipe here; {', '.join(others)} (lit_modules/nets)."


def _makers(named_by: str, name: str) -> Mapping[str, Callable[..., Any]]:
    """Networks or losses by their names, with that of this name if it is another package's."""
    if named_by == "net":
        from lit_modules.nets import nets_with  # imported here: it takes a second, and most tools have no such flag

        return nets_with(name)
    from lit_modules.losses import LOSSES  # the same

    return LOSSES


def _typed(value: Any) -> str:
    """A value as one types it on the command line."""
    if isinstance(value, list) and value and not isinstance(value[0], list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
