"""How much of a bare torch loop's speed our runs keep, and how a usual pipeline compares.

    python benchmarks/overhead.py                      LeNet-5 on MNIST, batches of 64 and 256
    python benchmarks/overhead.py --data_dir DIR --rounds 9

Three ways to train the same network on the same images, each with the same validation after it:
    bare    a loop of torch calls over uint8 tensors: gather, scale, normalise, forward, backward, step
    ours    harness/training/fit.py as every script calls it: Trainer, callbacks, curves of loss and
            accuracy for TensorBoard, the progress bar on a terminal, best and last checkpoint
    usual   Trainer with a DataLoader, torchvision transforms for each image, torchmetrics, a rich bar
They take turns in one process on one thread; the figure is the median of the rounds' ratios.
`--device cuda` measures on an accelerator.
"""

import contextlib
import logging
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
import torchmetrics
import torchvision.transforms.v2 as T
from jsonargparse import auto_cli
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.stopping import Terminal
from datamodules import MNIST
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier
from lit_modules.nets import build_net

LR, MOMENTUM = 0.05, 0.9


def bare(data: MNIST, epochs: int, device: str) -> float:
    """Seconds that a bare torch loop takes."""
    images, labels = torch.from_numpy(data.arrays.train_images), torch.from_numpy(data.arrays.train_labels).long()
    images, labels = images.to(device), labels.to(device)
    train, val = torch.from_numpy(data.train_indices), torch.from_numpy(data.val_indices).to(device)
    mean, std = data.mean[0], data.std[0]
    net = build_net("lenet5", data.input_shape, data.num_classes).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)

    def batch(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (images[indices].unsqueeze(1).float().div_(255) - mean) / std, labels[indices]

    start = time.perf_counter()
    for _ in range(epochs):
        net.train()
        for indices in train[torch.randperm(len(train))].to(device).split(data.batch_size):
            x, y = batch(indices)
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            for indices in val.split(512):
                x, y = batch(indices)
                F.cross_entropy(net(x), y)
        if device == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - start


def ours(data: MNIST, epochs: int, device: str) -> float:
    """Seconds that training as in the scripts takes."""
    model = Classifier("lenet5", data.input_shape, data.num_classes, data.mean, data.std, lr=LR, momentum=MOMENTUM)
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(Terminal()):
        flags = FitFlags(max_epochs=epochs, accelerator=device, devices=1, lr_decay="cosine", pictures=False)
        return fit_and_test("bench", model, data, replace(flags, run_dir=runs)).metrics["seconds"]


class ImageFiles(Dataset):
    """One image at a time, through PIL and torchvision's transforms, as in tutorials."""

    def __init__(self, data: MNIST, indices) -> None:
        self.images, self.labels, self.indices = data.arrays.train_images, data.arrays.train_labels, indices
        steps = [T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize(data.mean, data.std)]
        self.transform = T.Compose(steps)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        index = self.indices[number]
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class UsualModule(LightningModule):
    """Logs loss and accuracy as most Lightning projects do: `self.log` and a torchmetrics object at each step."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net
        self.train_acc = torchmetrics.Accuracy("multiclass", num_classes=10)
        self.val_acc = torchmetrics.Accuracy("multiclass", num_classes=10)

    def training_step(self, batch, batch_idx: int) -> torch.Tensor:
        x, y = batch
        logits = self.net(x)
        loss = F.cross_entropy(logits, y)
        self.train_acc(logits, y)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx: int) -> None:
        x, y = batch
        logits = self.net(x)
        self.val_acc(logits, y)
        self.log("val/loss", F.cross_entropy(logits, y), on_step=False, on_epoch=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True, prog_bar=True)

    def on_train_start(self) -> None:
        self.started = time.perf_counter()

    def on_train_end(self) -> None:
        self.seconds = time.perf_counter() - self.started

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)


def usual(data: MNIST, epochs: int, device: str) -> float:
    """Seconds that the pipeline of most projects takes."""
    model = UsualModule(build_net("lenet5", data.input_shape, data.num_classes))
    train = DataLoader(ImageFiles(data, data.train_indices), batch_size=data.batch_size, shuffle=True)
    val = DataLoader(ImageFiles(data, data.val_indices), batch_size=512)
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(Terminal()):
        trainer = Trainer(
            max_epochs=epochs,
            accelerator=device,
            devices=1,
            callbacks=[RichProgressBar()],
            logger=TensorBoardLogger(runs),
            enable_model_summary=False,
        )
        trainer.fit(model, train, val)
    return model.seconds


def measure(data: MNIST, epochs: int, rounds: int, device: str) -> None:
    """Lets the three take turns and prints the medians."""
    ways: dict[str, Callable[[MNIST, int, str], float]] = {"bare": bare, "ours": ours, "usual": usual}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            took = way(data, epochs, device)
            if turn:  # the first round warms up
                seconds[name].append(took)
    images = len(data.train_indices) * epochs
    for name, took in seconds.items():
        ratios = [bare / own for bare, own in zip(seconds["bare"], took, strict=True)]
        print(
            f"batch {data.batch_size:4}  {name:6} {images / statistics.median(took):8,.0f} images/s"
            f"  {statistics.median(ratios):.3f} of bare  (rounds {min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


def memory_by_epoch(epochs: int) -> None:
    """Trains on the sample and prints the peak of resident memory, which must not grow with the epochs."""
    peaks = {}
    for count in (epochs // 10, epochs):
        data = MNIST(sample=True, batch_size=64)
        data.setup()
        ours(data, count, "cpu")
        peaks[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(", ".join(f"{peak:,.0f} MiB after {count} epochs" for count, peak in peaks.items()))


def main(data_dir: str = "data", images: int = 12800, rounds: int = 7, epochs: int = 1, device: str = "cpu") -> None:
    """Measures and prints the results.

    Args:
        data_dir: folder of MNIST, which is downloaded if missing.
        images: number of training images per round.
        rounds: number of turns for each way.
        epochs: passes over these images in each turn.
        device: cpu or cuda.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for batch_size in (64, 256):
        data = MNIST(data_dir, batch_size=batch_size, val_size=1000)
        data.prepare_data()
        data.setup()
        data.train_indices = data.train_indices[:images]
        measure(data, epochs, rounds, device)
    memory_by_epoch(100)


if __name__ == "__main__":
    auto_cli(main)
