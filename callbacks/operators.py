"""What a piece of code asks of torch: its operators in their order, and those that wait for the device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from basics.torch_internals import DispatchMode

# Their result, or its shape, depends on values for which the host has to wait.
READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique", "_unique2", "bincount")
BY_MASK = ("index", "index_put", "index_put_", "_index_put_impl_")  # these too, with a mask among the indices


class Operators(DispatchMode):
    """Notes the operators that run within it, those of a backward pass too.

    Attributes:
        calls: their names, and those of their arguments that are not tensors, as text.
        reads: those for which the host waits: numbers read from a device, and copies from one to another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.reads: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, kwargs = func.__name__.split(".")[0], kwargs or {}
        result = func(*args, **kwargs)
        self.calls.append((name, repr(_without_tensors([args, dict(kwargs)]))))
        if waits(name, [*args, *kwargs.values()], result):
            self.reads.append(name)
        return result


def operators_of(function: Callable[..., Any], *args: Any) -> tuple[Any, Operators]:
    """What the function returns, and what it asked of torch."""
    with Operators() as operators:
        return function(*args), operators


def waits(name: str, args: Sequence[Any], result: Any) -> bool:
    """Whether the host waits for the device until the operator of this name has its result."""
    if name in READS:
        return True
    if name in BY_MASK:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name in ("_to_copy", "copy_") and isinstance(result, Tensor):
        return any(isinstance(arg, Tensor) and arg.device != result.device for arg in args)
    return False


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, list | tuple):
        return [_without_tensors(part) for part in value]
    if isinstance(value, dict):
        return {key: _without_tensors(part) for key, part in value.items()}
    return value
