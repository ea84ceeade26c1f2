"""Photographs in ten classes: CIFAR-10.

    python experiments/cifar10.py --net speednet      in minutes on a CPU that computes in bfloat16
    python experiments/cifar10.py --net resnet18      on an accelerator
    python experiments/cifar10.py --sample            on generated shapes; no download

On two cores of an AMD EPYC (AVX512-BF16), torch 2.15 (docs/results.md has more, docs/gpu.md what a card measured):

    --net speednet      93.52 %  (93.45, 93.53, 93.58; seeds 0-2)   11 epochs   617 to 668 s

On one core, the seconds of the fastest run:

    --net cnn           82.90 %  (83.05, 82.66, 82.99; seeds 0-2)   30 epochs   1,131 s
    --net lenet5        62.81 %  (63.98, 63.16, 61.29)              30 epochs     262 s
    --net mlp           53.97 %  (54.27, 53.72, 53.93)              30 epochs     197 s
    --net softmax       38.81 %  (38.83, 39.30, 38.29)              20 epochs      20 s
"""

from dataclasses import replace

from datamodules import CIFAR10
from harness.command_line.cli import cli
from harness.tasks.classification import MUON, ImageFlags, classify, photograph_recipes
from harness.tasks.launch import by_net

# What each net starts from here; command-line flags override these.
RECIPES = by_net(
    *photograph_recipes(),
    replace(
        MUON,
        net_args={"residual": True, "norm_momentum": 0.25, "whitening_bias": False},
        lr=0.03,
        batch_size=1000,
        max_epochs=11,
        momentum=0.75,
        weight_decay=0.6,
        warmup_epochs=0.3,
        label_smoothing=0.2,
        augment="altflip,shift:2,grow:16",
        test_flip=True,
        test_shift=1,
        val_size=0.02,  # the last epoch is nearly always the best, so few images will do
        monitor="val/loss",  # of so few images, it is steadier than their accuracy
    ),
)

# speednet in seconds on one GPU, as `benchmarks/recipes.py speedrun` trains it. The widths and, translated to our Muon,
# the rates are those of the second version of Jordan 2024. With so few steps, BatchNorm has to forget sooner, and
# cutout does not pay.
ON_A_CARD = ImageFlags(
    net="speednet",
    net_args={"widths": [[64, 64], [256, 256], [256, 256]], "norm_momentum": 0.4, "whitening_eps": 5e-4},
    lr=0.03,
    # A 39th of the 49,998 images: all batches have the same size, so one CUDA graph serves them all.
    batch_size=1282,
    max_epochs=10,
    optimizer="muon",
    momentum=0.6,
    lr_decay="linear",
    weight_decay=1.0,  # at this rate, the first updates turn each layer by a quarter of its length
    label_smoothing=0.2,
    augment="altflip,shift:2,brightness:0.1,contrast:0.1",
    test_flip=True,
    val_size=2,  # the fewest possible; the model is that of the last epoch
    monitor=None,
    limit_val_batches=0,
    num_sanity_val_steps=0,
    checkpoint_epochs=1000,  # at the end only
    log_every_n_steps=50,  # a step that is logged waits for the device
    channels_last=True,
    precision="auto",
    pictures=False,
)

DEFAULTS = ImageFlags(net="cnn")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """Trains a network on CIFAR-10 and tests its best epoch."""
    classify(CIFAR10, flags)


if __name__ == "__main__":
    cli(main, RECIPES)
