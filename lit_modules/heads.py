"""Which layer of a network makes its outputs, and which of its weights are matrices between hidden layers.

A network names its head: `head` is the name of its output layer, as in `named_modules`, the names of all layers and
parameters that make the outputs, or the output layer itself. If it names none, the head is the last linear layer or
convolution with as many outputs as the network, which `build_net` looks for.
"""

from operator import attrgetter

from torch import Tensor, nn

from basics.errors import InputError
from basics.torch_internals import Convolution

# Their weights may have two dimensions, but are not maps from inputs to outputs.
NO_MATRICES = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)


def output_layer(net: nn.Module, num_outputs: int) -> str | None:
    """The name of the last linear layer or convolution with so many outputs; None if there is none."""
    layers = {name: module for name, module in net.named_modules() if isinstance(module, nn.Linear | Convolution)}
    fitting = [name for name, layer in layers.items() if len(layer.weight) == num_outputs]
    return fitting[-1] if fitting else None


def head_of(net: nn.Module) -> nn.Module:
    """The layer that makes the outputs, or a container of the layers and parameters that do.

    Raises:
        InputError: the network names no head, or one that it does not have.
    """
    head = getattr(net, "head", None)
    if isinstance(head, nn.Module):
        return head
    names = (head,) if isinstance(head, str) else head
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f'net {type(net).__name__}: names no head; say `head = "<name of its output layer>"` in it')
    parts = {name: _part(net, name) for name in names}
    if len(parts) == 1 and isinstance(only := parts[names[0]], nn.Module):
        return only
    container = nn.Module()
    for name, part in parts.items():
        setattr(container, name.replace(".", "_"), part)
    return container


def _part(net: nn.Module, name: str) -> nn.Module | nn.Parameter | None:
    if not name:
        return net  # such as a network that is itself a linear layer
    try:
        return attrgetter(name)(net)
    except AttributeError as error:
        raise InputError(f"net {type(net).__name__}: its head {name!r} is neither a layer nor a parameter") from error


def hidden_matrices(net: nn.Module) -> list[Tensor]:
    """The weights of linear layers, (outputs, inputs), and of convolutions, (outputs, inputs, ...), except the head's.

    Anything that is called a weight and has two dimensions counts, since a network may have layers of its own.

    Raises:
        InputError: the network names no head.
    """
    head = set(head_of(net).parameters())
    return [
        parameter
        for module in net.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter not in head
        and name.endswith("weight")
        and not isinstance(module, NO_MATRICES)
        and (parameter.ndim == 2 or isinstance(module, Convolution))
    ]
