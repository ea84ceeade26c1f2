"""All uses of torch's internals, each with its reason; checked on torch 2.11 to 2.14.

No other file names them, as `tests/test_internals.py` checks. `torch._foreach_*` do not count: torch documents them as
functions on lists of tensors.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.tensorboard import SummaryWriter

DispatchMode = TorchDispatchMode  # sees the operators of a backward pass too; documented, but in no public module
Convolution = _ConvNd  # the base class of convolutions in one, two and three dimensions


def flag_nonfinite(tensors: list[Tensor], flag: Tensor, one: Tensor) -> None:
    """Sets `flag` to 1 if any value in the tensors is not finite, by one kernel for all of them.

    The kernel is that of `torch.amp.GradScaler`, which also multiplies the tensors, here by `one`.
    """
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, flag, one)


def take_unscaled_gradients(optimizer: "Optimizer") -> None:
    """Makes a fused optimizer take no gradients that a GradScaler has scaled, because Lightning would not clip those.

    Lightning refuses to clip even if there is no scaler, as with bf16-mixed.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # only fused ones have it


def has_hooks(module: nn.Module) -> bool:
    """Whether the module or its parameters have hooks; torch has functions to add hooks, but none to ask for them."""
    own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(own) or any(each._backward_hooks for each in module.parameters(recurse=False))


def compile_modes() -> Any:
    """The modes of `torch.compile`: nothing public lists them, and its documentation names this function."""
    from torch._inductor import list_mode_options  # imported here because it takes a second

    return list_mode_options()


def write_summaries(
    writer: "SummaryWriter", summaries: Iterable[Any], step: int | None = None, time: float | None = None
) -> None:
    """Writes protocol buffers as they are; `add_hparams` would make a separate run for them.

    Args:
        time: seconds since the epoch at which they were made; None: now.
    """
    for summary in summaries:
        writer._get_file_writer().add_summary(summary, step, time)
