"""Starting from weights that were trained on something else."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.heads import head_of


class Transfer(NamedTuple):
    """Names of the tensors that were loaded, of those that stay as initialised, and of those that were not used."""

    loaded: list[str]
    new: list[str]
    unused: list[str]


def load_backbone(net: nn.Module, weights: Mapping[str, Tensor]) -> Transfer:
    """Copies to `net` all `weights` that fit by name and shape; the head stays new.

    Raises:
        InputError: nothing fits, so the weights are another network's, or the network names no head.
    """
    ours = net.state_dict()
    outputs = set(head_of(net).parameters())
    head = {name for name, tensor in net.state_dict(keep_vars=True).items() if tensor in outputs}
    loaded = [name for name in ours if name in weights and weights[name].shape == ours[name].shape and name not in head]
    if not any(ours[name].ndim > 1 for name in loaded):
        raise InputError("none of its weights fits this network; it has another architecture")
    for name in loaded:
        ours[name].copy_(weights[name])
    new = [name for name in ours if name not in loaded]
    return Transfer(loaded, new, [name for name in weights if name not in loaded])
