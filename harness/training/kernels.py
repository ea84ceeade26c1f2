"""Which kernels a GPU computes with: by default those whose results repeat bit for bit, on request the fastest.

On a CPU there is nothing to choose: the kernels that our networks need give the same results each time.

torch keeps the choice for the whole process, so it holds for training, validation and test alike, until the next
Trainer on a GPU chooses again.
"""

import os
from typing import Literal

import torch
import torch.utils.deterministic

from basics.errors import InputError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
EXACT_WORKSPACES = (":4096:8", ":16:8")  # the two with which cuBLAS is deterministic; the first is faster


def choose_kernels(
    device: torch.device, deterministic: bool | Literal["warn"] | None = None, benchmark: bool | None = None
) -> None:
    """Sets torch's flags for kernels, before anything is computed on the device.

    Args:
        deterministic: whether kernels have to be deterministic; warn: only warn about those that are not; None: true
            on CUDA, and elsewhere torch's flag stays as it is.
        benchmark: let cuDNN try its kernels and use the fastest; None: on CUDA, if they need not be deterministic.

    Raises:
        InputError: the choice contradicts itself, or the environment contradicts it.
    """
    on_cuda = device.type == "cuda"
    deterministic = True if deterministic is None and on_cuda else deterministic
    if on_cuda and deterministic:
        _check_exact(benchmark)
    if benchmark is not None or on_cuda:
        torch.backends.cudnn.benchmark = not deterministic if benchmark is None else benchmark
    if deterministic is not None:
        torch.use_deterministic_algorithms(bool(deterministic), warn_only=deterministic == "warn")
        # torch would also fill each new tensor, at the cost of one more kernel, so that even programs that read
        # uninitialised memory repeat. Ours reads none: two runs are equal without it (tests/accelerator).
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module's property


def _check_exact(benchmark: bool | None) -> None:
    """Makes cuBLAS deterministic. Raises InputError if it, or cuDNN, is told otherwise."""
    if benchmark:
        raise InputError(
            "benchmark true: uses the kernels that were fastest this time, which may be others next time;"
            " add --deterministic false, or leave it out"
        )
    workspace = os.environ.setdefault(WORKSPACE, EXACT_WORKSPACES[0])  # cuBLAS reads it when it starts
    if workspace not in EXACT_WORKSPACES:
        raise InputError(
            f"{WORKSPACE} {workspace!r}: cuBLAS is deterministic with {' or '.join(EXACT_WORKSPACES)} only; unset it or"
            " add --deterministic false"
        )
