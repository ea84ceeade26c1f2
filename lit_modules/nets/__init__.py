"""Plain torch networks, found by name.

A file here offers networks by naming them in its `__all__`: a class or function that is called as
`net(input_shape, num_outputs, **options)`, with the shape of one sample, and returns an `nn.Module`
from (B, *input_shape) to (B, num_outputs). It is known by its own name in lower case.

It names the layer that makes its outputs as `head`, see `heads.py`, unless that is its last one of so many outputs.

An ensemble also has `members`, which gives each member's outputs, (B, members, num_outputs).
"""

import inspect
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from lit_modules.choose import choose
from lit_modules.heads import output_layer


@cache
def nets() -> dict[str, Callable[..., nn.Module]]:
    """Every network by its name."""
    files = [import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]
    return {name.lower(): getattr(file, name) for file in files for name in file.__all__}


def build_net(name: str, input_shape: Sequence[int], num_outputs: int, **options: Any) -> nn.Module:
    """Builds the network called `name`.

    Raises:
        ValueError: there is no such network, or it has no such option.
    """
    net = choose("net", name, nets())
    known = list(inspect.signature(net).parameters)[2:]
    for option in options:
        if option not in known:
            raise ValueError(f"net_args {option!r}: {name} has no such option; it has {', '.join(known) or 'none'}")
    built = net(tuple(input_shape), num_outputs, **options)
    if not hasattr(built, "head") and (name := output_layer(built, num_outputs)) is not None:
        built.head = name
    return built


def member_outputs(net: nn.Module, x: Tensor) -> Tensor:
    """The outputs of each member of an ensemble, (B, members, num_outputs); another network is its only member."""
    return net.members(x) if hasattr(net, "members") else net(x).unsqueeze(1)
