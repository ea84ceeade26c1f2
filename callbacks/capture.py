"""Training steps as CUDA graphs, if the run allows it."""

from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from callbacks.captured_step import CapturedStep, CudaGraphs, Graphs, Learner


class Capturable(Learner, Protocol):
    """A module that calls `captured` in place of `learn`, where it has one."""

    captured: CapturedStep | None


class Capture(Callback):
    """Lets the module's `learn` run as recorded graphs while it is trained (see `captured_step.py`).

    Args:
        asked: whether to say so if it is impossible, as on a CPU or for a module without `learn`.
        compiled: whether the network is compiled; it then launches its kernels in its own way.
    """

    def __init__(self, asked: bool = False, compiled: bool = False) -> None:
        self.asked, self.compiled = asked, compiled

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        graphs = graphs_of(trainer)
        if reason := self._obstacle(trainer, pl_module, graphs):
            if self.asked:
                _say(trainer, f"capture: the step runs eagerly, for {reason}")
            return
        assert graphs is not None  # which would have been an obstacle
        module = cast(Capturable, pl_module)  # it has `learn`, as `_obstacle` has seen
        module.captured = CapturedStep(module, graphs, say=lambda line: _say(trainer, line))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if step := _captured(pl_module):
            step.accumulates = trainer.accumulate_grad_batches > 1  # a callback may have changed it
            if batch_idx == 0:  # layers may be frozen or unfrozen between epochs
                step.look_at_module()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(pl_module)

    def _end(self, pl_module: LightningModule) -> None:
        if step := _captured(pl_module):
            step.end()
            cast(Capturable, pl_module).captured = None  # it has one

    def _obstacle(self, trainer: Trainer, pl_module: LightningModule, graphs: Graphs | None) -> str:
        """Why the step cannot be recorded; "" if it can."""
        if not hasattr(pl_module, "learn"):
            return f"{type(pl_module).__name__} has no `learn` that could be recorded"
        if graphs is None:
            return f"graphs are CUDA's, and this is {trainer.strategy.root_device.type}"
        if self.compiled:
            return "the network is compiled"
        if torch.is_anomaly_enabled():
            return "--detect_anomaly looks at each number in it"
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            return f"{type(trainer.strategy).__name__} takes the network apart"
        synchronised = any(isinstance(part, nn.SyncBatchNorm) for part in pl_module.modules())
        return "SyncBatchNorm waits for other devices within it" if synchronised else ""


def graphs_of(trainer: Trainer) -> Graphs | None:
    """What makes graphs on the device of a training; None if nothing does."""
    return CudaGraphs() if trainer.strategy.root_device.type == "cuda" else None


def _captured(pl_module: LightningModule) -> CapturedStep | None:
    return getattr(pl_module, "captured", None)


def _say(trainer: Trainer, line: str) -> None:
    if trainer.is_global_zero:
        print(line, flush=True)
