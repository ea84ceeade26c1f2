"""The validation and test figures of a trained model again, on any number of devices.

    python experiments/evaluate.py runs/mnist/<run>
    python experiments/evaluate.py runs/cifar10/<run>/checkpoints/last.ckpt --devices 2 --accelerator cpu
    python experiments/evaluate.py runs/mnist/<run> --data fashion_mnist        on another data set of such images
    python experiments/evaluate.py runs/own_images/<run> --data_dir elsewhere

The checkpoint knows the network, the data set with its splits, and the precision, so the figures are those of
metrics.json. Images, tables and embeddings can be evaluated; of a cross-validated run, each fold by itself
(runs/house_prices/<run>/fold0). Nothing is written.
"""

from pathlib import Path
from typing import Any

import numpy as np

from datamodules import ImageData
from datamodules.batch_module import BatchModule
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.trained import load_data, load_model
from harness.training.preflight import check_batches
from harness.training.report import evaluate, print_table
from harness.training.trainer import build_trainer
from lit_modules.stages import Stages


def main(
    checkpoint: str,
    data: str | None = None,
    data_dir: str | None = None,
    sample: bool | None = None,
    precision: str | None = None,
    **flags: Any,
) -> dict[str, Any]:
    """Prints and returns the figures of a checkpoint.

    Args:
        checkpoint: run directory, whose best epoch is taken, or checkpoint file.
        data: name of another data set with such images and as many classes; null: the one it was trained on.
        data_dir: folder that holds it; null: the folder used in training.
        sample: use the embedded sample; null: if training did.
        precision: of the computation, such as 32-true; null: the precision used in training.
    """
    path = find_checkpoint(checkpoint)
    model = load_model(path)
    samples = load_data(path, data, data_dir=data_dir, sample=sample)
    samples.prepare_data()
    samples.setup()
    _check_fits(path, model, samples, chosen=(data, data_dir, sample) != (None, None, None))
    flags["enable_progress_bar"] = False
    precision = precision or read_checkpoint(path).get("precision")
    trainer = build_trainer(None, 1, [], False, precision=precision, **flags)
    check_batches(samples, trainer)
    metrics = evaluate(trainer, model, samples, None, validates=len(samples.val_indices) > 0)
    if trainer.is_global_zero:
        print(f"{path}\n{samples.name}: {model.hparams.net}\n{samples.describe()}")
        print_table(metrics, model.metrics, "best epoch" if path.stem == "best" else path.stem)
        print(f"{metrics['test/samples']:,} test samples")
    return metrics


def _check_fits(path: Path, model: Stages, data: BatchModule, chosen: bool) -> None:
    """Raises ValueError if the model cannot take the data, or if its own data, not `chosen` ones, have changed."""
    shape, classes = tuple(data.input_shape), len(data.classes)
    wanted, known = tuple(model.hparams.input_shape), model.hparams.get("num_classes", classes)
    if (shape, classes) != (wanted, known):
        raise ValueError(
            f"{path}: tells {known} classes apart from {_by(wanted)} values; {data.name} has {classes} and {_by(shape)}"
        )
    images = isinstance(data, ImageData)
    # Both depend on the training split, and so on everything that determines it.
    fitted, now = (model.hparams.mean, data.mean) if images else (model.hparams.preprocessing, data.preprocessing)
    if not images:
        now = {name: now.get(name) for name in fitted}  # an older checkpoint has fewer
    if not (np.allclose(fitted, now) or chosen if images else fitted == now):
        raise ValueError(f"{path}: {data.name} has changed since the training{'; go on by --data' if images else ''}")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    cli(main)
