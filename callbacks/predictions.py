"""What a model says of each sample of an evaluation, without a pass of its own over the data."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Predictions(Callback):
    """Calls `use(trainer, pl_module, outputs, labels)` on rank zero at the end of a test and of every N-th validation.

    The outputs, (N, ...), are what the evaluation steps return for each sample, and the labels, (N, ...), the last
    parts of the batches, both on the CPU and in the order of the data. `use` is not called if steps return None. Of n
    ranks, rank r is expected to get every n-th sample, starting with r. Training steps cost nothing.

    Raises:
        ValueError: `every` is below 1.
    """

    def __init__(self, use: Callable[[Trainer, LightningModule, Tensor, Tensor], None], every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"pictures_every {every}: must be at least 1 epoch, or 0 for the end of training only")
        self.use, self.every = use, every
        self.seen: list[tuple[Tensor, Tensor]] = []  # this rank's part of the current evaluation

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *numbers: int
    ) -> None:
        if self._is_due(trainer):
            self._keep(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hand_on(trainer, pl_module)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *numbers: int
    ) -> None:
        self._keep(outputs, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hand_on(trainer, pl_module)

    def _is_due(self, trainer: Trainer) -> bool:
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every == 0

    def _keep(self, outputs: Any, batch: Any) -> None:
        if outputs is not None:
            self.seen.append((outputs, batch[-1]))

    def _hand_on(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.seen:
            return
        outputs, labels = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        self.seen = []
        if trainer.world_size > 1:
            outputs, labels = _gather(pl_module, outputs), _gather(pl_module, labels)
        if trainer.is_global_zero:
            self.use(trainer, pl_module, outputs.float().cpu(), labels.cpu())


def _gather(pl_module: LightningModule, own: Tensor) -> Tensor:
    """All ranks' rows, (N, ...), in the order of the data, from each rank's own, (n, ...)."""
    counts = pl_module.all_gather(torch.tensor(len(own), device=own.device))
    longest, total = int(counts.max()), int(counts.sum())
    padding = [0, 0] * (own.ndim - 1) + [0, longest - len(own)]  # one row, on the last ranks, if N is not a multiple
    rows = pl_module.all_gather(F.pad(own, padding))  # (ranks, n, ...)
    return rows.transpose(0, 1).flatten(0, 1)[:total]  # (n, ranks, ...) -> (N, ...)
