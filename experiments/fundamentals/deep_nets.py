"""Plain and residual networks of any depth, trained on small images: what depth.py compares."""

from typing import Any, NamedTuple

import numpy as np
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from callbacks.gradient_norms import gradient_norms
from datamodules import CIFAR10
from datamodules.arrays import ImageArrays, read_arrays
from experiments.fundamentals.few_images import FewImages, Settings
from experiments.fundamentals.training_curves import Curves
from harness.tasks.study import quiet_trainer
from lit_modules import Classifier

KINDS = {"plain": False, "residual": True}  # whether there are shortcuts
WIDTHS = (8, 16)  # channels at 16 x 16 and at 8 x 8 pixels; narrow, so that 50 layers train in seconds
Training = Settings  # images, epochs, rate, batch size, seed, and where the images come from


class SmallImages(FewImages):
    """The same few images of CIFAR-10 or its sample, at half their size."""

    image_shape = (16, 16, 3)

    def _make_sample(self) -> ImageArrays:
        return _halve_all(super()._make_sample())

    def _read(self) -> ImageArrays:
        return _halve_all(read_arrays(self.folder, CIFAR10.image_shape, self.num_classes))


def _halve_all(arrays: ImageArrays) -> ImageArrays:
    train, test = halve(arrays.train_images), halve(arrays.test_images)
    return ImageArrays(train, arrays.train_labels, test, arrays.test_labels)


def halve(images: np.ndarray) -> np.ndarray:
    """Images, uint8 (N, 2 H, 2 W, 3), with each square of four pixels replaced by its mean, uint8 (N, H, W, 3)."""
    count, height, width, channels = images.shape
    squares = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return squares.mean((2, 4), dtype=np.float32).round().astype(np.uint8)


class Outcome(NamedTuple):
    """What became of one network. Errors are shares of images, by epoch; norms are of gradients, by layer."""

    train_errors: list[float]  # as measured in training, while the weights change
    val_errors: list[float]
    initial: list[float]
    trained: list[float]


def net_options(residual: bool, depth: int) -> dict[str, Any]:
    """The options of `resnet_cifar`."""
    return {"depth": depth, "residual": residual, "widths": WIDTHS}


def prepare(training: Training) -> SmallImages:
    """The data, ready for use."""
    data = SmallImages(training)
    data.prepare_data()
    data.setup()
    return data


def train(training: Training, kind: str, depth: int) -> Outcome:
    """Trains a network of this kind and depth; the initial weights of both kinds follow from the seed."""
    data = prepare(training)
    batch = next(iter(data.train_dataloader()))  # the first one of the training
    seed_everything(training.seed, verbose=False)
    # Momentum and weight decay are those of He et al.
    options: dict[str, Any] = dict(lr=training.lr, momentum=0.9, nesterov=False, weight_decay=1e-4)
    net = net_options(KINDS[kind], depth)
    model = Classifier("resnet_cifar", data.input_shape, data.num_classes, data.mean, data.std, net, **options)
    initial = layer_norms(model, *batch)
    curves = Curves()
    trainer = quiet_trainer(max_epochs=training.max_epochs, callbacks=[curves], num_sanity_val_steps=0)
    trainer.fit(model, data)
    train_errors, val_errors = ([1 - share for share in its] for its in (curves.train_accuracies, curves.accuracies))
    return Outcome(train_errors, val_errors, initial, layer_norms(model, *batch))


def layer_norms(model: Classifier, images: Tensor, labels: Tensor) -> list[float]:
    """The gradient norm of each layer on a batch, from the input to the output, without those in shortcuts."""
    model.train()
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    norms = gradient_norms(model.net)
    return [norms[f"gradients/{name}"] for name, layer in model.net.named_modules() if is_counted(layer)]


def is_counted(layer: nn.Module) -> bool:
    """Whether the layer is one of those that a network's depth counts."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1))
