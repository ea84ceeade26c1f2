"""Header."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch import seed_everything

from basics.errors import InputError
from callbacks import LRDecay
from experiments.fundamentals.few_images import train_all
from experiments.fundamentals.invariance_figures import draw_accuracies, draw_images
from experiments.fundamentals.moved_digits import BORDER, SmallDigits, accuracies, move, permute
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags, quiet_trainer
from lit_modules import Classifier

# Name and options of each network. Both convnets are without shortcuts and dropout.
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"widths": [128, 64]}),
    "cnn, flattened": ("cnn", {"widths": (8, 16, 64), "dropout": 0.0}),
    "cnn": ("resnet_cifar", {"depth": 8, "widths": (8, 16, 32), "residual": False}),
}
ORDERS = ("natural", "permuted")  # of the pixels


@dataclass(frozen=True, kw_only=True)
class InvarianceFlags(StudyFlags):
    """The trainings of each network.

    Args:
        seeds: trainings of each network on each order of the pixels, with the seeds 0, 1 and so on.
        max_epochs: passes over the training images.
        lr: highest learning rate of Adam, which rises to it and falls to 0.
        batch_size: images per step.
        jobs: trainings to run at a time, each in a process; 0: as many as there are cores.
        sample: use the embedded digits; false: MNIST.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
    """

    seeds: int = 3
    max_epochs: int = 8
    lr: float = 4e-3
    batch_size: int = 64
    jobs: int = 0
    sample: bool = True
    data_dir: str = "data"


DEFAULTS = InvarianceFlags()


def main(flags: InvarianceFlags = DEFAULTS) -> dict[str, Any]:
    """Trains an MLP and two CNNs on digits in the middle of the image, and tests them on moved ones."""
    least = {"seeds": (flags.seeds, 1), "max_epochs": (flags.max_epochs, 1), "jobs": (flags.jobs, 0)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"{name} {value}: must be at least {lowest}")
    if not flags.lr > 0:
        raise InputError(f"lr {flags.lr}: must be above 0")
    data = _data(flags, seed=0, permuted=False)
    study = Study("invariance", flags, f"{flags.seeds}_seeds")
    print(data.describe(), flush=True)
    keys = [(name, order) for name in NETS for order in ORDERS]
    tasks = [(flags, *key, seed) for key in keys for seed in range(flags.seeds)]
    scores = np.array(train_all(train, tasks, flags.jobs)).reshape(len(NETS), len(ORDERS), flags.seeds, BORDER + 1)
    results = {name: dict(zip(ORDERS, its, strict=True)) for name, its in zip(NETS, scores, strict=True)}
    _print_table(results)
    figures = {"accuracies": draw_accuracies(results), "images": _draw_images(data)}
    metrics = study.conclude(_metrics(results), figures)
    print("\nTo try next: --sample false --max_epochs 2 --seeds 1, the same on MNIST's own digits, once they are in data")
    return metrics


def train(flags: InvarianceFlags, name: str, order: str, seed: int) -> list[float]:
    """The accuracies on test images moved by 0 to `BORDER` pixels, after training on images that were not moved."""
    permuted = order == "permuted"
    data = _data(flags, seed, permuted)
    natural = _data(flags, seed, permuted=False).arrays if permuted else data.arrays
    net, options = NETS[name]
    seed_everything(seed, verbose=False)
    model = Classifier(
        net, data.input_shape, data.num_classes, data.mean, data.std, options, optimizer="adam", lr=flags.lr
    )
    # Nothing is chosen on the validation split, so it is not looked at.
    trainer = quiet_trainer(max_epochs=flags.max_epochs, callbacks=[LRDecay("onecycle")], limit_val_batches=0)
    trainer.fit(model, data)
    return accuracies(model, natural.test_images, natural.test_labels, permuted)


def _data(flags: InvarianceFlags, seed: int, permuted: bool) -> SmallDigits:
    data = SmallDigits(flags.data_dir, flags.batch_size, seed, flags.sample, permuted)
    data.prepare_data()
    data.setup()
    return data


def _print_table(results: dict[str, dict[str, np.ndarray]]) -> None:
    print(f"\n{'test accuracy, moved by':<26}" + "".join(f"{distance:>7} px" for distance in range(BORDER + 1)))
    for order in ORDERS:
        for name, its in results.items():
            print(f"{f'{name}, {order}':<26}" + "".join(f"{mean:>10.1%}" for mean in its[order].mean(0)))
    print()


def _metrics(results: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """The CNN's lead over the MLP in points, and all accuracies."""
    lead = {order: 100 * (results["cnn"][order] - results["mlp"][order]).mean(0) for order in ORDERS}
    return {
        "lead/natural_0px": float(lead["natural"][0]),
        "lead/natural_4px": float(lead["natural"][4]),
        "lead/permuted_0px": float(lead["permuted"][0]),
        "lead/permuted_4px": float(lead["permuted"][4]),
        "accuracies": {name: {order: a.tolist() for order, a in its.items()} for name, its in results.items()},
    }


def _draw_images(data: SmallDigits) -> Any:
    images, labels = data.arrays.test_images, data.arrays.test_labels
    some = images[[int(np.flatnonzero(labels == digit)[0]) for digit in range(5)]]
    moved = move(some, 0, 4)
    return draw_images({"as trained on": some, "4 px to the right": moved, "the same, permuted": permute(moved)})


if __name__ == "__main__":
    cli(main)
