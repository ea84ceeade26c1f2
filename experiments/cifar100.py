"""Photographs in a hundred classes: CIFAR-100.

    python experiments/cifar100.py --net cnn
    python experiments/cifar100.py --sample            on generated shapes; no download

No figure has been measured here yet.
"""

from datamodules import CIFAR100
from harness.command_line.cli import cli
from harness.tasks.classification import ImageFlags, classify, photograph_recipes
from harness.tasks.launch import by_net

# What each net starts from here; command-line flags override these.
RECIPES = by_net(*photograph_recipes())
DEFAULTS = ImageFlags(net="cnn")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """Trains a network on CIFAR-100 and tests its best epoch."""
    classify(CIFAR100, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
