"""Plain torch networks, found by name.

A file here offers networks by naming them in its `__all__`: a class or function that is called as
`net(input_shape, num_outputs, **options)`, with the shape of one sample, and returns an `nn.Module`
from (B, *input_shape) to (B, num_outputs). It is known by its own name in lower case.

A network for segmentation says `per_pixel = True`, and returns a module to (B, num_outputs, H, W).

A network names the layer that makes its outputs as `head` (see `heads.py`), unless that is its last layer with so many
outputs.

An ensemble also has `members`, which gives each member's outputs, (B, members, num_outputs).
"""

import pkgutil
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.machinery import FileFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basics.choose import choose
from basics.errors import InputError
from lit_modules.heads import output_layer
from lit_modules.options import check_options


def nets() -> dict[str, Callable[..., nn.Module]]:
    """Every network by its name, except those for segmentation, and those in files that cannot be imported."""
    return {name: net for name, net in _found().items() if not getattr(net, "per_pixel", False)}


def pixel_nets() -> dict[str, Callable[..., nn.Module]]:
    """The networks for segmentation, by their names."""
    return {name: net for name, net in _found().items() if getattr(net, "per_pixel", False)}


def _found() -> dict[str, Callable[..., nn.Module]]:
    return {name.lower(): getattr(file, name) for file in _files()[0] for name in file.__all__}


@cache
def _files() -> tuple[list[ModuleType], dict[Path, str]]:
    """The modules here, and what is wrong with files that are not."""
    modules: list[ModuleType] = []
    faults: dict[Path, str] = {}
    for found in pkgutil.iter_modules(__path__):
        assert isinstance(found.module_finder, FileFinder)  # as of all that is in a folder
        path = Path(found.module_finder.path, found.name)
        path = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        try:
            module = import_module(f"{__name__}.{found.name}")
        except Exception as error:  # anything may happen in somebody's file
            faults[path] = f"{path}, line {_line(error, path)}: {type(error).__name__}: {error}"
            continue
        missing = [name for name in getattr(module, "__all__", ["__all__"]) if not hasattr(module, name)]
        if missing:
            offers = "has no __all__ that names its networks" if missing == ["__all__"] else f"has no {missing[0]!r}"
            faults[path] = f"{path}: {offers}"
        else:
            modules.append(module)
    return modules, faults


def _line(error: Exception, path: Path) -> int:
    """The line of the file in which it happened."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else getattr(error, "lineno", None) or 1  # a SyntaxError has it


def build_net(name: str, input_shape: Sequence[int], num_outputs: int, **options: Any) -> nn.Module:
    """Builds the network called `name`. Its lazy layers get the sizes that follow from `input_shape`.

    Raises:
        InputError: there is no such network, its file cannot be imported, or an option is unknown or wrong.
    """
    known = nets()
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
    faults = _files()[1] if name not in known else {}
    for path, fault in faults.items():
        if name.lower() in (path.stem, *re.findall(r"\w+", path.read_text(errors="replace").lower())):
            raise InputError(f"net {name!r}: {fault}")
    constructor = choose("net", name, known)
    check_options("net_args", name, constructor, options)
    net = constructor(tuple(input_shape), num_outputs, **options)
    if any(is_lazy(tensor) for tensor in (*net.parameters(), *net.buffers())):
        with torch.no_grad():
            net.eval()(torch.zeros(1, *input_shape))
        net.train()
    if not hasattr(net, "head") and (head := output_layer(net, num_outputs)) is not None:
        net.head = head  # type: ignore[assignment]  # torch knows of tensors and modules only
    return net


def member_outputs(net: nn.Module, x: Tensor) -> Tensor:
    """The outputs of each member of an ensemble, (B, members, num_outputs); others are their own only member."""
    members = getattr(net, "members", None)
    return members(x) if members else net(x).unsqueeze(1)
