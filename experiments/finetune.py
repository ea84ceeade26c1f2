"""Fine-tuning: a trained network learns another data set, with a new output layer, the head.

    python experiments/finetune.py runs/cifar100/<run> --data cifar10
    python experiments/finetune.py runs/mnist/<run> --data fashion_mnist --freeze_epochs 1 --backbone_lr 0.005
    python experiments/finetune.py torchvision:resnet18 --data own_images --data_dir photos/
    python experiments/finetune.py runs/cifar10/<run> --data own_images --data_dir photos --labels labels.csv --fit pad

It starts from the run's best checkpoint, or from a checkpoint file, and prints which weights were loaded and which
were not. `--backbone_lr` is the rate of all other layers; `--freeze_epochs` lets the head settle first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from basics.choose import choose
from basics.errors import InputError
from datamodules import ImageData, ImageFolder
from datamodules.image_targets import ImageTargets
from datamodules.mask_folder import MaskFolder
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, newest_intact, read_checkpoint
from harness.runs.directories import find_run
from harness.runs.flag_checks import check_sample
from harness.runs.invocation import changed
from harness.tasks.classification import ImageFlags, classify
from harness.tasks.own_folder import OF_FILES, FolderOptions, folder_options
from harness.tasks.trained import data_by_name
from harness.training.pretrained import TORCHVISION


# Lower rates than in the recipes, and lowest for the backbone, which should keep what it has learned.
@dataclass(frozen=True, kw_only=True)
class FineTuneFlags(ImageFlags, FolderOptions):
    """What the network goes on to; the checkpoint says which it is.

    Args:
        data: the data set to learn: mnist, fashion_mnist, cifar10, cifar100, own_images, or another of datamodules/.
        lr: highest learning rate of the head.
        backbone_lr: highest learning rate of all other layers; null: that of the head.
    """

    data: str = "cifar10"
    lr: float = 0.01
    backbone_lr: float | None = 0.002


DEFAULTS = FineTuneFlags()
OF_FOLDERS = FolderOptions()


def main(checkpoint: str, flags: FineTuneFlags = DEFAULTS) -> None:
    """Fine-tunes a trained network on another data set and tests its best epoch.

    Args:
        checkpoint: run directory, checkpoint file, or torchvision:NAME.
    """
    net, net_args = _network(checkpoint, None if flags.folds else flags.resume)
    theirs = {"net": net, "net_args": net_args, "init_from": checkpoint}
    typed = {word.removeprefix("--").partition("=")[0].partition(".")[0] for word in flags.invocation.command}
    for name in sorted(theirs.keys() & typed):  # a run's config.yaml has them too
        raise InputError(f"--{name}: the network and its weights are those of {checkpoint}")
    others = MaskFolder, ImageTargets  # whose labels are no classes
    known = {name: kind for name, kind in data_by_name(ImageData).items() if not issubclass(kind, others)}
    dataset: Callable[..., ImageData] = choose("data", flags.data, known)
    if dataset is ImageFolder:
        if flags.sample:
            check_sample(flags, OF_FILES, "images")
        dataset = partial(ImageFolder, **folder_options(flags))
    elif given := [f"--{name}" for name, value in folder_options(flags).items() if value != getattr(OF_FOLDERS, name)]:
        raise InputError(f"{', '.join(given)}: for --data own_images only, not for {flags.data}")
    classify(dataset, changed(flags, **theirs))


def _network(checkpoint: str, resume: str | None) -> tuple[str, dict[str, Any] | None]:
    """The name of the checkpoint's network, and its options."""
    if checkpoint.startswith(TORCHVISION):
        return "imagenet", {"arch": checkpoint.removeprefix(TORCHVISION)}
    resumed = resume if resume != "auto" else None
    unfinished = find_run(resumed)[1] if resumed else None  # none of folds
    read = newest_intact(unfinished) if unfinished else read_checkpoint(find_checkpoint(checkpoint))
    trained = read.content["hyper_parameters"]
    net, net_args = trained.get("net"), trained.get("net_args")
    if not isinstance(net, str) or not isinstance(net_args, dict | None):
        raise InputError(f"{checkpoint}: names no network")
    return net, net_args


if __name__ == "__main__":
    cli(main)
