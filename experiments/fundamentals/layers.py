"""The layers of a network as an image passes through them: shapes, parameters, multiply-adds."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Layer(NamedTuple):
    """A module that computes something itself, as it ran on one image."""

    name: str  # "features.0"
    kind: str  # "Conv2d"
    output: tuple[int, ...]  # shape, without the batch
    parameters: int
    multiply_adds: int


def layers_of(net: nn.Module, input_shape: Sequence[int]) -> list[Layer]:
    """The layers in the order in which an image, (C, H, W), passes them; shared parameters are counted once."""
    layers: list[Layer] = []
    counted: set[Tensor] = set()

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        own = {p for p in module.parameters(recurse=False) if p not in counted}
        counted.update(own)
        shape = tuple(output.shape[1:])
        layers.append(
            Layer(name, type(module).__name__, shape, sum(p.numel() for p in own), multiply_adds(module, output))
        )

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in net.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    ]
    net.eval()
    with torch.no_grad():
        net(_one_image(net, input_shape))
    for hook in hooks:
        hook.remove()
    return layers


def multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Products that a convolution or linear layer adds up for a batch of one; 0 for other layers, which cost little."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.in_channels // module.groups * prod(module.kernel_size)
    return output.numel() * module.in_features if isinstance(module, nn.Linear) else 0


def counted_by_torch(net: nn.Module, input_shape: Sequence[int]) -> int:
    """The same total by torch's own counter, which watches the operations and counts a multiply-add as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(_one_image(net, input_shape))
    return counter.get_total_flops() // 2


def _one_image(net: nn.Module, input_shape: Sequence[int]) -> Tensor:
    return torch.zeros(1, *input_shape, device=next(net.parameters()).device)  # (1, C, H, W)
