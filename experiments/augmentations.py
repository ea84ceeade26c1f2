"""Augmentations by name: what each makes of one photograph, in epoch after epoch.

    python experiments/augmentations.py                                  all of them, on a photograph of a temple
    python experiments/augmentations.py --image photo.jpg --image_size 96
    python experiments/augmentations.py --augment crop:4,flip --image_size 32         as cifar10.py has them

Each row is one name of `--augment`, with its amount; each column is an epoch, which draws anew. The label stays that of
the photograph, so what is drawn must still show it. The default amounts are larger here than they are in training, so
that one sees them in a picture of 64 pixels; amounts of crop, shift, elastic, cutout and grow are in pixels.

In the figure, flip and vflip mirror about half of the pictures, while altflip mirrors every other epoch, whatever is
drawn. crop and rotate show black where there is no image, shift its mirror image. grow begins small and is whole
in the last quarter of the run. trivialaugment takes one of fourteen changes at random, of any strength; randaugment
two. vflip changes pixels the most, and saturation the least, though both leave what one sees.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from basics.errors import InputError
from datamodules.augment import check_sizes
from experiments.fundamentals.augmentation_draws import changed, draws
from experiments.fundamentals.photographs import read_image, sample_image
from harness.command_line.cli import cli
from harness.drawing.image_figures import draw_rows
from harness.tasks.study import Study, StudyFlags

# In this order: mirrored, turned and scaled, moved, recoloured, any of these, covered, made smaller.
SHOWN = (
    "flip,altflip,vflip,rotate:25,rotate90,zoom:0.3,resized_crop,elastic:2,crop:12,shift:10,"
    "noise:0.1,brightness:0.4,contrast:0.6,saturation:0.9,trivialaugment,randaugment:12,cutout:28,erase:1,grow:28"
)
MOST = 12  # epochs that fit in a picture
TRY_NEXT = "--augment rotate:90,noise:0.5,cutout:60  # how much is too much to tell what it is?"


@dataclass(frozen=True, kw_only=True)
class AugmentationFlags(StudyFlags):
    """The picture, and what is done to it.

    Args:
        augment: names, separated by commas, with amounts, as for the image scripts.
        image: image file; null: scikit-learn's photograph of a temple.
        image_size: side in pixels, to which the central square of the image is resized.
        epochs: how often each is drawn.
        seed: of the draws.
    """

    augment: str = SHOWN
    image: str | None = None
    image_size: int = 64
    epochs: int = 8
    seed: int = 0


DEFAULTS = AugmentationFlags()


def main(flags: AugmentationFlags = DEFAULTS) -> dict[str, Any]:
    """Draws a row for each augmentation: one image as each epoch gets it."""
    names = list(dict.fromkeys(part.strip() for part in flags.augment.split(",") if part.strip()))
    if not names:
        raise InputError(f"augment {flags.augment!r}: name at least one")
    if not 1 <= flags.epochs <= MOST:
        raise InputError(f"epochs {flags.epochs}: must be from 1 to {MOST}, which fit in a picture")
    image = read_image(Path(flags.image) if flags.image else sample_image(), flags.image_size)  # (3, S, S)
    check_sizes(flags.augment, *image.shape[-2:])
    study = Study("augmentations", flags, try_next=TRY_NEXT)
    seed_everything(flags.seed, verbose=False)
    made = {name: draws(image, name, flags.epochs) for name in names}
    changes = {name: changed(image, rows) for name, rows in made.items()}
    _print_changes(changes)
    rows = {"none": image.expand(flags.epochs, -1, -1, -1)} | made
    headings = [f"epoch {number}" for number in range(1, flags.epochs + 1)]
    title = "One training image as each epoch gets it, by augmentation"
    metrics = {"augmentations": len(names), "seed": flags.seed, "changes": changes}
    return study.conclude(metrics, {"augmentations": draw_rows(rows, headings, title)})


def _print_changes(changes: dict[str, float]) -> None:
    print(f"\n{'augmentation':<18}{'pixels change by':>18}")
    for name, change in changes.items():
        print(f"{name:<18}{change:>18.3f}")
    print("root mean square over all pixels and epochs; black is 0 and white is 1\n")


if __name__ == "__main__":
    cli(main)
