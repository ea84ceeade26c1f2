"""Photographs in a hundred classes: CIFAR-100.

    python experiments/cifar100.py --net cnn
    python experiments/cifar100.py --sample            on generated shapes; no download

No figure has been measured here yet.
"""

from dataclasses import replace

from datamodules import CIFAR100
from harness.command_line.cli import cli
from harness.tasks.classification import ImageFlags, classify, large_recipes
from harness.tasks.launch import by_net

# What each net starts from here; command-line flags override these.
ONECYCLE = ImageFlags(batch_size=128, lr_decay="onecycle", augment="flip")
RECIPES = by_net(
    *large_recipes(),
    ImageFlags(net="softmax", lr=0.01, batch_size=128, max_epochs=20, lr_decay="cosine"),
    replace(ONECYCLE, net="mlp", lr=0.05, max_epochs=30, net_args={"dropout": 0.2}),
    replace(ONECYCLE, net="lenet5", lr=0.05, max_epochs=30, channels_last=True),
    replace(
        ONECYCLE,
        net="cnn",
        lr=0.1,
        max_epochs=30,
        weight_decay=5e-4,
        augment="flip,crop:4",
        channels_last=True,
    ),
)

DEFAULTS = ImageFlags(net="cnn")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """Trains a network on CIFAR-100 and tests its best epoch."""
    classify(CIFAR100, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
