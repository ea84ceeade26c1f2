"""Which kernels a GPU computes with: those that repeat themselves bit for bit, unless one asks for the fastest.

On a CPU nothing is to be chosen: the kernels that our networks need repeat themselves there.

torch keeps the choice for the whole process. So it holds for training, validation and test alike, and until the next
Trainer on a GPU chooses again.
"""

import os
from typing import Literal

import torch
import torch.utils.deterministic

from basics.errors import InputError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
EXACT_WORKSPACES = (":4096:8", ":16:8")  # NVIDIA's two, by which cuBLAS repeats itself; the first is the faster


def choose_kernels(
    device: torch.device, deterministic: bool | Literal["warn"] | None = None, benchmark: bool | None = None
) -> None:
    """Sets what torch's flags say of kernels, before anything is computed on the device.

    Args:
        deterministic: whether kernels have to repeat themselves; warn: where there are such ones; None: on CUDA they
            have to, elsewhere torch's flag stays as it is.
        benchmark: let cuDNN try its kernels and take the fastest; None: on CUDA, where they need not repeat themselves.

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
        # torch would also fill each new tensor, a kernel more each time, so that a program that reads what nobody has
        # written repeats itself too. Ours reads nothing of the kind: two runs are equal without (tests/accelerator).
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module's property


def _check_exact(benchmark: bool | None) -> None:
    """Sets up cuBLAS to repeat itself. Raises InputError where it, or cuDNN, is told otherwise."""
    if benchmark:
        raise InputError(
            "benchmark true: takes the kernels that were fastest this time, which may be others the next;"
            " add --deterministic false, or leave it out"
        )
    workspace = os.environ.setdefault(WORKSPACE, EXACT_WORKSPACES[0])  # cuBLAS reads it when it starts
    if workspace not in EXACT_WORKSPACES:
        raise InputError(
            f"{WORKSPACE} {workspace!r}: cuBLAS repeats itself with {' or '.join(EXACT_WORKSPACES)} only; unset it, or"
            " add --deterministic false"
        )
