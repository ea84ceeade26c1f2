"""Segmentation: what segmentation.py trains, and what predict.py makes of it."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch import seed_everything

from basics.errors import InputError
from datamodules.mask_folder import MaskFolder
from harness.runs.flag_checks import check_sample
from harness.runs.invocation import changed, values
from harness.tasks.launch import fit_and_test
from harness.tasks.refit import with_refit
from harness.training.fit import Result
from harness.training.flags import FitFlags
from lit_modules.segmenter import Segmenter, SegmenterOptions


@dataclass(frozen=True, kw_only=True)
class SegmentationFlags(SegmenterOptions, FitFlags):
    """A network, and images with the masks that it learns.

    Args:
        net: name of the network, unet or fcn, or another for pixels of lit_modules/nets.
        net_args: options for the network, such as --net_args.widths 32,64,128,256.
        batch_size: images per device and step.
        augment: augmentations of the training images, such as crop:4,flip (see datamodules/augment.py); those that move
            pixels move the masks alike.
        val_size: size of the validation split, as a share of the images that are not for the test if below 1, else in
            images.
        data_dir: folder that holds images/ and masks/ (see datamodules/mask_files.py); null: the embedded sample.
        sample: use the embedded sample, which needs no files.
        image_size: side of the images in pixels, to which they and their masks are stretched.
        classes: their names, in the order of their numbers in the masks; null: those of the folder's classes.txt.
        monitor: validation metric that chooses the best epoch; null: the last epoch is the model.
    """

    net: str = "unet"
    net_args: dict[str, Any] | None = None
    lr: float = 0.003
    optimizer: str = "adamw"
    batch_size: int = 16
    augment: str = ""
    val_size: float = 0.1
    data_dir: str | None = None
    sample: bool = False
    image_size: int = 64
    classes: list[str] | None = None
    monitor: str | None = "val/iou"


def segment(flags: SegmentationFlags) -> Result:
    """Trains a network on images with masks, and tests its best epoch; with `refit`, twice.

    Raises:
        InputError: both the sample and a folder are asked for, or a flag that is for a folder's files.
    """
    if flags.sample and flags.data_dir:
        raise InputError(f"--data_dir {flags.data_dir}: --sample has images of its own; leave one of them out")
    if not flags.data_dir:
        check_sample(flags, ("image_size", "classes"), "images")
    return with_refit(_train, changed(flags, sample=not flags.data_dir))


def _train(flags: SegmentationFlags) -> Result:
    seed_everything(flags.seed, verbose=False)
    data = MaskFolder(
        flags.data_dir or "",
        flags.batch_size,
        flags.seed,
        flags.val_size,
        flags.augment,
        flags.sample,
        flags.image_size,
        flags.classes,
        flags.binary,
    )
    data.prepare_data()
    data.setup()
    pixels = data.input_shape, data.num_classes, data.mean, data.std
    options = values(flags, SegmenterOptions)
    model = Segmenter(flags.net, *pixels, flags.net_args, list(data.classes), **options)
    return fit_and_test(data.name, model, data, flags)
