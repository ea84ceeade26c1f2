"""What happens inside a network: its first kernels, the maps that its layers make, the features before its head."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.heads import head_of


def first_kernels(net: nn.Module, input_shape: Sequence[int]) -> tuple[str, Tensor] | None:
    """The first layer's name, and its weights as images, (outputs, C, H, W); None if they cannot be seen as images.

    They are those of the first convolution, or of a linear layer that gets the whole image.
    """
    channels, height, width = input_shape
    for name, module in net.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim not in (2, 4):
            continue
        weight = weight.detach().float().cpu()
        if weight.ndim == 2:
            return (name, weight.view(-1, *input_shape)) if weight.shape[1] == channels * height * width else None
        return (name, weight) if weight.shape[1] == channels else None
    return None


def maps_of(net: nn.Module, call: Callable[[], Tensor], at_most: int) -> list[tuple[str, Tensor]]:
    """Names of layers and the maps, (channels, H, W), that they make of the first image of a call.

    These are all layers; if there are more than `at_most`, all convolutions; and if these are too many, some of them,
    evenly spread.
    """
    leaves = {name: module for name, module in net.named_modules() if not any(module.children())}
    made = outputs_of(leaves, call)
    maps = {name: parts[0][0] for name, parts in made.items() if parts[0].ndim == 4 and parts[0].shape[-1] > 1}
    if len(maps) > at_most:
        convolutions = [name for name in maps if isinstance(leaves[name], nn.Conv2d)]
        maps = {name: maps[name] for name in convolutions} or maps
    names = list(maps)
    if len(names) > at_most:
        names = [names[round(place * (len(names) - 1) / (at_most - 1))] for place in range(at_most)]
    return [(name, maps[name]) for name in names]


def features_of(net: nn.Module, call: Callable[[], Tensor]) -> Tensor | None:
    """The head's input in a call, (B, features), averaged over pixels or members; None if that cannot be seen.

    It is the input of the head, if that is a layer, or the output of the layer called `head_input`.
    """
    before = getattr(net, "head_input", None)
    try:
        layer = net.get_submodule(before) if before else head_of(net)
    except InputError:  # a user's network need not name it
        return None
    made = outputs_of({"head": layer}, call, inputs=not before)
    if not made:
        return None
    features = made["head"][0]  # (B, features), (B, features, H, W) or (B, members, features)
    return features.mean({4: (2, 3), 3: (1,)}[features.ndim]) if features.ndim > 2 else features


def outputs_of(
    layers: Mapping[str, nn.Module], call: Callable[[], Tensor], inputs: bool = False
) -> dict[str, list[Tensor]]:
    """All outputs, or inputs, of those of the layers that a call reaches, on the CPU."""
    made: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(layer: nn.Module, given: tuple, output: Tensor) -> None:
            tensor = given[0] if inputs else output
            if isinstance(tensor, Tensor):
                made.setdefault(name, []).append(tensor.detach().float().cpu())

        return hook

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_hook(keep(name)).remove)
        call()
    return made
