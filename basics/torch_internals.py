"""All that is touched here of torch's internals, each with its reason; checked on torch 2.11 to 2.14.

No other file names them, which `tests/test_internals.py` holds. `torch._foreach_*` are not among them: torch documents
these, as functions of lists of tensors.
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
Convolution = _ConvNd  # what convolutions of one, two and three dimensions have in common


def flag_nonfinite(tensors: list[Tensor], flag: Tensor, one: Tensor) -> None:
    """Sets `flag` to 1 where a tensor has something that is not finite, by one kernel for all of them.

    It is the one of `torch.amp.GradScaler`, which multiplies the tensors too, here by `one`.
    """
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, flag, one)


def take_unscaled_gradients(optimizer: "Optimizer") -> None:
    """Keeps a fused optimizer from taking gradients that a GradScaler has scaled, which Lightning refuses to clip.

    It does so even where there is no scaler, as with bf16-mixed.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # of fused ones only


def has_hooks(module: nn.Module) -> bool:
    """Whether something follows the module by a hook; torch has functions to add hooks, and none to ask for them."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def compile_modes() -> Any:
    """The modes of `torch.compile`: nothing public lists them, and its documentation names this function."""
    from torch._inductor import list_mode_options  # only here, for its import takes a second

    return list_mode_options()


def write_summaries(writer: "SummaryWriter", summaries: Iterable[Any], step: int | None = None) -> None:
    """Writes protocol buffers as they are: `add_hparams` would make a run of its own for them."""
    for summary in summaries:
        writer._get_file_writer().add_summary(summary, step)
