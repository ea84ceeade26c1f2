"""What a checkpoint was trained to do, and the images it was trained for."""

from pathlib import Path
from typing import Any

from finetune import DATA
from runs import read_checkpoint

import numpy as np
import torch
import torch.nn.functional as F
import yaml

from datamodules import ImageData, ImageFolder, samples
from lit_modules import Classifier
from lit_modules.stages import Stages

NEEDED = {"net", "input_shape", "num_classes", "mean", "std"}  # hyperparameters of a model of images


def load_model(checkpoint: Path) -> Stages:
    """The `Classifier` or `Embedder` of a checkpoint, in evaluation mode on the CPU.

    Raises:
        ValueError: it is no checkpoint of this project, or was trained on a table.
    """
    options = read_checkpoint(checkpoint)["hyper_parameters"]
    if "preprocessing" in options:
        raise ValueError(f"{checkpoint}: was trained on a table, not on images; predict_table.py uses it")
    if missing := NEEDED - set(options):
        raise ValueError(f"{checkpoint}: no checkpoint of this project; its hyperparameters lack {min(missing)}")
    kind = Classifier
    if "embedding_size" in options:
        from lit_modules.embedder import Embedder as kind  # noqa: N813  here, for its losses take a second to import
    try:
        return kind.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()
    except (RuntimeError, TypeError, KeyError) as error:  # torch's words for it run over several lines
        raise ValueError(f"{checkpoint}: its weights or hyperparameters are not those of {kind.__name__}") from error


def find_data(checkpoint: Path) -> ImageData | None:
    """The data set that the checkpoint's run directory tells of, not yet read; None where it tells of none."""
    run = checkpoint.parent.parent
    if not (run / "config.yaml").is_file():
        return None
    flags: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    dataset = DATA.get(flags.get("data", run.parent.name))
    if dataset is None or "data_dir" not in flags:
        return None
    size = {"image_size": flags.get("image_size", 64)} if dataset is ImageFolder else {}
    return dataset(flags["data_dir"], sample=flags.get("sample", False), **size)


def class_names(data: ImageData | None, num_classes: int) -> list[str]:
    """Names of the classes in the order of the outputs; empty where they are not known."""
    try:
        names = list(data.classes) if data else []
    except (ValueError, OSError):  # the folder of images is gone, or has changed
        names = []
    return names if len(names) == num_classes else []


def real_images(data: ImageData | None, input_shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, str]:
    """Up to `count` images as they are on disk, uint8, (N, H, W) or (N, H, W, 3), and what they are.

    They are the run's own test images; the embedded sample's, enlarged where need be, where these are not at hand.
    """
    if data is not None and _is_there(data):
        data.setup()
        return data.arrays.test_images[:count], f"test images of {data.name}{', its sample' if data.sample else ''}"
    channels, *size = input_shape
    images = (samples.digits() if channels == 1 else samples.shapes()).test_images[:count]
    pixels = torch.from_numpy(images).view(len(images), *images.shape[1:3], channels).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=size)  # (N, H, W, C) -> (N, C, H, W), the nearest pixel
    images = pixels.squeeze(1) if channels == 1 else pixels.permute(0, 2, 3, 1)
    return images.numpy(), "images of the embedded sample, the run's own not being at hand"


def _is_there(data: ImageData) -> bool:
    try:
        return data.sample or data.folder.exists()
    except (ValueError, OSError):
        return False
