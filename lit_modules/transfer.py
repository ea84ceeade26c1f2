"""Starting from weights that were trained on something else."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn


class Transfer(NamedTuple):
    """Names of the tensors that were taken over, of those that stay as initialised, and of those that had no use."""

    loaded: list[str]
    new: list[str]
    unused: list[str]


def head_of(net: nn.Module) -> nn.Linear:
    """The layer that makes the outputs: the last linear one."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]


def load_backbone(net: nn.Module, weights: Mapping[str, Tensor]) -> Transfer:
    """Copies to `net` what has its name and shape in `weights`; the head stays new.

    Raises:
        ValueError: nothing fits, so the weights are another network's.
    """
    ours = net.state_dict()
    head = {name for name, tensor in net.state_dict(keep_vars=True).items() if _is_in(tensor, head_of(net))}
    loaded = [name for name in ours if name in weights and weights[name].shape == ours[name].shape and name not in head]
    if not any(ours[name].ndim > 1 for name in loaded):
        raise ValueError("none of its weights fits this network; it is of another architecture")
    for name in loaded:
        ours[name].copy_(weights[name])
    new = [name for name in ours if name not in loaded]
    return Transfer(loaded, new, [name for name in weights if name not in loaded])


def _is_in(tensor: Tensor, module: nn.Module) -> bool:
    return any(tensor is parameter for parameter in module.parameters())
