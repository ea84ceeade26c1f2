"""Your own images, in a folder of class folders.

    python experiments/own_images.py --data_dir photos
    python experiments/own_images.py --data_dir photos --labels photos/labels.csv
    python experiments/own_images.py --data_dir photos --labels photos/ages.csv --target age --task regression
    python experiments/own_images.py --data_dir photos --labels photos/tags.csv --task multilabel
    python experiments/own_images.py --sample           on generated shapes; no files

The images are in photos/train/<class>/. Images of photos/val/ (or validation/, or valid/) choose
the epoch, and those of photos/test/ test it. Without such a folder, they are held out of train/,
or, if there is no train/ either, of photos/<class>/. With --labels, a table has the classes, with
--task regression a number for each image, or with --task multilabel any number of labels.

From scratch on 1,192 photographs of clothing in ten classes (alexeygrigorev/clothing-dataset-small, CC0), at 64 x 64
pixels and with seeds 0 to 2, speednet classifies 80.2 % of 214 test images correctly, 78.6 % as the mean over the
classes; docs/images.md has the command.
"""

from dataclasses import replace

from harness.command_line.cli import cli
from harness.tasks.launch import by_net
from harness.tasks.own_folder import OwnImageFlags, learn

# What each net starts from here; command-line flags override these. Sets of one's own are mostly small: few images a
# step make enough steps, and augmentation and softened targets work against learning them by heart.
SMALL_SET = OwnImageFlags(
    batch_size=32, max_epochs=40, lr_decay="onecycle", weight_decay=5e-4, augment="flip,crop:8", channels_last=True
)
RECIPES = by_net(
    OwnImageFlags(net="softmax", lr=0.005, batch_size=32, max_epochs=20, lr_decay="cosine"),
    replace(SMALL_SET, net="cnn", lr=0.05),
    replace(SMALL_SET, net="resnet18", lr=0.05, label_smoothing=0.1),
    replace(SMALL_SET, net="vgg11", lr=0.02, label_smoothing=0.1),
    # That of cifar10.py with smaller batches, and images that are other ones in each of many epochs.
    replace(
        SMALL_SET,
        net="speednet",
        net_args={"residual": True},
        optimizer="muon",
        lr=0.025,
        lr_decay="linear",
        batch_size=64,
        max_epochs=60,
        momentum=0.85,
        weight_decay=0.3,
        warmup_epochs=1,
        precision="auto",
        label_smoothing=0.1,
        augment="resized_crop:0.35,altflip,trivialaugment,grow:32",
        test_flip=True,
    ),
)
DEFAULTS = OwnImageFlags()


def main(flags: OwnImageFlags = DEFAULTS) -> None:
    """Trains a network on a folder of images and tests its best epoch."""
    learn(flags)


if __name__ == "__main__":
    cli(main, RECIPES)
