"""Clothing: the networks of mnist.py on Fashion-MNIST, which is as small as MNIST and harder.

    python experiments/fashion_mnist.py --net cnn
    python experiments/fashion_mnist.py --sample      on digits that scikit-learn ships; no download

No figure has been measured here yet.
"""

from typing import Any

from datamodules import FashionMNIST
from harness.command_line.cli import cli
from harness.tasks.classification import LARGE_NETS, LARGE_RECIPE, classify

# The flags that each network starts from here; command-line flags override them.
RECIPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(LARGE_NETS, LARGE_RECIPE),
    "softmax": dict(lr=0.1, batch_size=128, max_epochs=20, lr_decay="cosine"),
    "mlp": dict(lr=0.1, batch_size=128, max_epochs=30, lr_decay="onecycle", augment="flip", net_args={"dropout": 0.2}),
    "lenet5": dict(lr=0.1, batch_size=128, max_epochs=30, lr_decay="onecycle", augment="flip", channels_last=True),
    "cnn": dict(
        lr=0.1,
        batch_size=128,
        max_epochs=20,
        lr_decay="onecycle",
        weight_decay=5e-4,
        augment="flip,crop:2",
        channels_last=True,
    ),
}


def main(net: str = "cnn", **flags: Any) -> None:
    """Trains a network on Fashion-MNIST and tests its best epoch.

    Args:
        net: name of the network, one of lit_modules/nets.
    """
    classify(FashionMNIST, net, **flags)


if __name__ == "__main__":
    cli(main, RECIPES)
