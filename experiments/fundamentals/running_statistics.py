"""BatchNorm's running statistics: how they follow the batches, and what training and evaluation make of them."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from callbacks import LRDecay
from datamodules import MNIST
from harness.tasks.study import quiet_trainer
from lit_modules import Classifier
from lit_modules.classifier import num_correct

MEAN, SPREAD, BATCH = 3.0, 2.0, 8  # of the numbers that a norm's running mean is shown with
RATE = 0.05 / 64  # learning rate for each image of a batch (Goyal et al. 2017: as many times the images, so the rate)
NORMS: dict[str, str | None] = {"none": None, "batch": "batch", "layer": "layer"}  # of the MLP


def running_means(momentum: float, batches: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The running mean of a BatchNorm after each batch, and the mean of each batch, both (batches,)."""
    generator = torch.Generator().manual_seed(seed)
    numbers = MEAN + SPREAD * torch.randn(batches, BATCH, 1, generator=generator)
    norm = nn.BatchNorm1d(1, momentum=momentum).train()
    followed = []
    for batch in numbers:
        norm(batch)
        assert norm.running_mean is not None
        followed.append(norm.running_mean.item())
    return np.array(followed), numbers.mean((1, 2)).numpy()


def train(data_seed: int, norm: str, batch_size: int, epochs: int) -> Classifier:
    """An MLP with this norm, trained on the embedded digits in batches of this size."""
    data = digits(data_seed, batch_size)
    seed_everything(data_seed, verbose=False)
    options: dict[str, Any] = {"widths": [64, 64], "norm": NORMS[norm]}
    model = Classifier(
        "mlp", data.input_shape, data.num_classes, data.mean, data.std, options, lr=RATE * batch_size, momentum=0.9
    )
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[LRDecay("linear")], limit_val_batches=0)
    trainer.fit(model, data)
    return model


def digits(seed: int, batch_size: int) -> MNIST:
    data = MNIST(batch_size=batch_size, seed=seed, sample=True)
    data.setup()
    return data


def images_to_test(data: MNIST) -> tuple[Tensor, Tensor]:
    """The test images, floats in 0..1, (N, 1, 28, 28), and labels, (N,)."""
    images = torch.from_numpy(data.arrays.test_images).unsqueeze(1).float() / 255
    return images, torch.from_numpy(data.arrays.test_labels).long()


@torch.no_grad()
def accuracy(model: Classifier, images: Tensor, labels: Tensor, order: list[Tensor], training: bool) -> float:
    """The share that the model gets right of images taken in batches.

    Args:
        order: indices of each batch.
        training: leave the model in the mode for training, where BatchNorm uses the batch's own statistics.
    """
    copy = deepcopy(model).train(training)  # for a pass in that mode changes the running statistics
    right = sum(int(num_correct(copy(images[batch]), labels[batch])) for batch in order)
    return right / sum(map(len, order))


def shuffled(count: int, batch_size: int, seed: int) -> list[Tensor]:
    """Indices in random order, in batches; a last one of a single image is left out, which has no variance."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return [batch for batch in order.split(batch_size) if len(batch) > 1]


def by_class(labels: Tensor) -> list[Tensor]:
    """Indices in batches that each hold all images of one class."""
    return [(labels == label).nonzero().flatten() for label in labels.unique()]


def score(seed: int, norm: str, batch_size: int, epochs: int) -> dict[str, float]:
    """Test accuracies of a trained network, by mode and by the batches that the images come in."""
    model, (images, labels) = train(seed, norm, batch_size, epochs), images_to_test(digits(seed, batch_size))
    ways = {
        "eval": (shuffled(len(labels), 64, seed), False),
        "train, batches of 64": (shuffled(len(labels), 64, seed), True),
        "train, batches of 4": (shuffled(len(labels), 4, seed), True),
        "train, one class in each": (by_class(labels), True),
    }
    return {way: accuracy(model, images, labels, *batches) for way, batches in ways.items()}
