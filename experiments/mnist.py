"""Handwritten digits: from softmax regression to a small CNN on MNIST.

    python experiments/mnist.py                       LeNet-5 on the full set
    python experiments/mnist.py --net cnn --devices 2
    python experiments/mnist.py --sample              on digits that scikit-learn ships; no download

Test accuracy of LeNet-5 on two busy cores of an AMD EPYC, torch 2.14.1 (docs/results.md has more):

    --net lenet5     99.53 %  (99.52, 99.57, 99.51; seeds 0-2)   30 epochs   358 to 387 s

Mean of seeds 0-2, and seconds of the fastest run, on one core, torch 2.15; the last three in bfloat16, on a core with
AVX512-BF16:

    --net softmax          92.52 %  (92.57, 92.50, 92.48)   20 epochs     12 s
    --net mlp              99.01 %  (98.92, 99.01, 99.09)   30 epochs    125 s
    --net cnn              99.61 %  (99.58, 99.60, 99.65)   20 epochs    683 s
    --net residual_mnist   99.47 %  (99.46, 99.51, 99.45)    6 epochs    512 s
    --net speednet         99.56 %  (99.60, 99.45, 99.64)   15 epochs    588 s
    --net inception_mnist  99.68 %  (99.75, 99.61, 99.67)   30 epochs  2,580 s

The epoch is chosen on 6,000 of the training images (inception_mnist: 3,000); the 10,000 test images are used
at the end, and decide nothing.
"""

from dataclasses import replace

from datamodules import MNIST
from harness.command_line.cli import cli
from harness.tasks.classification import MUON, ImageFlags, classify
from harness.tasks.launch import by_net

# What each net does well with here; command-line flags override these.
LIGHT_DISTORTIONS = "rotate:10,zoom:0.1,crop:2"  # handwriting leans, and varies in size and position
ONECYCLE = ImageFlags(lr=0.1, batch_size=128, lr_decay="onecycle", augment=LIGHT_DISTORTIONS)
CONVOLUTIONS = replace(ONECYCLE, weight_decay=5e-4, channels_last=True)
RECIPES = by_net(
    ImageFlags(net="softmax", lr=0.02, batch_size=128, max_epochs=20, lr_decay="cosine"),
    replace(ONECYCLE, net="mlp", max_epochs=30),
    replace(
        MUON,
        net="lenet5",
        lr=0.02,
        momentum=0.95,
        batch_size=128,
        max_epochs=30,
        warmup_epochs=0.5,
        weight_decay=0.1,
        label_smoothing=0.05,
        augment="rotate:12,zoom:0.12,crop:2",
        precision=None,
    ),
    replace(CONVOLUTIONS, net="cnn", max_epochs=20),
    replace(CONVOLUTIONS, net="residual_mnist", max_epochs=6, precision="auto"),
    replace(
        CONVOLUTIONS,
        net="inception_mnist",
        max_epochs=30,
        precision="auto",
        augment="rotate:12,zoom:0.12,crop:3",
        label_smoothing=0.05,
        ema=0.998,
        val_size=0.05,
    ),
    replace(
        MUON,
        net_args={"widths": [[32, 32], [64, 64], [128, 128]], "residual": True},
        lr=0.02,
        batch_size=256,
        max_epochs=15,
        warmup_epochs=0.5,
        label_smoothing=0.1,
        augment="rotate:12,zoom:0.12,crop:3",
        test_shift=1,
    ),
)

DEFAULTS = ImageFlags(net="lenet5")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """Trains a network on MNIST and tests its best epoch."""
    classify(MNIST, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
