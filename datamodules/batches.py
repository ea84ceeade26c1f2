"""Loaders that yield whole batches of (images, labels) or (rows, targets), ready on the device.

The images stay uint8 where they are; a batch is one gather, one scaling, and the augmentations.
Neither loader needs workers. Lightning leaves them alone on several devices, because they know
their rank themselves and are not a `DataLoader`.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.augment import Augmentation, Moment
from datamodules.balance import balanced_draw

Batch = tuple[Tensor, Tensor]


class Images:
    """Images and labels: on `device` if they fit there, otherwise in pinned host memory, or else on the disk.

    Args:
        images: uint8, (N, H, W) or (N, H, W, 3).
        labels: uint8 or uint16, (N,); or floats, (N, ...), that are no numbers of classes.
        device: where batches are wanted.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, device: torch.device) -> None:
        self.device = device
        self.images = _place(images, device)
        self.home = self.images.device  # where indices have to be
        targets = torch.from_numpy(labels)
        if targets.is_floating_point():
            self.labels = (targets.float() if device.type == "mps" else targets).to(device)  # MPS has no float64
        else:
            self.labels = targets.long().to(device)  # 8 bytes each, which always fit

    def take(self, indices: Tensor) -> Batch:
        """Images as floats in 0..1, (B, C, H, W), and labels, (B, ...), at `indices`, (B,)."""
        # On a CPU, images[indices] copies byte by byte, which takes twenty times as long.
        images = self.images.index_select(0, indices.to(self.images.device)).to(self.device, non_blocking=True)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (B, C, H, W)
        return images.float().div_(255), self.labels[indices.to(self.device)]


class Masked:
    """Images as in `Images`, and the class of each of their pixels, in the same memory.

    Args:
        images: uint8, (N, H, W) or (N, H, W, 3).
        masks: uint8, (N, H, W).
        device: where batches are wanted.
    """

    def __init__(self, images: np.ndarray, masks: np.ndarray, device: torch.device) -> None:
        self.images, self.device = Images(images, np.zeros(len(images), np.uint8), device), device
        self.home = self.images.home
        self.masks = torch.from_numpy(masks).to(self.home)

    def take(self, indices: Tensor) -> Batch:
        """Images as floats in 0..1, (B, C, H, W), and masks, uint8, (B, H, W), at `indices`, (B,)."""
        images, _ = self.images.take(indices)
        return images, self.masks[indices.to(self.home)].to(self.device)


class Rows:
    """A table's rows, (N, F), and their targets, (N,), on `device`."""

    def __init__(self, rows: np.ndarray, targets: np.ndarray, device: torch.device) -> None:
        self.device = self.home = device
        self.rows, self.targets = torch.from_numpy(rows).to(device), torch.from_numpy(targets).to(device)

    def take(self, indices: Tensor) -> Batch:
        """Rows, (B, F), and targets, (B,), at `indices`, (B,)."""
        indices = indices.to(self.device)
        return self.rows[indices], self.targets[indices]


class Part(NamedTuple):
    """Which part of each global batch is a rank's."""

    rank: int = 0
    world_size: int = 1


WHOLE = Part()


class TrainBatches:
    """Shuffled batches of one epoch, this rank's part of each.

    The order is a permutation that follows from (seed, epoch). It is cut into global batches of
    batch_size * world_size, and these are divided among the ranks: one device and two see the same global batches.
    Before each batch torch is reseeded from (seed, epoch, batch, rank), so that augmentation and
    dropout follow from these too, and a resumed run needs no random state. Every image is seen
    once per epoch, except for a last batch of fewer than two images per rank, which BatchNorm cannot
    use, and at most a few left-over images, fewer than ranks, which would make the parts unequal.
    With `balance` an epoch has as many images, but equally many of each class (see `balance.py`).

    Args:
        data: the samples to draw from.
        indices: which of them belong to the training split, (N,).
        batch_size: images per device and step.
        epoch: returns the number of the epoch that is about to start.
        augmentations: applied to each batch in this order.
        epochs: in the run, for augmentations that depend on it.
        part: this rank's of each global batch.
        balance: the labels at `indices`, (N,), if equally many of each are to be drawn.
    """

    def __init__(
        self,
        data: Images | Masked | Rows,
        indices: np.ndarray,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        augmentations: Sequence[Augmentation] = (),
        epochs: int = -1,
        part: Part = WHOLE,
        balance: np.ndarray | None = None,
    ) -> None:
        self.balance = balance
        self.data, self.indices, self.batch_size = data, indices, batch_size
        self.seed, self.epoch, self.epochs, self.augmentations = seed, epoch, epochs, augmentations
        self.rank, self.world_size = part
        self._position: dict[str, int] = {}  # in the current epoch
        self._resume_at: dict[str, int] = {}  # in an interrupted one, until it continues

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size * self.world_size)
        return whole + (rest >= 2 * self.world_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        order = self._order(epoch).to(self.data.home)  # nothing else crosses the bus in this epoch
        seeds = np.random.SeedSequence((self.seed, epoch, self.rank)).generate_state(len(self), np.uint64)
        start = self._resume_at["batches"] if self._resume_at.get("epoch") == epoch else 0
        self._resume_at = {}
        for batch in range(start, len(self)):
            # At a batch boundary, where checkpoints are written, every batch yielded has been trained on.
            self._position = {"epoch": epoch, "batches": batch + 1}
            reseed(int(seeds[batch]), self.data.device)
            part = self._part(order, batch)
            images, labels = self.data.take(part)
            yield self._augment(images, labels, Moment(part.to(images.device), epoch, self.epochs))

    def _augment(self, images: Tensor, labels: Tensor, moment: Moment) -> Batch:
        for augmentation in self.augmentations:
            images = augmentation(images, moment)
        return images, labels

    def samples(self, batch: int) -> list[int]:
        """Which of the data are in this rank's part of a batch of the current epoch."""
        return self._part(self._order(self.epoch()), batch).tolist()

    def _order(self, epoch: int) -> Tensor:
        rng = np.random.default_rng((self.seed, epoch))
        if self.balance is not None:
            return torch.from_numpy(self.indices[balanced_draw(self.balance, rng)])
        return torch.from_numpy(rng.permutation(self.indices))

    def _part(self, order: Tensor, batch: int) -> Tensor:
        """This rank's equal share of global batch number `batch`."""
        size = self.batch_size * self.world_size
        share = min(size, len(order) - batch * size) // self.world_size
        start = batch * size + self.rank * share
        return order[start : start + share]

    def state_dict(self) -> dict[str, Any]:
        return dict(self._position)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._position = self._resume_at = dict(state)


class EvalBatches:
    """Every image exactly once over all ranks together, in order and never augmented.

    All ranks get the same number of batches, since networks with BatchNorm synchronise their
    buffers at each; the last may be smaller on some ranks, or empty.
    """

    def __init__(self, data: Images | Masked | Rows, indices: np.ndarray, batch_size: int, part: Part = WHOLE) -> None:
        self.data, self.indices, self.batch_size = data, torch.from_numpy(indices), batch_size
        self.rank, self.world_size = part

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        for whole in self.indices.split(self.batch_size * self.world_size):
            yield self.data.take(whole[self.rank :: self.world_size])

    def take(self, positions: Tensor) -> Batch:
        """The samples at these positions in the order, (B,), whichever rank they belong to."""
        return self.data.take(self.indices[positions])


def reseed(seed: int, device: torch.device) -> None:
    """Seeds the generators that a batch on `device` draws from, the CPU's and the device's.

    `torch.manual_seed` seeds every possible kind of device and takes 0.2 ms a call; this takes 2 us.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def _place(images: np.ndarray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about arrays that are not to be written to, which these are not
        tensor = torch.from_numpy(images)
    if device.type == "cpu":
        return tensor
    # Half of the free memory is left to the network.
    if device.type != "cuda" or tensor.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return tensor.to(device)
    # Of more than the machine's memory, the system reads from the disk what each batch needs.
    return tensor.pin_memory() if tensor.nbytes < host_memory() / 2 else tensor


def host_memory() -> float:
    """Bytes of this machine's memory; infinite if the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # on Windows
        return math.inf
