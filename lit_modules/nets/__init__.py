"""Plain torch networks, found by name.

A file here offers networks by naming them in its `__all__`: a class or function that is called as
`net(input_shape, num_outputs, **options)`, with the shape of one sample, and returns an `nn.Module`
from (B, *input_shape) to (B, num_outputs). It is known by its own name in lower case.

Those of the package timm are called timm:convnext_tiny and so on (see `timm_nets.py`).

A network for segmentation says `per_pixel = True`, and returns a module to (B, num_outputs, H, W).

A network names the layer that makes its outputs as `head` (see `heads.py`), unless that is its last layer with so many
outputs.

An ensemble says `ensemble = True`; called with `each=True`, it gives each member's outputs, (B, members, num_outputs).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basics.errors import InputError
from basics.offers import Offers, read_offers
from lit_modules.heads import output_layer
from lit_modules.options import check_options
from lit_modules.timm_nets import PREFIX, timm_net


def nets() -> dict[str, Callable[..., nn.Module]]:
    """Every network by its name, except those for segmentation, and those in files that cannot be imported."""
    return {name: net for name, net in _files().by_name().items() if not getattr(net, "per_pixel", False)}


def nets_with(name: str) -> dict[str, Callable[..., nn.Module]]:
    """The same, and the network of that name if it is timm's."""
    return nets() | ({name: timm_net(name)} if name.startswith(PREFIX) else {})


def pixel_nets() -> dict[str, Callable[..., nn.Module]]:
    """The networks for segmentation, by their names."""
    return {name: net for name, net in _files().by_name().items() if getattr(net, "per_pixel", False)}


@cache
def _files() -> Offers:
    return read_offers(__name__, __path__, "networks")


def build_net(name: str, input_shape: Sequence[int], num_outputs: int, **options: Any) -> nn.Module:
    """Builds the network called `name`. Its lazy layers get the sizes that follow from `input_shape`.

    Raises:
        InputError: there is no such network, its file cannot be imported, or an option is unknown or wrong.
    """
    known = nets_with(name)
    if name not in known and name in pixel_nets():
        raise InputError(f"net {name!r}: gives a class for each pixel; segmentation.py trains it")
    return _build(name, known, input_shape, num_outputs, options)


def build_pixel_net(name: str, input_shape: Sequence[int], num_outputs: int, **options: Any) -> nn.Module:
    """The same for the networks with outputs for each pixel."""
    known = pixel_nets()
    if name not in known and name in nets():
        raise InputError(
            f"net {name!r}: gives one class for the whole image; for each pixel there are {', '.join(known)}"
        )
    return _build(name, known, input_shape, num_outputs, options)


def _build(
    name: str,
    known: Mapping[str, Callable[..., nn.Module]],
    input_shape: Sequence[int],
    num_outputs: int,
    options: Mapping[str, Any],
) -> nn.Module:
    constructor = _files().choose("net", name, known)
    check_options("net_args", name, constructor, options)
    net = constructor(tuple(input_shape), num_outputs, **options)
    if any(is_lazy(tensor) for tensor in (*net.parameters(), *net.buffers())):
        with torch.no_grad():
            net.eval()(torch.zeros(1, *input_shape))
        net.train()
    if not hasattr(net, "head") and (head := output_layer(net, num_outputs)) is not None:
        net.head = head
    return net


def member_outputs(net: nn.Module, x: Tensor) -> Tensor:
    """The outputs of each member of an ensemble, (B, members, num_outputs); others are their own only member."""
    return net(x, each=True) if getattr(net, "ensemble", False) else net(x).unsqueeze(1)
