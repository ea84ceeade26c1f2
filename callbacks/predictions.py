"""What a model says of each sample of an evaluation, without a pass of its own over the data."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from basics.errors import InputError
from basics.gathered_rows import gather_rows

Use = Callable[[Trainer, LightningModule, Tensor, Tensor], None]


class _Outputs(Callback):
    """Gathers what the evaluation steps return of each sample, and the last parts of the batches."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []  # this rank's part of the current evaluation

    def _keep(self, outputs: Any, batch: Any) -> None:
        labels = batch[-1] if isinstance(batch, tuple | list) else None
        if not isinstance(outputs, Tensor) or not isinstance(labels, Tensor):
            return  # other modules return dicts, or nothing
        if outputs.ndim and outputs.shape[:1] == labels.shape[:1]:  # and not a loss
            self.seen.append((outputs, labels))

    def _take(self, trainer: Trainer, pl_module: LightningModule) -> tuple[Tensor, Tensor] | None:
        """All ranks' outputs and labels, on the CPU and in the order of the data; None where steps return None.

        It is also None where the shapes of samples differ.
        """
        if not self.seen:
            return None
        seen, self.seen = self.seen, []
        shapes = {(outputs.shape[1:], labels.shape[1:]) for outputs, labels in seen}
        alike = len(shapes) == 1 and shapes == trainer.strategy.broadcast(shapes)
        if not trainer.strategy.reduce_boolean_decision(alike):
            return None  # another's module, of sequences or images of different sizes
        outputs, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
        if trainer.world_size > 1:
            outputs, labels = gather_rows(pl_module, outputs), gather_rows(pl_module, labels)
        return outputs.float().cpu(), labels.cpu()


class Predictions(_Outputs):
    """Calls `use(trainer, pl_module, outputs, labels)` on rank zero after a training's validation, every N epochs.

    The outputs, (N, ...), are what the evaluation steps return for each sample, and the labels, (N, ...), the last
    parts of the batches, both on the CPU and in the order of the data. `use` is not called if steps return None. Of n
    ranks, rank r is expected to get every n-th sample, starting with r. Training steps cost nothing.

    Raises:
        InputError: `every` is below 1.
    """

    def __init__(self, use: Use, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"pictures_every {every}: must be at least 1 epoch, or 0 for the end of training only")
        self.use, self.every = use, every

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *numbers: int
    ) -> None:
        if self._is_due(trainer):
            self._keep(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (taken := self._take(trainer, pl_module)) and trainer.is_global_zero:
            self.use(trainer, pl_module, *taken)

    def _is_due(self, trainer: Trainer) -> bool:
        training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        return training and (trainer.current_epoch + 1) % self.every == 0


class TestOutputs(_Outputs):
    """Keeps what the test said of each sample: `outputs` and `labels`, as `Predictions` has them, on each rank.

    Both are None before a test, and where its steps return None.
    """

    __test__ = False  # of pytest, which would take it for one by its name

    def __init__(self) -> None:
        super().__init__()
        self.outputs: Tensor | None = None
        self.labels: Tensor | None = None

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *numbers: int
    ) -> None:
        self._keep(outputs, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if taken := self._take(trainer, pl_module):
            self.outputs, self.labels = taken
