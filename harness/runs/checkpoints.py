"""Finding and reading the checkpoints of runs, and dealing with damaged ones."""

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, NamedTuple

from basics.errors import InputError, InputFileError, MissingFileError, reading
from harness.processes.ranks import is_rank_zero
from harness.runs.layout import BEST, CHECKPOINTS, FOLDS, LAST, METRICS, RESUMABLE

if TYPE_CHECKING:
    from torch import nn


def find_checkpoint(source: str) -> Path:
    """The file of a trained model: a run's best checkpoint, its last one if none was chosen, or the file itself.

    An address, such as https://host/best.ckpt#sha256=<64 digits>, is downloaded.

    Raises:
        InputError: the address has no SHA-256, or it is a run of folds.
        MissingFileError: it is not there.
    """
    if source.startswith(("http://", "https://")):
        from harness.runs.remote_checkpoints import download_checkpoint  # imported here because few runs need it

        return download_checkpoint(source)
    path = Path(source)
    with reading(source):
        checkpoint = path / CHECKPOINTS / BEST if path.is_dir() else path
        if path.is_dir() and not checkpoint.is_file() and checkpoint.with_name(LAST).is_file():
            checkpoint = checkpoint.with_name(LAST)
        if not checkpoint.is_file() and (folds := sorted(path.glob(FOLDS))):
            raise InputError(f"{source}: is cross-validated; name one of its folds, such as {folds[0]}")
        if not checkpoint.is_file():
            raise MissingFileError(f"{source}: no checkpoint at {checkpoint}")
    return checkpoint


def find_checkpoints(source: str) -> list[Path]:
    """The file of a trained model as above, or those of a cross-validated run's folds.

    Raises:
        InputError: not all folds have been trained, or `find_checkpoint` raises it.
        MissingFileError: it is not there.
    """
    folds = sorted(Path(source).glob(FOLDS)) if "://" not in source else []
    if folds and not (Path(source) / METRICS).exists():
        raise InputError(f"{source}: not all of its folds have ended; --resume {source} goes on with them")
    return [find_checkpoint(str(fold)) for fold in folds] or [find_checkpoint(source)]


class Checkpoint(NamedTuple):
    """A checkpoint that has been read and found intact; it holds only plain data and tensors.

    Attributes:
        content: what Lightning stored in it, on the CPU.
    """

    path: Path
    content: dict[str, Any]


def read_checkpoint(path: Path, mmap: bool = True) -> Checkpoint:
    """Reads the file without executing anything in it.

    Args:
        mmap: leave the weights in the file until they are used.

    Raises:
        InputError: it is truncated or damaged, holds code, or is not a checkpoint of this project.
    """
    import torch  # imported here because it takes seconds, and tools that only look at runs do without

    from harness.runs.checkpoint_files import verify

    verify(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError) as error:  # torch's own message has several lines
        raise InputError(f"{path}: cut off, damaged or not a checkpoint") from error
    if isinstance(checkpoint, dict) and "pytorch-lightning_version" in checkpoint:
        checkpoint.setdefault("hyper_parameters", {})  # of a module that saves none
    parts = [checkpoint.get("state_dict"), checkpoint.get("hyper_parameters")] if isinstance(checkpoint, dict) else [0]
    if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts):
        raise InputError(f"{path}: not a checkpoint of this project; it has no hyperparameters and state_dict")
    for name in [*checkpoint["hyper_parameters"], *checkpoint.get("datamodule_hyper_parameters", {})]:
        if str(name).startswith("_"):  # Lightning would call `_instantiator`, and import `_class_path`
            raise InputError(f"{path}: hyperparameter {name!r}: only options of this project's modules are read")
    return Checkpoint(path, checkpoint)


def check_fits(checkpoint: Checkpoint, model: "nn.Module") -> None:
    """Raises InputError if the weights in the checkpoint are not those of a network like `model`."""
    theirs = {name: tuple(tensor.shape) for name, tensor in checkpoint.content["state_dict"].items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            there, here = theirs.get(name, "missing"), ours.get(name, "missing")
            raise InputError(f"{checkpoint.path}: holds another network; {name} is {there} there and {here} here")


def newest_intact(checkpoint: Path) -> Checkpoint:
    """The checkpoint in this file; if a run's last one is damaged, the run's newest other one, with a line on it.

    Raises:
        InputError: there is no other, or the checkpoint cannot be opened.
    """
    try:
        return read_checkpoint(checkpoint, mmap=False)
    except InputFileError:
        raise  # it cannot be opened, but may be intact
    except InputError as error:
        others = [checkpoint.with_name(name) for name in RESUMABLE]
        steps = {path: steps for path in others if path != checkpoint and (steps := _steps(path)) is not None}
        if checkpoint.name not in RESUMABLE or not steps:
            raise
        newest = max(steps, key=lambda path: steps[path])
        if is_rank_zero():
            print(f"{error}; continuing from {newest.name}, of step {steps[newest]:,}", flush=True)
        return read_checkpoint(newest, mmap=False)


def set_aside(checkpoint: Path) -> None:
    """Renames a damaged checkpoint, so that the next write of last.ckpt does not keep it as the predecessor."""
    checkpoint.replace(checkpoint.with_name(f"{checkpoint.name}.damaged"))


def _steps(path: Path) -> int | None:
    """The number of steps at the checkpoint; None if it is missing or damaged."""
    try:
        return read_checkpoint(path).content.get("global_step")
    except InputError:
        return None
