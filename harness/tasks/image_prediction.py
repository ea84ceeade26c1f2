"""What predict.py and serve.py make of image files: they are prepared as in training, and models give their mean."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from basics.errors import InputError
from datamodules.decode import decode
from datamodules.handwriting import INK, LARGEST, centre, is_inverted
from datamodules.listing import naming
from datamodules.open_image import open_upright
from datamodules.squares import Square
from datamodules.threads import in_threads, with_bar
from harness.drawing.prediction_sheet import SHOWN
from harness.runs.checkpoints import Checkpoint
from harness.tasks.image_evidence import as_tensor
from lit_modules import Classifier
from lit_modules.normalise import own_normalisation
from lit_modules.stages import Stages

BATCH = 256  # files at a time

ON_DARK = ("mnist", "fashion_mnist")  # data sets of grey images with a dark ground


class Predictions(NamedTuple):
    """What the network says of the files that could be read."""

    paths: list[Path]
    values: np.ndarray  # probabilities, (N, C), or numbers, (N,)
    shown: dict[int, Image.Image]  # some of the images as the network sees them, by row
    bad: dict[str, str]  # the other files, and why


def names_of(model: Classifier) -> list[str]:
    """The classes, or their numbers if an older checkpoint does not name them."""
    return [str(name) for name in model.hparams["classes"] or range(model.hparams["num_classes"])]


def of_sample_digits(read: Checkpoint) -> bool:
    """Whether the model was trained on the small digits of `--sample`."""
    data = read.content.get("datamodule_hyper_parameters", {})
    return data.get("name") == "mnist" and bool(data["sample"])


def reader_of(
    read: Checkpoint, model: Stages, invert: bool | None = None, centred: bool | None = None
) -> Callable[[Path], Image.Image]:
    """A function that reads a file as the network should see it.

    Args:
        invert: exchange light and dark; None: where a grey image's background is not like that in training.
        centred: resize and centre the ink of grey images; None: if the network was trained on handwritten digits.
    """
    _, height, width = model.hparams["input_shape"]
    if height != width:
        raise InputError(f"{read.path}: takes images of {height} x {width} pixels; files are made square here")
    data = read.content.get("datamodule_hyper_parameters", {})
    if invert is None and own_normalisation(model.hparams["net"]):  # whose mean says nothing of the training images
        invert, ground = (None, 0.0) if data.get("name") in ON_DARK else (False, 0.0)
    else:
        ground = model.hparams["mean"][0]
    digits = data.get("name") == "mnist"
    ink = 1 if of_sample_digits(read) else INK  # the sample's digits fill their square
    share = ink if centred or (centred is None and digits) else None
    square, grey = Square(width, data.get("fit", "crop")), model.hparams["input_shape"][0] == 1
    return partial(_read, square=square, grey=grey, ground=ground, invert=invert, share=share)


def _read(
    path: Path, square: Square, grey: bool, ground: float, invert: bool | None, share: float | None
) -> Image.Image:
    """The file as the network should see it, grey or RGB; grey ink is centred, to fill a `share` of it, if any.

    Args:
        ground: the mean of the pixels in training, from 0 to 1, which tells whether their ground was dark.
    """
    size = square.size
    if not grey:
        image, _ = decode(path, square)
        return ImageOps.invert(image) if invert else image
    image = open_upright(path, LARGEST * size)[0].convert("L")
    if is_inverted(np.asarray(image), ground) if invert is None else invert:
        image = ImageOps.invert(image)
    return centre(image, size, share) if share else ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def predict_files(
    models: Sequence[Stages], paths: Sequence[Path], read: Callable[[Path], Image.Image], skip_bad: bool
) -> Predictions:
    """Reads files batch by batch, and predicts the mean of what the models say.

    Raises:
        InputError: a file cannot be read and `skip_bad` is not set, or none can.
    """
    good: list[Path] = []
    values: list[np.ndarray] = []
    shown: dict[int, Image.Image] = {}
    bad: dict[str, str] = {}
    wanted = {paths[place] for place in np.linspace(0, len(paths) - 1, min(len(paths), SHOWN)).astype(int)}
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    models = [model.eval().to(device) for model in models]
    for batch in with_bar([paths[start : start + BATCH] for start in range(0, len(paths), BATCH)], len(paths) / BATCH):
        results = dict(zip(batch, in_threads(read, batch), strict=True))
        bad |= {str(path): reason for path, reason in results.items() if isinstance(reason, str)}
        if bad and not skip_bad:
            raise InputError(f"{naming(bad)}; remove them, or leave them out by --skip_bad")
        images = {path: image for path, image in results.items() if not isinstance(image, str)}
        if images:
            values.append(_predict(models, [*images.values()], device))
        for path, image in images.items():
            shown |= {len(good): image} if path in wanted else {}
            good.append(path)
    if not good:
        raise InputError(naming(bad))
    return Predictions(good, np.concatenate(values), shown, bad)


@torch.inference_mode()
def _predict(models: Sequence[Stages], images: Sequence[Image.Image], device: torch.device) -> np.ndarray:
    """The probability of each class, (B, C), or numbers, (B,); the mean of the models'."""
    pixels = as_tensor(images).to(device)  # (B, C, H, W)
    said = [model.exact_predictions(model(pixels)).cpu().double() for model in models]
    return torch.stack(said).mean(0).numpy()
