"""The validation and test figures of a trained model again, on any number of devices.

    python experiments/evaluate.py runs/mnist/<run>
    python experiments/evaluate.py runs/cifar10/<run>/checkpoints/last.ckpt --devices 2 --accelerator cpu
    python experiments/evaluate.py runs/mnist/<run> --data fashion_mnist        on another data set of such images
    python experiments/evaluate.py runs/own_images/<run> --data_dir elsewhere
    python experiments/evaluate.py runs/table/<run> --csv elsewhere/my.csv

The checkpoint knows the network, the data set with its splits, and the precision, so the figures are those of
metrics.json. Only bfloat16 is replaced, by float32, where it would be emulated, several times as slowly.
Images, masks, tables and embeddings can be evaluated; of a cross-validated run, each fold by itself
(runs/house_prices/<run>/fold0). Nothing is written.
"""

from dataclasses import dataclass, replace
from typing import Any

from basics.amounts import amount
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.trained import check_data, load_data, load_model
from harness.training.flags import TrainerFlags
from harness.training.precision import not_emulated
from harness.training.preflight import check_batches, check_flags
from harness.training.report import evaluate, print_classes, print_labels, print_table
from harness.training.trainer import build_trainer, showing_profile


@dataclass(frozen=True, kw_only=True)
class EvaluationFlags(TrainerFlags):
    """What is evaluated on.

    Args:
        data: name of another data set with such images and as many classes; null: the one it was trained on.
        data_dir: folder that holds it; null: the folder used in training.
        csv: the table, if it is elsewhere now.
        test_csv: its test rows, likewise.
        labels: the CSV file with the labels of images, likewise.
        sample: use the embedded sample; null: if training did.
        precision: of the computation, such as 32-true; null: the precision used in training, unless that was
            bfloat16 and is emulated here.
    """

    data: str | None = None
    data_dir: str | None = None
    csv: str | None = None
    test_csv: str | None = None
    labels: str | None = None
    sample: bool | None = None


DEFAULTS = EvaluationFlags()


def main(checkpoint: str, flags: EvaluationFlags = DEFAULTS) -> dict[str, Any]:
    """Prints and returns the figures of a checkpoint.

    Args:
        checkpoint: run directory, whose best epoch is taken, or checkpoint file.
    """
    read = read_checkpoint(find_checkpoint(checkpoint))
    model, path = load_model(read), read.path
    places = {name: getattr(flags, name) for name in ("data_dir", "csv", "test_csv", "labels")}
    data = load_data(read, flags.data, sample=flags.sample, **places)
    data.prepare_data()
    data.setup()
    chosen = any(value is not None for value in (flags.data, flags.data_dir, flags.sample))
    check_data(read, model, data, chosen)
    precision = flags.precision or not_emulated(read.content.get("precision"), flags.accelerator)
    trainer = build_trainer(replace(flags, precision=precision, enable_progress_bar=False))
    check_flags(trainer, monitor=None, lr_patience=0)
    check_batches(data, trainer)
    with showing_profile():
        metrics = evaluate(trainer, model, data, None, validates=len(data.val_indices) > 0).metrics
    if trainer.is_global_zero:
        print(f"{path}\n{data.name}: {model.hparams['net']}\n{data.describe()}")
        print_table(metrics, model.metrics, "best epoch" if path.stem == "best" else path.stem)
        print_classes(metrics, getattr(model, "by_class", {}))
        print_labels(getattr(model, "by_label", {}))
        print(amount(metrics["test/samples"], "test sample"))
    return metrics


if __name__ == "__main__":
    cli(main)
