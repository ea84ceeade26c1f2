"""Photographs in ten classes: CIFAR-10.

    python experiments/cifar10.py --net speednet      in minutes on a CPU that computes in bfloat16
    python experiments/cifar10.py --net resnet18      on an accelerator
    python experiments/cifar10.py --sample            on generated shapes; no download

On a copy of CIFAR-10 coded as JPEG of quality 75, on two cores of an AMD EPYC (AVX512-BF16), torch 2.15:

    --net speednet      89.90 %  (89.86, 89.76, 90.07; seeds 0-2)   10 epochs   684 to 715 s

The other networks have not been measured yet.
"""

from typing import Any

from classification import LARGE_NETS, LARGE_RECIPE, classify
from command_line import cli

from datamodules import CIFAR10

# What each net starts from here; a flag on the command line goes before.
RECIPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(LARGE_NETS, LARGE_RECIPE),
    "softmax": dict(lr=0.01, batch_size=128, max_epochs=20, lr_decay="cosine"),
    "mlp": dict(lr=0.05, batch_size=128, max_epochs=30, lr_decay="onecycle", augment="flip", net_args={"dropout": 0.2}),
    "lenet5": dict(lr=0.05, batch_size=128, max_epochs=30, lr_decay="onecycle", augment="flip", channels_last=True),
    "cnn": dict(
        lr=0.1,
        batch_size=128,
        max_epochs=30,
        lr_decay="onecycle",
        weight_decay=5e-4,
        augment="flip,crop:4",
        channels_last=True,
    ),
    "speednet": dict(
        net_args={"residual": True},
        lr=0.025,
        batch_size=512,
        max_epochs=10,
        optimizer="muon",
        momentum=0.85,
        lr_decay="linear",
        warmup_epochs=0.3,
        weight_decay=0.3,
        label_smoothing=0.2,
        augment="altflip,shift:3,cutout:8,grow:20",
        test_flip=True,
        val_size=0.02,  # the last epoch is nearly always the best, so few images will do
        channels_last=True,
        precision="bf16-mixed",
    ),
}


def main(net: str = "cnn", **flags: Any) -> None:
    """Trains a network on CIFAR-10 and tests its best epoch.

    Args:
        net: name of the network, one of lit_modules/nets.
    """
    classify(CIFAR10, net, **flags)


if __name__ == "__main__":
    cli(main, RECIPES)
