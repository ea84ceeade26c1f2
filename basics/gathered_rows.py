"""Rows of an evaluation that several ranks have had in turns, put together again."""

from typing import cast

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor


def gather_rows(pl_module: LightningModule, own: Tensor) -> Tensor:
    """All ranks' rows, (N, ...), in the order of the data, from each rank's own, (n, ...): of R ranks, every R-th."""
    counts = _all_gather(pl_module, torch.tensor(len(own), device=own.device))
    longest, total = int(counts.max()), int(counts.sum())
    padding = [0, 0] * (own.ndim - 1) + [0, longest - len(own)]  # one row, on the last ranks, if N is not a multiple
    rows = _all_gather(pl_module, F.pad(own, padding))  # (ranks, n, ...)
    return rows.transpose(0, 1).flatten(0, 1)[:total]  # (n, ranks, ...) -> (N, ...)


def _all_gather(pl_module: LightningModule, own: Tensor) -> Tensor:
    return cast(Tensor, pl_module.all_gather(own))  # of a tensor it makes a tensor, of a dict a dict
