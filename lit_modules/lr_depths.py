"""Learning rates that fall from the head of a network to its first layer: `--layer_decay 0.75`.

As in Bao et al. 2022, "BEiT", and Liu et al. 2022, "A ConvNet for the 2020s": with every layer further from the head,
the rate is multiplied by the same factor. First layers find edges and colours in any photographs, and need to change
least.

A network may say itself how deep its parameters lie: `depths()` returns a number for each name. Of others, a layer is
whatever has a matrix of weights among the children of the network, in their order, or among those of its containers
(`nn.Sequential`, `nn.ModuleList`); a norm belongs to the layer before it. A network that only wraps another has the
layers of that one.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from basics.errors import InputError
from lit_modules.heads import head_of

CONTAINERS = (nn.Sequential, nn.ModuleList)


def groups_by_depth(net: nn.Module, lr: float, decay: float) -> list[dict[str, Any]]:
    """The parameters in groups with a learning rate each: `lr` for the head, `lr * decay` for the layer before it.

    Raises:
        InputError: the factor is out of its range, or the network names no head.
    """
    if not 0 < decay <= 1:
        raise InputError(f"layer_decay {decay:g}: must be above 0, and at most 1")
    depths, named = depths_of(net), dict(net.named_parameters())
    levels = sorted(set(depths.values()))
    return [
        {
            "params": [named[name] for name, depth in depths.items() if depth == level],
            "lr": lr * decay ** (len(levels) - 1 - place),
        }
        for place, level in enumerate(levels)
    ]


def depths_of(net: nn.Module) -> dict[str, int]:
    """How many layers lie before that of each parameter, by the parameters' names; the head is the last."""
    if own := getattr(net, "depths", None):
        return dict(own())
    head, depth = set(head_of(net).parameters()), -1
    depths = {name: 0 for name, _ in net.named_parameters(recurse=False)}
    for prefix, module in _layers(net, ""):
        parameters = dict(module.named_parameters(prefix=prefix))
        depth += any(parameter.ndim > 1 and parameter not in head for parameter in parameters.values())
        depths |= {name: max(depth, 0) for name in parameters if name not in depths}
    return depths | {name: depth + 1 for name, parameter in net.named_parameters() if parameter in head}


def _layers(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The children that are no containers, and those of the containers, with their names."""
    children = dict(module.named_children())
    for name, child in children.items():
        if isinstance(child, CONTAINERS) or (len(children) == 1 and not prefix):
            yield from _layers(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child
