"""What the layers of a network are called in pictures: by what they are, as in `conv 5x5, 6 maps`.

TensorBoard's curves and histograms have the modules' own names, such as `features.0`, by which code finds them.
"""

import re
from collections import Counter
from typing import Any

from torch import nn

from basics.torch_internals import Convolution

POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
TO_SIZE = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)


def layer_names(net: nn.Module) -> dict[str, str]:
    """What each module is called, by its name in `named_modules`.

    Where two of a kind would be called alike, all of that kind are numbered: `conv 2: 5x5, 16 maps`.
    """
    modules = {name: (_kind(module), _sizes(module)) for name, module in net.named_modules()}
    numbered = {kind for (kind, _), count in Counter(modules.values()).items() if count > 1}
    places: Counter[str] = Counter()
    names = {}
    for name, (kind, sizes) in modules.items():
        places[kind] += 1
        number = f" {places[kind]}" if kind in numbered else ""
        names[name] = f"{kind}{number}{':' if number and sizes else ''} {sizes}".rstrip()
    return names


def parameter_names(model: nn.Module) -> dict[str, str]:
    """For each parameter, by its name in `named_parameters`: its layer's, and its own unless it is the weight."""
    layers = layer_names(model)
    names = {}
    for name, _ in model.named_parameters():
        layer, _, own = name.rpartition(".")
        names[name] = layers[layer] if own == "weight" else f"{layers[layer]}, {own}"
    return names


def _kind(module: nn.Module) -> str:
    """In words: BatchNorm2d is batch norm, and every convolution conv."""
    if isinstance(module, Convolution):
        return "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    name = re.sub(r"\dd$", "", type(module).__name__.removeprefix("Adaptive")).replace("AvgPool", "AveragePool")
    return re.sub(r"(?<=.)(?=[A-Z][a-z])", " ", name).lower()


def _sizes(module: nn.Module) -> str:
    if isinstance(module, Convolution):
        return f"{_times(module.kernel_size)}, {module.out_channels} maps"
    if isinstance(module, POOLS):
        return _times(module.kernel_size)
    if isinstance(module, TO_SIZE):
        return f"to {_times(module.output_size)}"
    shape = getattr(getattr(module, "weight", None), "shape", ())  # outputs first
    return {2: "{0}", 4: "{2}x{3}, {0} maps"}.get(len(shape), "").format(*shape)


def _times(sizes: Any) -> str:
    """Such as 5x5; a single number is for both sides."""
    return "x".join(map(str, sizes if isinstance(sizes, tuple) else (sizes, sizes)))
