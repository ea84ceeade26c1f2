"""How time and memory grow with the amount of data, and with the network and the batch size.

    python benchmarks/growth.py                      LeNet-5 on MNIST at 1, 2 and 4 times 12,000 images; CIFAR nets
    python benchmarks/growth.py --sample true        the same on small samples; no download

Each line is measured in a process of its own, with its peak resident memory (on CUDA: peak allocated device memory).
"""

import contextlib
import io
import multiprocessing
import resource
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor

import torch
from jsonargparse import auto_cli

from datamodules import CIFAR10, MNIST, ImageData
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier


def train(data: ImageData, net: str, images: int, epochs: int, device: str) -> tuple[float, float]:
    """Seconds per epoch and peak memory in MiB of training on that many images."""
    warnings.filterwarnings("ignore")
    data.prepare_data()
    data.setup()
    data.train_indices = data.train_indices[:images]
    some = slice(data.batch_size)  # else the test, with its large batches, would set the peak
    data.arrays = data.arrays._replace(
        test_images=data.arrays.test_images[some], test_labels=data.arrays.test_labels[some]
    )
    model = Classifier(net, data.input_shape, data.num_classes, data.mean, data.std, lr=0.01)
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        flags = FitFlags(
            max_epochs=epochs,
            channels_last=True,
            pictures=False,
            run_dir=runs,
            accelerator=device,
            devices=1,
            num_sanity_val_steps=0,
            monitor="val/loss",
        )
        metrics = fit_and_test("growth", model, data, flags).metrics
    if device == "cuda":
        return metrics["seconds"] / epochs, torch.cuda.max_memory_allocated() / 2**20
    return metrics["seconds"] / epochs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def alone(*args) -> tuple[float, float]:
    """`train` in a fresh process, since the peak of a process's memory never falls."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train, *args).result()


def main(
    data_dir: str = "data",
    images: int = 12000,
    nets: list[str] = ["cnn", "speednet", "resnet18", "vgg16", "googlenet", "densenet_bc_100_12"],  # noqa: B006
    batch_sizes: list[int] = [32, 128],  # noqa: B006
    sample: bool = False,
    device: str = "cpu",
) -> None:
    """Measures and prints two tables.

    Args:
        data_dir: folder of MNIST and CIFAR-10, which are downloaded if missing.
        images: number of training images at 1x.
        nets: networks of the second table; each takes two training steps.
        batch_sizes: batch sizes of the second table.
        sample: use the embedded samples, which need no files.
        device: cpu or cuda.
    """
    images = 300 if sample else images
    print("| data | images | seconds per epoch | of 1x | peak memory, MiB |\n| --- | ---: | ---: | ---: | ---: |")
    first = None
    for times in (1, 2, 4):
        data = MNIST(data_dir, 128, val_size=100, sample=sample)
        seconds, memory = alone(data, "lenet5", images * times, 3, device)
        first = first or seconds
        print(f"| {times}x | {images * times:,} | {seconds:.2f} | {seconds / first:.2f} | {memory:,.0f} |", flush=True)
    print("\n| net | batch size | peak memory, MiB |\n| --- | ---: | ---: |")
    for net in nets:
        for batch_size in batch_sizes:
            data = CIFAR10(data_dir, batch_size, val_size=10, sample=sample)
            _, memory = alone(data, net, 2 * batch_size, 1, device)
            print(f"| {net} | {batch_size} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    auto_cli(main)
