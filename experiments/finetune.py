"""Fine-tuning: a trained network learns another data set, with a new output layer, the head.

    python experiments/finetune.py runs/cifar100/<run> --data cifar10
    python experiments/finetune.py runs/mnist/<run> --data fashion_mnist --freeze_epochs 1 --backbone_lr 0.005
    python experiments/finetune.py torchvision:resnet18 --data own_images --data_dir photos/

It starts from the run's best checkpoint, or from a checkpoint file, and prints which weights were loaded and which
were not. `--backbone_lr` is the rate of all other layers; `--freeze_epochs` lets the head settle first.
"""

from functools import partial
from typing import Any

from basics.choose import choose
from datamodules import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolder
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.classification import classify
from harness.training.pretrained import TORCHVISION

DATA = {data.name: data for data in (MNIST, FashionMNIST, CIFAR10, CIFAR100, ImageFolder)}


# Lower rates than in the recipes, and lowest for the backbone, which should keep what it has learned.
def main(
    checkpoint: str,
    data: str = "cifar10",
    lr: float = 0.01,
    backbone_lr: float | None = 0.002,
    image_size: int = 64,
    skip_bad: bool = False,
    **flags: Any,
) -> None:
    """Fine-tunes a trained network on another data set and tests its best epoch.

    Args:
        checkpoint: run directory, checkpoint file, or torchvision:NAME.
        data: the data set to learn: mnist, fashion_mnist, cifar10, cifar100 or own_images.
        lr: highest learning rate of the head.
        backbone_lr: highest learning rate of all other layers; null: that of the head.
        image_size: for own_images, see own_images.py.
        skip_bad: for own_images, see own_images.py.
    """
    if checkpoint.startswith(TORCHVISION):
        net, net_args = "imagenet", {"arch": checkpoint.removeprefix(TORCHVISION)}
    else:
        resumed = flags.get("resume") if flags.get("resume") != "auto" else None
        trained = read_checkpoint(find_checkpoint(resumed or checkpoint))["hyper_parameters"]
        net, net_args = trained.get("net"), trained.get("net_args")
        if not isinstance(net, str) or not isinstance(net_args, dict | None):
            raise ValueError(f"{checkpoint}: names no network")
    dataset = choose("data", data, DATA)
    if dataset is ImageFolder:
        dataset = partial(ImageFolder, image_size=image_size, skip_bad=skip_bad)
    classify(dataset, net, net_args=net_args, init_from=checkpoint, lr=lr, backbone_lr=backbone_lr, **flags)


if __name__ == "__main__":
    cli(main)
