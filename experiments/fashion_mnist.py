"""Clothing: the networks of mnist.py on Fashion-MNIST, which is as small as MNIST and harder.

    python experiments/fashion_mnist.py --net cnn
    python experiments/fashion_mnist.py --sample      on digits that scikit-learn ships; no download

On an AMD EPYC (AVX512-BF16); docs/results.md has more, docs/gpu.md what a card measured:

    --net speednet      94.73 %  (94.76, 94.74, 94.68; seeds 0-2)   16 epochs   738 s on two cores, torch 2.14.1
    --net cnn           92.60 %  (92.59, 92.58, 92.64; seeds 0-2)   20 epochs   684 s on one core, torch 2.15
    --net lenet5        91.20 %  (90.81, 91.39, 91.40; seeds 0-2)   30 epochs   276 s
    --net mlp           89.52 %  (89.44, 89.66, 89.46; seeds 0-2)   30 epochs   114 s
    --net softmax       83.72 %  (83.84, 83.74, 83.57; seeds 0-2)   20 epochs    11 s

Images grew in the first half of speednet's runs. Since then `grow` lasts for three quarters of a run: with seed 0, on
two cores without AVX512-BF16 and so in float32, that has 94.91 % in 2,475 s.
"""

from dataclasses import replace

from datamodules import FashionMNIST
from harness.command_line.cli import cli
from harness.tasks.classification import MUON, ONECYCLE, ImageFlags, classify, large_recipes
from harness.tasks.launch import by_net

# What each net starts from here; command-line flags override these.
RECIPES = by_net(
    *large_recipes(),
    ImageFlags(net="softmax", lr=0.1, batch_size=128, max_epochs=20, lr_decay="cosine"),
    replace(ONECYCLE, net="mlp", lr=0.1, net_args={"dropout": 0.2}),
    replace(ONECYCLE, net="lenet5", lr=0.1, channels_last=True),
    replace(ONECYCLE, net="cnn", lr=0.1, max_epochs=20, weight_decay=5e-4, augment="flip,crop:2", channels_last=True),
    # That of cifar10.py, with longer training and less smoothing.
    replace(
        MUON,
        net_args={"widths": [[64, 64], [128, 128], [256, 256]], "residual": True},
        lr=0.025,
        batch_size=512,
        max_epochs=16,
        momentum=0.85,
        warmup_epochs=0.3,
        label_smoothing=0.1,
        augment="altflip,shift:2,cutout:7,grow:16",
        test_flip=True,
        val_size=0.05,
    ),
)
DEFAULTS = ImageFlags(net="cnn")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """Trains a network on Fashion-MNIST and tests its best epoch."""
    classify(FashionMNIST, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
