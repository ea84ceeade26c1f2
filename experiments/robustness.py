"""What to expect of a trained image classifier: how far to believe it, and how it bears images that are worse.

    python experiments/robustness.py runs/mnist/<run>
    python experiments/robustness.py runs/cifar10/<run>/checkpoints/last.ckpt

Prints the expected calibration error of the test images, before and after temperature scaling, with the temperature
that the validation images choose; then the accuracy on test images that are turned, moved, noisy, darker or of less
contrast. A run directory gets robustness.json and figures/robustness.png, unless these would be of another checkpoint
than the run's best, or of data from elsewhere.

Directions and noise are drawn from a fixed seed, so the same checkpoint has the same figures.
"""

from typing import Any

from basics.errors import InputError
from basics.files import write_json
from datamodules import ImageData
from harness.command_line.cli import cli
from harness.drawing.figures import save_figures
from harness.drawing.robustness_figure import draw_robustness
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.runs.layout import CONFIG, ROBUSTNESS, run_of
from harness.tasks.robustness import accuracies, all_logits, best_temperature, calibrations
from harness.tasks.trained import check_data, load_data, load_model
from lit_modules import Classifier


def main(checkpoint: str, data_dir: str | None = None) -> dict[str, Any]:
    """Measures calibration and robustness, and writes both to the run's directory.

    Args:
        checkpoint: run directory, whose best epoch is taken, or checkpoint file.
        data_dir: folder that holds the data set; null: the folder used in training.
    """
    read = read_checkpoint(find_checkpoint(checkpoint))
    model, data = load_model(read), load_data(read, data_dir=data_dir)
    if not isinstance(model, Classifier) or not isinstance(data, ImageData):
        raise InputError(f"{read.path}: holds a {type(model).__name__}; only classifiers of images are measured here")
    if model.loss == "bce":
        raise InputError(f"{read.path}: trained with --loss bce; it has no probabilities that sum to one to calibrate")
    data.prepare_data()
    data.setup()
    check_data(read, model, data, chosen=data_dir is not None)
    print(f"{read.path}\n{data.name}: {model.hparams['net']}\n{data.describe()}", flush=True)
    model.float().eval()
    shares = accuracies(model, data.test_dataloader())
    found = {**_calibration(model, data), "accuracy": shares}
    _print(found)
    run = run_of(read.path)
    if data_dir is None and (run / CONFIG).is_file() and find_checkpoint(str(run)).samefile(read.path):
        write_json(run / ROBUSTNESS, found)
        title = f"{model.hparams['net']} on worse images of {data.name}"
        figures = {"robustness": draw_robustness(shares, title)}
        save_figures(figures, run / "figures")
        print(run / "figures" / "robustness.png")
    return found


def _calibration(model: Classifier, data: ImageData) -> dict[str, float]:
    """The figures of test images; without a validation split, those of no temperature."""
    tested = all_logits(model, data.test_dataloader())
    if not len(data.val_indices):
        return {name: its for name, its in calibrations(*tested, 1).items() if not name.endswith("_at_temperature")}
    temperature = best_temperature(*all_logits(model, data.val_dataloader()))
    return {"temperature": temperature, **calibrations(*tested, temperature)}


def _print(found: dict[str, Any]) -> None:
    error, loss = found["calibration_error"], found["log_loss"]
    print(f"\nexpected calibration error {error:.2%}, log-loss {loss:.4f}")
    if "temperature" in found:
        error, loss = found["calibration_error_at_temperature"], found["log_loss_at_temperature"]
        print(f"at temperature {found['temperature']:.3f}:     {error:.2%}, log-loss {loss:.4f}")
    print("\nimages                   accuracy")
    for name, share in found["accuracy"].items():
        print(f"{name:<24} {share:>8.2%}")


if __name__ == "__main__":
    cli(main)
