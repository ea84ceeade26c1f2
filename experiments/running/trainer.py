"""Lightning's Trainer as all scripts use it: quiet, without a profiler's price, writing durable checkpoints."""

import ctypes
import logging
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from running.checkpoint_files import DurableCheckpointIO

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import HalfPrecision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException

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
    run: Path | None, max_epochs: int, callbacks: list[Callback], logger: TensorBoardLogger | bool, **flags: Any
) -> Trainer:
    """The Trainer of all scripts; what it refuses of its flags is a ValueError."""
    if flags.get("default_root_dir") is None:
        flags["default_root_dir"] = run  # the LR finder keeps the weights there meanwhile
    if flags.get("profiler") is None:
        flags["profiler"] = _NoProfiler()
    plugins = flags.get("plugins") or []
    flags["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), DurableCheckpointIO()]
    try:
        trainer = Trainer(
            max_epochs=max_epochs,
            callbacks=callbacks,
            logger=logger,
            use_distributed_sampler=False,  # our loaders know their rank
            enable_model_summary=False,
            **flags,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ValueError(str(error)) from error
    if type(trainer.precision_plugin) is HalfPrecision:
        trainer.strategy.precision_plugin = _HalfInputs(trainer.precision)
    return trainer


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

    def profile(self, action_name: str) -> AbstractContextManager:
        return self.nothing
