"""What predict.py makes of a segmentation network: a mask for each image file, of the file's own size."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from basics.errors import InputError, InputFileError, writing
from datamodules.listing import naming, printable
from datamodules.mask_files import open_whole, stretch
from datamodules.threads import in_threads, with_bar
from harness.drawing.figures import save_figures
from harness.drawing.segmentation_figures import SHEET, draw_mask_sheet, palette
from harness.tasks.prediction_files import write_predictions
from lit_modules.segmenter import Segmenter

BATCH = 32  # files at a time, each decoded as a whole


class Read(NamedTuple):
    """A file as the network sees it, uint8, (size, size, 3), and its own width and height."""

    pixels: np.ndarray
    size: tuple[int, int]


def check_masks_folder(folder: Path, paths: Sequence[Path], force: bool) -> None:
    """Raises InputError if the masks cannot be written there, among images, or two would have the same name."""
    with writing(folder):
        real = folder.resolve()
        if folder.is_dir() and any(path.resolve().is_relative_to(real) for path in paths):
            raise InputError(f"{folder}: the masks would be among the images; name another file by --output")
        if folder.exists() and not (force and folder.is_dir()):
            raise InputFileError(
                f"{folder}: already exists; name other files by --output, or overwrite them by --force"
            )
    names: dict[str, Path] = {}
    for path in paths:
        if (other := names.setdefault(path.stem, path)) != path:
            raise InputError(f"{path}: its mask would have the same name as that of {other}; predict them one by one")


def predict_masks(model: Segmenter, paths: Sequence[Path], table: Path, skip_bad: bool) -> tuple[int, dict[str, str]]:
    """Writes a mask for each file, and the table and the sheet of them.

    A mask is a PNG image: with two classes of 0 and 255, else of the numbers of the classes, with a palette that shows
    them. It lies in the folder that is called like the table, but for the ending.

    Returns:
        The number of masks, and for each file that could not be read the reason.

    Raises:
        InputError: a file cannot be read and `skip_bad` is not set, or none can.
    """
    bad: dict[str, str] = {}
    found = segment_files(model, paths, bad, skip_bad)
    folder, rows = table.with_suffix(""), []
    shown: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    wanted = {paths[place] for place in np.linspace(0, len(paths) - 1, min(len(paths), SHEET)).astype(int)}
    with _whole(folder):
        for path, read, mask in found:
            with writing(folder):
                folder.mkdir(exist_ok=True)
            written = folder / f"{path.stem}.png"
            _save(mask, read.size, written, model.num_classes)
            counts = np.bincount(mask.ravel(), minlength=model.num_classes)
            rows.append((printable(path), printable(written), counts / mask.size))
            shown |= {printable(path.name): (read.pixels, mask)} if path in wanted else {}
        if not rows:
            raise InputError(naming(bad))
        files, masks, shares = (np.array(column) for column in zip(*rows, strict=True))
        by_class = {f"share({name})": share.round(6) for name, share in zip(model.names, shares.T, strict=True)}
        write_predictions(table, "file", files, {"mask": masks, **by_class})
    save_figures({table.stem: draw_mask_sheet(shown, model.names, len(rows))}, table.parent)
    return len(rows), bad


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Removes a new folder if not all its files are made; a second call, with --skip_bad, would refuse it."""
    began = folder.exists()
    try:
        yield
    except BaseException:  # Ctrl-C too
        if not began:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def segment_files(
    model: Segmenter, paths: Sequence[Path], bad: dict[str, str], skip_bad: bool
) -> Iterator[tuple[Path, Read, np.ndarray]]:
    """Each file that can be read, and its mask as the network gives it, uint8, (size, size).

    The others are added to `bad`.
    """
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = model.eval().to(device)
    _, side, _ = model.hparams["input_shape"]

    def read(path: Path) -> Read:
        image = open_whole(path)
        return Read(stretch(image, side), image.size)

    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    for batch in with_bar(batches, len(batches)):
        results = dict(zip(batch, in_threads(read, batch), strict=True))
        bad |= {str(path): result for path, result in results.items() if isinstance(result, str)}
        if bad and not skip_bad:
            raise InputError(f"{naming(bad)}; remove them, or leave them out by --skip_bad")
        good = {path: result for path, result in results.items() if isinstance(result, Read)}
        if good:
            masks = _segment(model, np.stack([each.pixels for each in good.values()]), device)
            yield from ((path, each, mask) for (path, each), mask in zip(good.items(), masks, strict=True))


@torch.inference_mode()
def _segment(model: Segmenter, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """The masks, uint8, (B, H, W), of images, uint8, (B, H, W, 3)."""
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    return model.classify(model(images)).byte().cpu().numpy()


def _save(mask: np.ndarray, size: tuple[int, int], path: Path, num_classes: int) -> None:
    image = Image.fromarray(mask * 255 if num_classes == 2 else mask).resize(size, Image.Resampling.NEAREST)
    if num_classes > 2:
        image.putpalette(palette(num_classes))
    with writing(path):
        image.save(path)
