"""Training on images: what mnist.py, fashion_mnist.py, cifar10.py, cifar100.py and own_images.py share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from basics.errors import InputError
from datamodules import ImageData
from harness.runs.invocation import values
from harness.runs.resume import Opened
from harness.tasks.classes import weights_for, with_monitored
from harness.tasks.cross_validation import cross_validate
from harness.tasks.fold_flags import FoldFlags
from harness.tasks.folds import Kind
from harness.tasks.image_folds import ImageFolds, predict_images
from harness.tasks.launch import fit_and_test
from harness.tasks.refit import with_refit
from harness.training.fit import Job, Result, fit_in
from harness.training.pretrained import load_weights
from harness.training.trainer import NO_EXTRAS, Extras
from lit_modules import Classifier
from lit_modules.classifier import ClassifierOptions
from lit_modules.normalise import own_normalisation
from lit_modules.stages import Stages

Build = Callable[[Any, Any], Stages]  # of a model, from data that are set up, and flags


@dataclass(frozen=True, kw_only=True)
class ImageFlags(ClassifierOptions, FoldFlags):
    """A network and the images that it learns to classify.

    Args:
        net: name of the network, one of lit_modules/nets, or timm:NAME.
        net_args: options for the network, such as --net_args.dropout 0.2.
        init_from: checkpoint, run directory or torchvision:NAME to take the initial weights from, except the head's;
            for a network of timm also a file of its weights, or timm for those in its cache, which it downloads.
        batch_size: images per device and step.
        augment: augmentations of the training images, such as crop:4,flip (see datamodules/augment.py).
        val_size: size of the validation split, as a share of the training files if below 1, else in images; 0:
            train on all training files, and test the last epoch.
        data_dir: folder of the data sets; missing ones are downloaded to it.
        sample: use the embedded sample, which needs no files.
        class_weights: balanced: each class counts as much as any other in the loss, however rare; or none.
        balanced_sampling: draw equally many training images of each class in an epoch.
        group: what stays together in training, validation and each fold, of images in files: those of a folder below a
            class folder, or those whose names have the same prefix, up to the first of `_`, `-`, `.` and blanks.
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
    group: str = ""


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
    precision="auto",
)


ONECYCLE = ImageFlags(batch_size=128, lr_decay="onecycle", augment="flip", max_epochs=30)

# speednet's: many hundred steps at a rate that falls to nothing, as in Jordan 2024.
MUON = ImageFlags(
    net="speednet",
    optimizer="muon",
    lr_decay="linear",
    weight_decay=0.3,
    channels_last=True,
    precision="auto",
)


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


def classify(dataset: Callable[..., ImageData], flags: ImageFlags, theirs: Extras = NO_EXTRAS) -> dict[str, Any]:
    """Trains a network on `dataset`, tests its best epoch, and returns the metrics; with `refit` twice, or in folds.

    Args:
        dataset: makes the data module from `data_dir`, `batch_size`, `seed`, `val_size`, `augment`, `sample`,
            `balanced_sampling`, `fold` and `group`.
        theirs: the script's own callbacks and loggers.
    """
    return train_on_images(dataset, _classifier, flags, theirs)


def train_on_images(
    dataset: Callable[..., ImageData], build: Build, flags: ImageFlags, theirs: Extras = NO_EXTRAS
) -> dict[str, Any]:
    """The same for any task: `build` makes the model from the data, which are set up, and the flags."""
    if flags.folds:
        if theirs != NO_EXTRAS:
            raise InputError("--folds: a script with callbacks or loggers of its own trains once")
        trained = partial(_train_fold, build)
        return cross_validate(Kind(partial(_folds, dataset, flags), trained, predict_images), flags)
    return with_refit(partial(_train, dataset, build, theirs), flags).metrics


def _data(dataset: Callable[..., ImageData], flags: ImageFlags, **split: Any) -> ImageData:
    options = dict(augment=flags.augment, sample=flags.sample, group=flags.group)
    return dataset(flags.data_dir, flags.batch_size, **split, **options, balanced_sampling=flags.balanced_sampling)


def _folds(dataset: Callable[..., ImageData], flags: ImageFlags, **split: Any) -> ImageFolds:
    return ImageFolds(_data(dataset, flags, **split))


def _train_fold(build: Build, folds: ImageFolds, flags: ImageFlags, run: Path) -> Result:
    model = _initial(build, folds.data, flags)
    return fit_in(Opened(run, is_fold=True), Job(folds.data.name, model, folds.data), flags, NO_EXTRAS)


def _train(dataset: Callable[..., ImageData], build: Build, theirs: Extras, flags: ImageFlags) -> Result:
    data = _data(dataset, flags, seed=flags.seed, val_size=flags.val_size)
    data.prepare_data()
    data.setup()
    return fit_and_test(data.runs_name, _initial(build, data, flags), data, flags, *theirs)


def _initial(build: Build, data: ImageData, flags: ImageFlags) -> Stages:
    seed_everything(flags.seed, verbose=False)
    model = build(data, flags)
    if flags.init_from and flags.resume in (None, "auto"):
        load_weights(model.net, flags.init_from)
    return model


def pixels_of(data: ImageData, flags: ImageFlags) -> dict[str, Any]:
    """What a network has to know of its images, and its options."""
    mean, std = own_normalisation(flags.net) or (data.mean, data.std)
    return {"input_shape": data.input_shape, "mean": mean, "std": std, "net_args": flags.net_args}


def _classifier(data: ImageData, flags: ImageFlags) -> Classifier:
    weights = weights_for(flags, data.train_labels, data.num_classes)
    labels: dict[str, Any] = {"num_classes": data.num_classes, "classes": list(data.classes), "class_weights": weights}
    options = values(with_monitored(flags), ClassifierOptions)
    return Classifier(flags.net, **pixels_of(data, flags), **labels, **options)
