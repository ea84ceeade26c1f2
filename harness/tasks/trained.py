"""What a checkpoint says besides its weights: which model they belong to, and which data it was trained on."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from inspect import Parameter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

import datamodules
from basics.choose import choose
from basics.errors import InputError
from datamodules import ImageData, ImageFolder, samples
from datamodules.batch_module import BatchModule
from datamodules.image_targets import ImageNumbers, ImageTags
from datamodules.mask_folder import MaskFolder
from datamodules.table_data import TableData
from harness.runs.checkpoints import Checkpoint, check_fits
from lit_modules import Classifier, Regressor, RowClassifier
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.normalise import own_normalisation
from lit_modules.row_tagger import RowTagger
from lit_modules.segmenter import Segmenter
from lit_modules.stages import Stages

Data = TypeVar("Data", bound=BatchModule)
IN_OWN_FOLDERS = {ImageFolder.name, MaskFolder.name}  # data whose folder is theirs alone


def load_model(checkpoint: Checkpoint) -> Stages:
    """The trained model, on the CPU; its class follows from its hyperparameters.

    Raises:
        InputError: it is not a checkpoint of this project, or not of this version.
    """
    options, weights = checkpoint.content["hyper_parameters"], checkpoint.content["state_dict"]
    if not {"net", "input_shape"} <= options.keys():
        raise InputError(
            f"{checkpoint.path}: comes from another project or version, or holds a LightningModule of your own, as its"
            " hyperparameters have no net and input_shape; read it by Mine.load_from_checkpoint(path), and test it by"
            " fit_and_test or a Trainer"
        )
    kind = _kind(options)
    signature = inspect.signature(kind)
    try:
        signature.bind(**options)
        kind.options_type(**{name: value for name, value in options.items() if name not in signature.parameters})
    except TypeError as error:
        raise InputError(
            f"{checkpoint.path}: comes from another project or version, judging by its hyperparameters ({error})"
        ) from error
    model = kind(**options)
    check_fits(checkpoint, model)
    if any(_channels_last(weight) for weight in weights.values()):
        model.to(memory_format=torch.channels_last)
    model.load_state_dict(weights)
    return model


def _kind(options: dict[str, Any]) -> type[Stages]:
    if "preprocessing" in options:
        return RowTagger if "labels" in options else RowClassifier if "num_classes" in options else Regressor
    if "labels" in options:
        return ImageTagger
    if "embedding_size" in options:
        from lit_modules.embedder import Embedder  # imported here because its library of losses takes a second

        return Embedder
    if "target_mean" in options:
        return ImageRegressor
    return Segmenter if "threshold" in options else Classifier


def _channels_last(weight: torch.Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)


def load_data(checkpoint: Checkpoint, name: str | None = None, **changes: Any) -> BatchModule:
    """The data module that the checkpoint was trained with, or the one called `name` with those arguments it has too.

    Args:
        changes: arguments that replace the checkpoint's, unless they are None.

    Raises:
        InputError: the checkpoint does not say what it was trained on, or there is no such data.
    """
    options = dict(checkpoint.content.get("datamodule_hyper_parameters") or {})
    trained_on = options.pop("name", None)
    if trained_on is None:
        raise InputError(
            f"{checkpoint.path}: does not name its data set; it comes from an older version, or was trained on a data"
            " module that is not of this project"
        )
    kind = choose("data", name or trained_on, data_by_name(BatchModule))
    changes = {option: value for option, value in changes.items() if value is not None}
    if kind.name != trained_on and {kind.name, trained_on} & IN_OWN_FOLDERS:
        options.pop("data_dir", None)
    if "data_dir" in changes:
        options = _moved(options, Path(changes["data_dir"]))
    known = dict(inspect.signature(kind).parameters)
    open_ended = [known.pop(name) for name in [*known] if known[name].kind is Parameter.VAR_KEYWORD]
    takes_all = kind.name == trained_on and bool(open_ended)
    if foreign := set(changes) - set(known) - (set(options) if takes_all else set()):
        raise InputError(f"--{min(foreign)}: means nothing for {kind.name}")
    options = {option: value for option, value in (options | changes).items() if takes_all or option in known}
    if lacking := [name for name, its in known.items() if its.default is its.empty and name not in options]:
        raise InputError(f"--data {kind.name}: needs {' and '.join(lacking)}, which {trained_on} does not have")
    return kind(**options)


def _moved(options: dict[str, Any], to: Path) -> dict[str, Any]:
    """The arguments for data in another folder, with the table there, if it was in the old one."""
    options, labels, old = {**options, "sample": False}, options.get("labels"), options.get("data_dir")
    if labels and old and Path(labels).is_relative_to(old):
        options["labels"] = str(to / Path(labels).relative_to(old))
    return options


def check_data(checkpoint: Checkpoint, model: Stages, data: BatchModule, chosen: bool) -> None:
    """Raises InputError if the model cannot take the data, or if its own data, not `chosen` ones, have changed."""
    path, its = checkpoint.path, checkpoint.content.get("datamodule_hyper_parameters") or {}
    pairs = (Segmenter, MaskFolder), (ImageRegressor, ImageNumbers), (ImageTagger, ImageTags)
    if any(isinstance(model, kind) != isinstance(data, its_data) for kind, its_data in pairs):
        raise InputError(f"{path}: holds a {type(model).__name__}, which {data.name} is not for")
    shape, classes = tuple(data.input_shape), len(data.classes)
    labels = getattr(model, "names", None)
    wanted, known = tuple(model.hparams["input_shape"]), model.hparams.get("num_classes", classes)
    known = len(labels) if labels and isinstance(data, ImageTags) else known
    if (shape, classes) != (wanted, known):
        raise InputError(
            f"{path}: tells {known} classes apart from {_by(wanted)} values; {data.name} has {classes} and {_by(shape)}"
        )
    # Both means and preprocessing follow from the training split, and from all that chooses it.
    if isinstance(data, ImageData):
        if data.name == its.get("name") or isinstance(data, ImageTags):
            _check_labels(path, model, data)
        if not chosen and _has_changed(checkpoint, model, data):
            raise InputError(f"{path}: {data.name} has changed since the training; go on by --data_dir")
        return
    assert isinstance(data, TableData)  # there is no third kind
    fitted = model.hparams["preprocessing"]
    if fitted != {name: data.preprocessing.get(name) for name in fitted}:  # an older checkpoint has fewer
        raise InputError(f"{path}: {data.name} has changed since the training")


def _has_changed(checkpoint: Checkpoint, model: Stages, data: ImageData) -> bool:
    """Whether the splits are others, or the training split's pixels, as far as a checkpoint tells."""
    split = (checkpoint.content.get(type(data).__qualname__) or {}).get("split")
    if split is not None and split != data.split_fingerprint():
        return True
    mean, own = model.hparams["mean"], own_normalisation(model.hparams["net"])
    return not np.allclose(mean, data.mean) and not (own and np.allclose(mean, own[0]))


def _check_labels(path: Path, model: Stages, data: ImageData) -> None:
    """Raises InputError if the outputs are of other labels than those of the data, or of these in another order."""
    names = model.hparams.get("labels") or model.hparams.get("classes") or data.classes
    for said, given in zip(map(str, names), map(str, data.classes), strict=True):
        if said != given:
            raise InputError(
                f"{path}: says {said} where {data.name} has {given}; labels have changed since the training"
            )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def data_by_name(kind: type[Data]) -> dict[str, type[Data]]:
    """The subclasses of `kind` by their names, including those in a user's own files in datamodules/."""
    for module in pkgutil.iter_modules(datamodules.__path__):
        import_module(f"datamodules.{module.name}")
    return {each.name: each for each in _below(kind)}


def _below(kind: type[Data]) -> Iterator[type[Data]]:
    for subclass in kind.__subclasses__():
        if subclass.name and subclass.__module__.startswith(datamodules.__name__):  # not a study's own
            yield subclass
        yield from _below(subclass)


def real_images(data: ImageData | None, input_shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, str]:
    """Up to `count` images as they are on disk, uint8, (N, H, W) or (N, H, W, 3), and what they are.

    They are the run's own test images or, if these are not at hand, the embedded sample's, enlarged if need be.
    """
    if data is not None and _is_there(data):
        return data.arrays.test_images[:count], f"test images of {data.name}{', its sample' if data.sample else ''}"
    channels, *size = input_shape
    images = (samples.digits() if channels == 1 else samples.shapes()).test_images[:count]
    pixels = torch.from_numpy(images).view(len(images), *images.shape[1:3], channels).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=size)  # (N, H, W, C) -> (N, C, H, W), the nearest pixel
    enlarged = pixels.squeeze(1) if channels == 1 else pixels.permute(0, 2, 3, 1)
    return enlarged.numpy(), "images of the embedded sample, the run's own not being at hand"


def _is_there(data: ImageData) -> bool:
    """Reads the data, if they are whole."""
    try:
        if data.sample or data.folder.exists():
            data.setup()
            return True
        return False
    except (InputError, OSError):
        return False
