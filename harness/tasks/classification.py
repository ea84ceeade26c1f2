"""Image classification: what mnist.py, fashion_mnist.py, cifar10.py, cifar100.py and own_images.py share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lightning.pytorch import seed_everything

from datamodules import ImageData
from harness.runs.invocation import values
from harness.tasks.classes import weights_for, with_monitored
from harness.tasks.launch import fit_and_test
from harness.tasks.refit import with_refit
from harness.training.fit import Result
from harness.training.flags import FitFlags
from harness.training.pretrained import load_weights
from harness.training.trainer import NO_EXTRAS, Extras
from lit_modules import Classifier
from lit_modules.classifier import ClassifierOptions


@dataclass(frozen=True, kw_only=True)
class ImageFlags(ClassifierOptions, FitFlags):
    """A network and the images that it learns to classify.

    Args:
        net: name of the network, one of lit_modules/nets.
        net_args: options for the network, such as --net_args.dropout 0.2.
        init_from: checkpoint, run directory or torchvision:NAME to take the initial weights from, except the head's.
        batch_size: images per device and step.
        augment: augmentations of the training images, such as crop:4,flip (see datamodules/augment.py).
        val_size: size of the validation split, as a share of the training files if below 1, else in images; 0:
            train on all training files, and test the last epoch.
        data_dir: folder of the data sets; missing ones are downloaded to it.
        sample: use the embedded sample, which needs no files.
        class_weights: balanced: each class counts as much as any other in the loss, however rare; or none.
        balanced_sampling: draw equally many training images of each class in an epoch.
    """

    net: str = "lenet5"
    net_args: dict[str, Any] | None = None
    init_from: str | None = None
    lr: float = 0.05
    batch_size: int = 64
    augment: str = ""
    val_size: float = 0.1
    data_dir: str = "data"
    sample: bool = False
    class_weights: str = "none"
    balanced_sampling: bool = False


# Well-known networks on 32 x 32 photographs: the learning rates and weight decay of He et al. 2016 with a cosine
# schedule, label smoothing and cutout. They need an accelerator.
LARGE_NETS = (
    *("vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "resnet18", "resnet34", "resnet50", "preact_resnet18"),
    *("densenet121", "densenet_bc_100_12"),
)
LARGE_RECIPE = ImageFlags(
    lr=0.1,
    batch_size=128,
    max_epochs=100,
    lr_decay="cosine",
    warmup_epochs=1,
    weight_decay=5e-4,
    label_smoothing=0.1,
    augment="crop:4,flip,cutout:8",
    channels_last=True,
    precision="bf16-mixed",
)


ONECYCLE = ImageFlags(batch_size=128, lr_decay="onecycle", augment="flip", max_epochs=30)


def large_recipes() -> list[ImageFlags]:
    """One recipe for each of the large networks."""
    return [replace(LARGE_RECIPE, net=net) for net in LARGE_NETS]


def photograph_recipes() -> list[ImageFlags]:
    """For the networks that learn 32 x 32 photographs in colour, small and large."""
    return [
        *large_recipes(),
        ImageFlags(net="softmax", lr=0.01, batch_size=128, max_epochs=20, lr_decay="cosine"),
        replace(ONECYCLE, net="mlp", lr=0.05, net_args={"dropout": 0.2}),
        replace(ONECYCLE, net="lenet5", lr=0.05, channels_last=True),
        replace(ONECYCLE, net="cnn", lr=0.1, weight_decay=5e-4, augment="flip,crop:4", channels_last=True),
    ]


def classify(dataset: Callable[..., ImageData], flags: ImageFlags, theirs: Extras = NO_EXTRAS) -> Result:
    """Trains a network on `dataset`, and tests its best epoch; with `refit`, twice.

    Args:
        dataset: makes the data module from `data_dir`, `batch_size`, `seed`, `val_size`, `augment`, `sample` and
            `balanced_sampling`.
        theirs: the script's own callbacks and loggers.
    """
    return with_refit(partial(_train, dataset, theirs), flags)


def _train(dataset: Callable[..., ImageData], theirs: Extras, flags: ImageFlags) -> Result:
    seed_everything(flags.seed, verbose=False)
    split = flags.data_dir, flags.batch_size, flags.seed, flags.val_size
    data = dataset(*split, flags.augment, flags.sample, balanced_sampling=flags.balanced_sampling)
    data.prepare_data()
    data.setup()
    pixels = data.input_shape, data.num_classes, data.mean, data.std
    weights = weights_for(flags, data.train_labels, data.num_classes)
    options = values(with_monitored(flags), ClassifierOptions)
    model = Classifier(flags.net, *pixels, flags.net_args, list(data.classes), weights, **options)
    if flags.init_from and flags.resume in (None, "auto"):
        load_weights(model.net, flags.init_from)
    return fit_and_test(data.name, model, data, flags, *theirs)
