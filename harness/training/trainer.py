"""Lightning's Trainer as all scripts use it: quiet, without a profiler's price, writing durable checkpoints."""

import ctypes
import logging
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import HalfPrecision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from basics.errors import InputError
from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoint_files import DurableCheckpointIO
from harness.training.kernels import choose_kernels

for _library in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # its tips and device lists; we print our own
for _expected in (
    ".*smaller than the logging interval.*",  # epochs of few steps
    ".*exists and is not empty.*",  # checkpoints of a run that is resumed
    ".*sync_dist=True.*",  # what we log is reduced over the ranks already
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*callbacks used to create the checkpoint.*",  # weight averaging, which `finish` takes out before the test
    ".*Total length of `list` across ranks is zero.*",  # a training without validation
    ".*recommended to use `Trainer\\(devices=1, num_nodes=1\\)`.*",  # our loaders count each sample once on any number
):
    warnings.filterwarnings("ignore", message=_expected)

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that tensors free, for the next ones.

    As it comes, it returns every large one to the system, which then clears each page again: a third of the time of
    a convolutional network on a CPU.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def build_trainer(
    run: Path | None, max_epochs: int, ours: list[Callback], our_logger: TensorBoardLogger | bool, **flags: Any
) -> Trainer:
    """The Trainer of all scripts. A script's own `callbacks` and `logger` are added to ours.

    On a GPU, `deterministic` is on by default (see `kernels.py`).

    Raises:
        InputError: the Trainer refuses its flags, or they ask for what the runs here cannot do.
    """
    if flags.get("default_root_dir") is None:
        flags["default_root_dir"] = run  # the LR finder keeps the weights there meanwhile
    if flags.get("profiler") is None:
        flags["profiler"] = _NoProfiler()
    flags["plugins"] = [*_as_list(flags.get("plugins")), DurableCheckpointIO()]
    theirs = {name: _as_list(flags.pop(name)) for name in {"callbacks", "logger"} & flags.keys()}
    kernels = {name: flags.pop(name) for name in {"deterministic", "benchmark"} & flags.keys()}
    try:
        trainer = Trainer(
            max_epochs=max_epochs,
            callbacks=[*theirs.get("callbacks", []), *ours],  # theirs may log what ours wait for
            logger=[*_as_list(our_logger), *theirs.get("logger", [])],  # the first one is `trainer.logger`
            use_distributed_sampler=False,  # our loaders know their rank
            enable_model_summary=False,
            **flags,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        asked = _asked(flags, "accelerator", "devices")
        where = f"{asked}: " if asked and "gpu" in str(error).lower() else ""
        raise InputError(f"{where}{error}") from error
    except ImportError as error:  # that of an accelerator or a precision
        raise InputError(f"{_asked(flags, 'accelerator', 'precision', 'strategy')}: {error}") from error
    choose_kernels(trainer.strategy.root_device, **kernels)  # not before: only now the device is known
    _check_processes(trainer, flags.get("strategy"), bool(flags.get("sync_batchnorm")))
    precision = trainer.precision_plugin
    if type(precision) is HalfPrecision:
        trainer.strategy.precision_plugin = _HalfInputs(precision.precision)
    return trainer


def _asked(flags: Mapping[str, Any], *names: str) -> str:
    """What those of the flags say that one has chosen."""
    return ", ".join(f"{name} {flags[name]}" for name in names if name in flags and flags[name] not in (None, "auto"))


def _as_list(value: Any) -> list[Any]:
    """The objects that an argument of the Trainer's has: none, one, or a list; a bool is none."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, Iterable) else [value]


def _check_processes(trainer: Trainer, strategy: Any, sync_batchnorm: bool) -> None:
    """Raises InputError where ranks would be copies of this process, one is missing, or they cannot share BatchNorm."""
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise InputError(
            f"strategy {strategy}: does not start the script anew for each device, as runs here need; ddp does"
        )
    if trainer.is_global_zero and not is_rank_zero():
        raise InputError(
            "RANK, LOCAL_RANK, NODE_RANK or SLURM_PROCID says that this process is a further one of a run, but it is"
            " the only one; unset it, or start the run by its launcher"
        )
    if sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise InputError("sync_batchnorm: torch has it for GPUs only; on a CPU, leave it out")


class _HalfInputs(HalfPrecision):
    """Lightning's, which leaves targets as they are: metrics are of these, and not of what they are rounded to."""

    def convert_input(self, data: Any) -> Any:
        if not isinstance(data, tuple | list):
            return super().convert_input(data)
        inputs, *targets = data
        return super().convert_input(inputs), *targets


class _NoProfiler(PassThroughProfiler):
    """Lightning enters its profiler some sixty times a step; this one makes that nearly free."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager:  # type: ignore[override]  # it is only entered
        return self.nothing
