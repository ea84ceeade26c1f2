"""Your own images, in a folder of class folders.

    python experiments/own_images.py --data_dir photos
    python experiments/own_images.py --data_dir photos --labels photos/labels.csv
    python experiments/own_images.py --sample           on generated shapes; no files

The images are in photos/train/<class>/. Images of photos/val/ (or validation/, or valid/) choose
the epoch, and those of photos/test/ test it. Without such a folder, they are held out of train/,
or, if there is no train/ either, of photos/<class>/. With --labels, a table has the classes.

No figure has been measured here yet.
"""

from dataclasses import dataclass, replace
from functools import partial

from datamodules import ImageFolder
from harness.command_line.cli import cli
from harness.tasks.classification import ImageFlags, classify
from harness.tasks.launch import by_net


@dataclass(frozen=True, kw_only=True)
class OwnImageFlags(ImageFlags):
    """A folder of images.

    Args:
        data_dir: folder that holds train/<class>/, and val/ (or validation/, or valid/) and test/ if there are any, or
            all images as <class>/.
        labels: CSV file with the columns file and label, and perhaps split, in place of folders of classes
            (see datamodules/labels_file.py); "": none.
        image_size: side of the images in pixels, to which they are resized.
        fit: what of an image that is not square: crop, its middle; pad, all of it between bars; stretch, all of it.
        skip_bad: skip files that cannot be read as images, instead of ending with an error.
    """

    net: str = "resnet18"
    data_dir: str = "data"
    labels: str = ""
    image_size: int = 64
    fit: str = "crop"
    skip_bad: bool = False


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
)
DEFAULTS = OwnImageFlags()


def main(flags: OwnImageFlags = DEFAULTS) -> None:
    """Trains a network on a folder of images and tests its best epoch."""
    folder = partial(ImageFolder, image_size=flags.image_size, skip_bad=flags.skip_bad)
    classify(partial(folder, fit=flags.fit, labels=flags.labels), flags)


if __name__ == "__main__":
    cli(main, RECIPES)
