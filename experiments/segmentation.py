"""Segmentation: the class of each pixel, by a U-Net or a fully convolutional network.

    python experiments/segmentation.py                    generated scenes of shapes; no files
    python experiments/segmentation.py --net fcn          the same, coarser
    python experiments/segmentation.py --data_dir plots   plots/images/*.jpg, plots/masks/*.png
    python experiments/segmentation.py --binary           shape or background: one output, and a threshold

In `worst.png` shapes that cover each other are taken for one. By fcn, which enlarges scores eight times, corners are
rounded too. Mean IoU of the five classes on the sample's 200 test images, seed 0, 14 epochs on two cores of an AMD
EPYC, torch 2.14:

    --net unet    0.941   482,805 parameters   77 s
    --net fcn     0.859   301,770 parameters   47 s
"""

from dataclasses import replace

from harness.command_line.cli import cli
from harness.processes.ranks import is_rank_zero
from harness.runs.invocation import kept_by
from harness.tasks.launch import by_net
from harness.tasks.segmentation import SegmentationFlags, segment
from harness.tasks.study import print_next

# What each net starts from here; command-line flags override these.
ONECYCLE = SegmentationFlags(
    max_epochs=14, lr_decay="onecycle", weight_decay=0.01, dice=1.0, augment="flip", channels_last=True
)
RECIPES = by_net(ONECYCLE, replace(ONECYCLE, net="fcn"))
DEFAULTS = SegmentationFlags()
TRY_NEXT = "--net fcn  # scores that are enlarged eight times: which shapes suffer?"


def main(flags: SegmentationFlags = DEFAULTS) -> None:
    """Trains a network to tell the class of each pixel, and tests its best epoch."""
    result = segment(flags)
    by_class = {name: value for name, value in result.metrics.items() if name.startswith("test/iou_")}
    if flags.reports and is_rank_zero():
        print("test IoU of", ", ".join(f"{name.removeprefix('test/iou_')} {iou:.4f}" for name, iou in by_class.items()))
        if flags.data_dir is None:
            print_next("segmentation", TRY_NEXT, kept_by(flags))


if __name__ == "__main__":
    cli(main, RECIPES)
