"""Lightning's Trainer as all scripts use it: quiet, free of the profiler's overhead, with durable checkpoints."""

import ctypes
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import HalfPrecision
from lightning.pytorch.profilers import PassThroughProfiler, Profiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from basics.amounts import amount
from basics.choose import choose
from basics.errors import InputError
from basics.lean_trainer import LeanTrainer
from basics.lightning_internals import copies_this_process, set_precision
from callbacks import FirstStep, LRDecay
from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoint_files import DurableCheckpointIO
from harness.runs.checkpoints import Checkpoint
from harness.runs.invocation import values
from harness.training.flags import TrainerFlags
from harness.training.kernels import choose_kernels
from harness.training.precision import choose_precision, note_emulation
from harness.training.profile import NarrowProfiler
from harness.training.silence import silence_libraries

silence_libraries()
_PROFILES = logging.getLogger("lightning.pytorch.profilers.profiler")

PROFILERS = ("simple", "advanced", "pytorch", "xla")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that tensors free for the next ones.

    By default it returns every large block to the system, which then clears each page again: a third of the time of a
    convolutional network on a CPU.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def showing_profile() -> Iterator[None]:
    """Lets the profiler of `--profiler` print its report when a stage ends; there is none after other stages."""
    _PROFILES.setLevel(logging.INFO)
    try:
        yield
    finally:
        _PROFILES.setLevel(logging.NOTSET)


class Extras(NamedTuple):
    """Callbacks and loggers, such as those that a script adds to ours."""

    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()

    def joined(self, others: "Extras") -> "Extras":
        return Extras([*self.callbacks, *others.callbacks], [*self.loggers, *others.loggers])


NO_EXTRAS = Extras()


def build_trainer(
    flags: TrainerFlags,
    max_epochs: int | None = 1,
    run: Path | None = None,
    ours: Extras = NO_EXTRAS,
    theirs: Extras = NO_EXTRAS,
    resumed: Checkpoint | None = None,
) -> Trainer:
    """The Trainer that all scripts use.

    On a GPU, `deterministic` is on by default (see `kernels.py`).

    Args:
        run: directory for Lightning's own files, such as the weights during a range test.
        ours: the callbacks and loggers of this training.
        theirs: the callbacks and loggers that a script or the command line adds.
        resumed: the checkpoint that training continues from, so that it need not be read again.

    Raises:
        InputError: the Trainer refuses its flags, or they ask for something that runs here do not support.
    """
    if flags.barebones:
        raise InputError("barebones: switches off the curves and checkpoints that a run is made of; leave it out")
    chosen = values(flags, TrainerFlags)
    kernels = {name: chosen.pop(name) for name in ("deterministic", "benchmark")}
    chosen["default_root_dir"] = flags.default_root_dir or run
    chosen["profiler"] = _profiler(flags.profiler) if flags.profiler else _NoProfiler()
    chosen["precision"] = choose_precision(flags, resumed)
    chosen["plugins"] = [*_as_list(flags.plugins), DurableCheckpointIO(resumed)]
    try:
        trainer = LeanTrainer(
            max_epochs=max_epochs,
            callbacks=_in_order(ours.callbacks, theirs.callbacks),
            logger=[*ours.loggers, *theirs.loggers],  # the first one is `trainer.logger`
            enable_model_summary=False,
            **chosen,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        asked = _asked(flags, "accelerator", "devices")
        where = f"{asked}: " if asked and "gpu" in str(error).lower() else ""
        raise InputError(f"{where}{error}") from error
    except ImportError as error:  # a package for an accelerator or a precision is missing
        raise InputError(f"{_asked(flags, 'accelerator', 'precision', 'strategy')}: {error}") from error
    choose_kernels(trainer.strategy.root_device, **kernels)  # only now is the device known
    _check_processes(trainer, flags)
    note_emulation(trainer)
    plugin = trainer.precision_plugin
    if type(plugin) is HalfPrecision:
        set_precision(trainer, _HalfInputs(plugin.precision))
    return trainer


def _in_order(ours: Sequence[Callback], theirs: Sequence[Callback]) -> list[Callback]:
    """Theirs come before most of ours, which may wait for what they log.

    But they see the learning rate of the step that begins, and their first point is not lost.
    """
    first = [each for each in ours if isinstance(each, LRDecay | FirstStep)]
    return [*first, *theirs, *(each for each in ours if each not in first)]


def _asked(flags: TrainerFlags, *names: str) -> str:
    """Names and values of those flags among `names` that have been set."""
    return ", ".join(f"{name} {value}" for name in names if (value := getattr(flags, name)) not in (None, "auto"))


def _profiler(asked: str | Profiler) -> str | Profiler:
    """What the Trainer takes for it: Lightning's own, but for the simple one."""
    if asked == "simple":
        return NarrowProfiler()
    return choose("profiler", asked, {name: name for name in PROFILERS}) if isinstance(asked, str) else asked


def _as_list(value: Any) -> list[Any]:
    """A flag's plugins as a list; the flag may name none, one, or a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) else [value]


def _check_processes(trainer: Trainer, flags: TrainerFlags) -> None:
    """Raises InputError if ranks would be copies of this process, one is missing, or they cannot share BatchNorm."""
    if copies_this_process(trainer):
        raise InputError(
            f"strategy {flags.strategy}: does not start the script anew for each device, as runs here need; ddp does"
        )
    if trainer.is_global_zero and not is_rank_zero():
        raise InputError(
            "RANK, LOCAL_RANK, NODE_RANK or SLURM_PROCID says that this process is one of several in a run, but it is"
            " the only one; unset it, or start the run by its launcher"
        )
    asked = trainer.num_devices * trainer.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ and asked != (started := int(os.environ["WORLD_SIZE"])):
        raise InputError(
            f"devices {trainer.num_devices}, num_nodes {trainer.num_nodes}: torchrun has started"
            f" {amount(started, 'process', 'processes')}; both flags have to say how many"
        )
    if flags.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise InputError("sync_batchnorm: torch supports it on GPUs only; on a CPU, leave it out")


class _HalfInputs(HalfPrecision):
    """Lightning's, but leaves targets as they are, so that metrics are not computed on rounded ones."""

    def convert_input(self, data: Any) -> Any:
        if not isinstance(data, tuple | list):
            return super().convert_input(data)
        inputs, *targets = data
        return super().convert_input(inputs), *targets


class _NoProfiler(PassThroughProfiler):
    """Lightning enters its profiler about sixty times a step; this one makes that nearly free."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager:  # type: ignore[override]  # it is only ever entered
        return self.nothing
