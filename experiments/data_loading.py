"""Dataset and DataLoader as tutorials have them, beside the whole batches that this project trains on.

    python experiments/data_loading.py                      embedded 32 x 32 images; no download
    python experiments/data_loading.py --batch_size 16      smaller batches
    python experiments/data_loading.py --workers 4          processes that read ahead

A `Dataset` returns one sample by its number, and a `DataLoader` collects samples to batches: it asks for them one by
one, in an order that its sampler draws, and `collate_fn` stacks them. That fits files that must be read and decoded one
by one, which worker processes can do ahead. Images that fit in memory can be had at once: a batch is one index into a
tensor, one division, and its augmentations are a few operations on the whole of it (datamodules/batches.py).

`orders.png` shows which of 22 samples are in which batch: `shuffle=True` draws anew in each epoch, a seeded generator
draws the same again, `drop_last=True` leaves out a last batch that is not full. For whole batches the order follows
from seed and epoch alone, so that a resumed run continues it.

`speeds.png` shows images per second. All ways yield the same batches, to the last bit. Whole batches are five to ten
times as fast as samples one by one, whose time goes to Python; for images as small as these, workers are no help,
because batches must be carried from process to process.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from basics.errors import InputError
from datamodules import CIFAR10
from datamodules.batches import Batch, Rows, TrainBatches
from experiments.fundamentals.loading_figures import draw_orders, draw_speeds
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags
from harness.training.trainer import keep_freed_memory

FEW, OF_FEW = 22, 5  # samples, and their number in a batch, of the figure of orders: the last batch has two
TURN = 0.3  # seconds of each turn at least, so that the clock and other processes matter little
WHOLE = "whole batches, as here"
EXPLAINED = {  # in the figure
    "Dataset": "__getitem__ for each image, then stacked",
    "list, own collate_fn": "bytes stacked, then scaled at once",
    "TensorDataset": "rows of a tensor one by one, then stacked",
    "TensorDataset, batch_size=None": "a batch by one index into a tensor",
    WHOLE: "a batch by one index into bytes, then scaled",
}
TRY_NEXT = "--batch_size 16  # smaller batches: what costs time per batch, and what per image?"


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images one at a time, as a tutorial has them.

    Args:
        images: uint8, (N, H, W, C).
        labels: (N,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1)  # (H, W, C) -> (C, H, W)
        return image.float() / 255, int(self.labels[index])


def collate(samples: Sequence[tuple[np.ndarray, int]]) -> Batch:
    """A batch from samples as they are stored: stacks bytes, then scales all of them at once."""
    images, labels = zip(*samples, strict=True)
    whole = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)
    return whole.float() / 255, torch.tensor(np.array(labels, dtype=np.int64))


def loaders(data: CIFAR10, workers: int) -> dict[str, Iterable[Batch]]:
    """Ways to make the batches of the first epoch; all yield the same ones."""
    batches = data.train_dataloader()
    numbers = [batches.samples(number) for number in range(len(batches))]  # of the images in each batch
    images, labels = data.arrays.train_images, data.arrays.train_labels
    pictures = Pictures(images, labels)
    pairs: Any = [*zip(images, labels, strict=True)]  # whatever has a length and an index is a data set
    tensors = TensorDataset(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, torch.from_numpy(labels).long())
    ways: dict[str, Iterable[Batch]] = {"Dataset": DataLoader(pictures, batch_sampler=numbers)}
    if workers:
        ways[f"Dataset, num_workers={workers}"] = DataLoader(
            pictures, batch_sampler=numbers, num_workers=workers, persistent_workers=True
        )
    more: dict[str, Iterable[Batch]] = {
        "list, own collate_fn": DataLoader(pairs, batch_sampler=numbers, collate_fn=collate),
        "TensorDataset": DataLoader(tensors, batch_sampler=numbers),
        "TensorDataset, batch_size=None": DataLoader(tensors, sampler=numbers, batch_size=None),  # a batch by one index
        WHOLE: batches,
    }
    return ways | more


def largest_difference(ways: Mapping[str, Iterable[Batch]]) -> float:
    """Of any pixel or label of any batch, between the first way and another."""
    first, *others = (list(batches) for batches in ways.values())
    pairs = [pair for batches in others for pair in zip(first, batches, strict=True)]
    return max(float((mine - its).abs().max()) for one, other in pairs for mine, its in zip(one, other, strict=True))


def images_per_second(batches: Iterable[Batch]) -> float:
    """Over as many epochs as fit in `TURN` seconds."""
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < TURN:
        count += sum(len(labels) for _, labels in batches)
    return count / passed


def orders(seed: int) -> dict[str, list[list[int]]]:
    """The samples of each batch, of a data set whose samples are the numbers 0, 1, 2, ..."""
    numbers = TensorDataset(torch.arange(FEW))
    load = partial(DataLoader, numbers, batch_size=OF_FEW)
    shuffled = load(shuffle=True, generator=torch.Generator().manual_seed(seed))
    again = load(shuffle=True, generator=torch.Generator().manual_seed(seed))
    dropping = load(shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(seed))
    return {
        "shuffle=False": _samples(load()),
        f"shuffle=True, seed {seed}: epoch 1": _samples(shuffled),
        "its epoch 2": _samples(shuffled),
        f"seed {seed} again: epoch 1": _samples(again),
        "the same with drop_last=True": _samples(dropping),
        f"whole batches, seed {seed}: epoch 1": _samples(_whole_batches(seed, epoch=0)),
        "their epoch 2": _samples(_whole_batches(seed, epoch=1)),
    }


def _whole_batches(seed: int, epoch: int) -> TrainBatches:
    numbers = np.arange(FEW)
    return TrainBatches(Rows(numbers, numbers, torch.device("cpu")), numbers, OF_FEW, seed, lambda: epoch)


def _samples(batches: Iterable[Sequence[Tensor]]) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


@dataclass(frozen=True, kw_only=True)
class LoadingFlags(StudyFlags):
    """The batches, and how they are timed.

    Args:
        batch_size: images in a batch.
        workers: processes of the DataLoader that has some; 0: leave it out.
        turns: how often each way is timed, all of them in turn.
        sample: use the embedded shapes; false: CIFAR-10.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
        seed: of the validation split, and of the order of batches.
    """

    batch_size: int = 128
    workers: int = 2
    turns: int = 5
    sample: bool = True
    data_dir: str = "data"
    seed: int = 0


DEFAULTS = LoadingFlags()


def main(flags: LoadingFlags = DEFAULTS) -> dict[str, Any]:
    """Makes the same batches in several ways, times each, and shows the order of samples."""
    for name, least in {"batch_size": 2, "workers": 0, "turns": 1}.items():
        if getattr(flags, name) < least:
            raise InputError(f"{name} {getattr(flags, name)}: must be at least {least}")
    data = CIFAR10(flags.data_dir, flags.batch_size, flags.seed, sample=flags.sample)
    data.prepare_data()
    data.setup()
    if flags.batch_size > len(data.train_indices):
        raise InputError(f"batch_size {flags.batch_size}: there are only {len(data.train_indices):,} training images")
    torch.set_num_threads(1)  # as each worker has
    keep_freed_memory()  # as in every training here
    study = Study("data_loading", flags, try_next=TRY_NEXT)
    print(data.describe())
    ways = loaders(data, flags.workers)
    difference = largest_difference(ways)  # starts the workers too
    speeds = _measure(ways, flags.turns)
    medians = {name: float(np.median(turns)) for name, turns in speeds.items()}
    _print_speeds(medians)
    metrics: dict[str, Any] = {"largest_difference": difference, "times_as_fast": medians[WHOLE] / medians["Dataset"]}
    explained = {name: EXPLAINED.get(name, f"the same in {flags.workers} processes, ahead") for name in speeds}
    figures = {"orders": draw_orders(orders(flags.seed), FEW), "speeds": draw_speeds(speeds, explained)}
    return study.conclude(metrics | {"images_per_second": medians, "batches": len(data.train_dataloader())}, figures)


def _measure(ways: Mapping[str, Iterable[Batch]], turns: int) -> dict[str, list[float]]:
    """Images per second of each way, turn by turn, so that whatever slows the machine down slows all of them."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, batches in ways.items():
            speeds[name].append(images_per_second(batches))
    return speeds


def _print_speeds(medians: Mapping[str, float]) -> None:
    print(f"\n{'batches by':<34}{'images per second':>18}")
    for name, speed in medians.items():
        print(f"{name:<34}{speed:>18,.0f}{speed / medians['Dataset']:>9.1f} x")
    print()


if __name__ == "__main__":
    cli(main)
