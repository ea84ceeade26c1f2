"""How fast training batches are made: this project's whole-batch loader against torchvision's per-image pipeline.

    python benchmarks/pipeline.py                    CIFAR-10, random crop, flip and normalisation
    python benchmarks/pipeline.py --sample true      on generated shapes; no download

Both sides make the same kind of batch, float and normalised, with two CPU threads or two worker processes. They
take turns; the figure is the median of the rounds' ratios.
"""

import statistics
import time
from collections.abc import Iterable, Iterator

import torch
import torchvision.transforms.v2 as T
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules import CIFAR10

WARM_UP = 5  # batches to skip until the workers have filled their queues


class ImageFiles(Dataset):
    """One image at a time, through PIL and torchvision's transforms, as in torchvision.datasets.CIFAR10."""

    def __init__(self, data: CIFAR10) -> None:
        self.images, self.labels, self.indices = data.arrays.train_images, data.arrays.train_labels, data.train_indices
        self.transform = T.Compose(
            [
                T.RandomCrop(32, padding=4),
                T.RandomHorizontalFlip(),
                T.ToImage(),
                T.ToDtype(torch.float32, scale=True),
                T.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        index = self.indices[number]
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def ours(data: CIFAR10) -> Iterator[Tensor]:
    """Batches as in `Classifier`, whose first step is the normalisation."""
    mean, scale = torch.tensor(data.mean).view(-1, 1, 1), 1 / torch.tensor(data.std).view(-1, 1, 1)
    for images, _ in data.train_dataloader():
        yield (images - mean) * scale


def usual(data: CIFAR10, workers: int) -> Iterator[Tensor]:
    loader = DataLoader(ImageFiles(data), batch_size=data.batch_size, shuffle=True, num_workers=workers)
    for images, _ in loader:
        yield images


def images_per_second(batches: Iterable[Tensor]) -> float:
    """The speed over one pass, without the start of the workers."""
    count, start = 0, 0.0
    for number, images in enumerate(batches):
        if number == WARM_UP:
            start = time.perf_counter()
        elif number > WARM_UP:
            count += len(images)
    return count / (time.perf_counter() - start)


def main(
    data_dir: str = "data",
    batch_size: int = 128,
    images: int = 12800,
    rounds: int = 7,
    workers: int = 2,
    sample: bool = False,
) -> None:
    """Measures and prints the results.

    Args:
        data_dir: folder of CIFAR-10, which is downloaded if missing.
        images: number of training images per round.
        rounds: number of turns for each side.
        workers: worker processes of the DataLoader; ours gets as many threads.
        sample: use generated images, which need no files.
    """
    torch.set_num_threads(max(workers, 1))
    data = CIFAR10(data_dir, batch_size, augment="crop:4,flip", sample=sample)
    data.prepare_data()
    data.setup()
    data.train_indices = data.train_indices[:images]
    speeds: dict[str, list[float]] = {"ours": [], "usual": []}
    for _ in range(rounds):
        speeds["ours"].append(images_per_second(ours(data)))
        speeds["usual"].append(images_per_second(usual(data, workers)))
    ratios = [ours / usual for ours, usual in zip(*speeds.values(), strict=True)]
    for name, rates in speeds.items():
        median = statistics.median(rates)
        print(f"{name:6} {median:9,.0f} images/s  {median / batch_size:7,.0f} batches of {batch_size} a second")
    print(f"ours / usual: {statistics.median(ratios):.1f}  (rounds {min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    auto_cli(main)
