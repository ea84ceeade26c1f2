"""Your own images, in a folder of class folders.

    python experiments/own_images.py --data_dir photos
    python experiments/own_images.py --sample           on generated shapes; no files

The images lie in photos/train/<class>/; photos/val/ and photos/test/ may be beside it, and are held out of it if not.

No figure has been measured here yet.
"""

from functools import partial
from typing import Any

from datamodules import ImageFolder
from harness.command_line.cli import cli
from harness.tasks.classification import classify

# What each net starts from here; a flag on the command line goes before. Sets of one's own are mostly small: few
# images a step make enough steps, and augmentation and softened targets work against learning them by heart.
SMALL_SET = dict(batch_size=32, max_epochs=40, lr_decay="onecycle", weight_decay=5e-4, augment="flip,crop:8")
RECIPES: dict[str, dict[str, Any]] = {
    "softmax": dict(lr=0.005, batch_size=32, max_epochs=20, lr_decay="cosine"),
    "cnn": dict(lr=0.05, channels_last=True, **SMALL_SET),
    "resnet18": dict(lr=0.05, label_smoothing=0.1, channels_last=True, **SMALL_SET),
    "vgg11": dict(lr=0.02, label_smoothing=0.1, channels_last=True, **SMALL_SET),
}


def main(
    net: str = "resnet18", data_dir: str = "data", image_size: int = 64, skip_bad: bool = False, **flags: Any
) -> None:
    """Trains a network on a folder of images and tests its best epoch.

    Args:
        net: name of the network, one of lit_modules/nets.
        data_dir: folder that holds train/<class>/, and val/ and test/ if there are any.
        image_size: side of the images in pixels; they are resized, and cut to their middle square.
        skip_bad: leave out files that cannot be read as images, in place of refusing them.
    """
    classify(partial(ImageFolder, image_size=image_size, skip_bad=skip_bad), net, data_dir=data_dir, **flags)


if __name__ == "__main__":
    cli(main, RECIPES)
