"""Training on a folder of one's own images: the flags that own_images.py and finetune.py share, and the tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from basics.choose import choose
from basics.errors import InputError
from datamodules import ImageFolder
from datamodules.image_targets import ImageNumbers, ImageTags
from harness.runs.flag_checks import check_delta, check_sample
from harness.runs.invocation import changed, values
from harness.tasks.classification import ImageFlags, classify, pixels_of, train_on_images
from lit_modules import class_losses, label_stages, number_stages
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.label_stages import LabelOptions
from lit_modules.regressor import RegressorOptions

AUTO = "auto"
# The losses of each task, the usual one first.
TASKS = {
    "classification": tuple(class_losses.LOSSES),
    "regression": number_stages.LOSSES,
    "multilabel": tuple(label_stages.LOSSES),
}

# Flags that mean nothing where there are no classes.
OF_CLASSES = (
    *("l1", "mixup", "cutmix", "backbone_lr", "freeze_epochs"),
    *("class_weights", "balanced_sampling"),
)
# Of those too, which count only where they are given.
IN_RECIPES = ("label_smoothing", "test_flip", "test_shift", "similar_labels")
OF_FILES = ("data_dir", "image_size", "fit", "skip_bad")  # flags that mean nothing for the sample
NEUTRAL = ImageFlags()


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a folder of one's own images is read.

    Args:
        labels: CSV file with the columns file and label, and perhaps split, in place of folders of classes
            (see datamodules/labels_file.py); "": none.
        target: the column of that file with the labels; "": the one that is called label, or by another usual name.
        similar_labels: of classes in that file, what becomes of labels that differ in case, outer dots or blanks only:
            trim merges those of the same case and refuses others; refuse, merge or keep does so with all.
        image_size: side of the images in pixels, to which they are resized.
        fit: what of an image that is not square: crop, its middle; pad, all of it between bars; stretch, all of it.
        skip_bad: skip files that cannot be read as images, instead of ending with an error.
    """

    labels: str = ""
    target: str = ""
    similar_labels: str = "trim"
    image_size: int = 64
    fit: str = "crop"
    skip_bad: bool = False


def folder_options(flags: FolderOptions) -> dict[str, Any]:
    """What the data module of a folder takes."""
    return values(flags, FolderOptions)


@dataclass(frozen=True, kw_only=True)
class OwnImageFlags(ImageFlags, FolderOptions):
    """A folder of images, and what to learn of them.

    Args:
        data_dir: folder that holds train/<class>/, and val/ (or validation/, or valid/) and test/ if there are any, or
            all images as <class>/.
        task: classification; or with --labels regression, a number for each image, or multilabel, several labels.
        target: the column of --labels with the labels; for several labels, columns of 0 and 1 with commas between them;
            "": found by their names, or by looking.
        loss: auto: ce for classes, mse for a number, bce for several labels; or for classes bce, mse or focal
            (lit_modules/class_losses.py), for a number huber, which is half the square up to `delta` and linear beyond,
            for several labels focal.
        delta: of huber, standard deviations of the target from which on the loss is linear.
    """

    net: str = "resnet18"
    data_dir: str = "data"
    task: str = "classification"
    loss: str = AUTO
    delta: float = 1.0

    @property
    def losses(self) -> Mapping[str, Any]:
        return dict.fromkeys((AUTO, *choose("task", self.task, TASKS)))


def learn(flags: OwnImageFlags) -> dict[str, Any]:
    """Trains a network for the flags' task, tests its best epoch, and returns the metrics."""
    if flags.sample:
        check_sample(flags, OF_FILES, "images")
    if flags.loss == AUTO:
        flags = changed(flags, loss=TASKS[flags.task][0])
    check_delta(flags)
    if flags.task == "classification":
        return classify(partial(ImageFolder, **folder_options(flags)), flags)
    _refuse_those_of_classes(flags)
    flags = changed(flags, monitor="val/loss") if flags.monitor == ImageFlags.monitor else flags  # no accuracy
    return _learn_numbers(flags) if flags.task == "regression" else _learn_labels(flags)


def _learn_numbers(flags: OwnImageFlags) -> dict[str, Any]:
    if flags.gradient_clip_val is None:
        # The gradient of a squared error has no bound: cnn at its recipe's 0.05 ended in NaN after 30 steps.
        flags = changed(flags, gradient_clip_val=1.0)
    return train_on_images(partial(ImageNumbers, **folder_options(flags)), _regressor, flags)


def _learn_labels(flags: OwnImageFlags) -> dict[str, Any]:
    return train_on_images(partial(ImageTags, **folder_options(flags)), _tagger, flags)


def _tagger(data: ImageTags, flags: OwnImageFlags) -> ImageTagger:
    return ImageTagger(flags.net, labels=list(data.classes), **pixels_of(data, flags), **values(flags, LabelOptions))


def _regressor(data: ImageNumbers, flags: OwnImageFlags) -> ImageRegressor:
    mean, std = data.target_mean_std()
    target: dict[str, Any] = {"target_mean": mean, "target_std": std, "target": data.target}
    return ImageRegressor(flags.net, **pixels_of(data, flags), **target, **values(flags, RegressorOptions))


def _refuse_those_of_classes(flags: OwnImageFlags) -> None:
    given = [name for name in OF_CLASSES if getattr(flags, name) != getattr(NEUTRAL, name)]
    given += [name for name in IN_RECIPES if name in flags.invocation.changed]
    for name in given:
        raise InputError(f"--{name} {getattr(flags, name)}: is for classes, and --task {flags.task} has none")
