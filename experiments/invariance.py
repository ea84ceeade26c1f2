"""Digits that are moved: an MLP beside convolutional networks, and what is left of these when pixels change places.

    python experiments/invariance.py                                        three seeds; no download
    python experiments/invariance.py --seeds 1 --max_epochs 20
    python experiments/invariance.py --sample false --seeds 1 --max_epochs 2          MNIST's digits

All networks learn digits in the middle of the image only, and are tested on the same digits moved by 0 to 6 pixels to
each side. The second time, the 784 pixels are shuffled, in the same way in every image, training and test: nothing is
lost, but neighbours are no longer neighbours. Test accuracy of the first command, means of seeds 0, 1 and 2:

    moved by                      0        1        2        3        4        5        6 pixels
    MLP                        97.9 %   89.2 %   49.6 %   21.9 %   13.1 %   10.5 %   10.1 %
    CNN, maps flattened        99.4 %   97.2 %   78.4 %   40.7 %   19.8 %   12.8 %   10.9 %
    CNN, maps averaged         98.5 %   76.3 %   77.0 %   73.8 %   97.8 %   73.8 %   69.1 %

- The MLP has a weight for each pixel, and knows nothing of the same stroke four pixels on.
- A convolution finds it there: if the image moves, so do the maps. Linear layers on top have a weight for each place in
  the maps again, so they stand only the small moves that pooling hides. The mean of each map forgets the place for
  good.
- That mean is not quite the same for each move: two strides of 2 look at every fourth place, so that only moves by 4
  pixels leave it as it was (Zhang 2019, "Making convolutional networks shift-invariant again").
- With its pixels shuffled, the image has no strokes for a convolution to find. The three networks are within
  three points of each other at 0 pixels, and all of them are lost when the digit moves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Name and options of each network. Both convnets are without shortcuts and dropout.
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("mlp", {"widths": [128, 64]}),
    "CNN, maps flattened": ("cnn", {"widths": (8, 16, 64), "dropout": 0.0}),
    "CNN, maps averaged": ("resnet_cifar", {"depth": 8, "widths": (8, 16, 32), "residual": False}),
}
ORDERS = ("natural", "permuted")  # of the pixels

TRY_NEXT = "--sample false --seeds 1 --max_epochs 2  # the same with MNIST's 60,000 digits"


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
    if flags.max_epochs < 1:  # -1 has no end elsewhere
        raise InputError(f"max_epochs {flags.max_epochs}: must be at least 1")
    if not flags.lr > 0:
        raise InputError(f"lr {flags.lr}: must be above 0")
    data = _data(flags, seed=0, permuted=False)
    study = Study("invariance", flags, try_next=TRY_NEXT)
    print(data.describe(), flush=True)
    keys = [(name, order) for name in NETS for order in ORDERS]
    tasks = [(flags, *key, seed) for key in keys for seed in range(flags.seeds)]
    scores = np.array(train_all(train, tasks, flags.jobs)).reshape(len(NETS), len(ORDERS), flags.seeds, BORDER + 1)
    results = {name: dict(zip(ORDERS, its, strict=True)) for name, its in zip(NETS, scores, strict=True)}
    _print_table(results)
    figures = {"accuracies": draw_accuracies(results), "images": _draw_images(data)}
    return study.conclude(_metrics(results), figures)


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
    print(f"\n{'test accuracy, moved by':<30}" + "".join(f"{distance:>4} px" for distance in range(BORDER + 1)))
    for order in ORDERS:
        for name, its in results.items():
            print(f"{f'{name}, {order}':<30}" + "".join(f"{mean:>7.1%}" for mean in its[order].mean(0)))
    print()


def _metrics(results: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """The lead of the CNN that averages its maps over the MLP, in points, and all accuracies."""
    leads: dict[str, float] = {}
    for order in ORDERS:
        # Adding 0 makes a 0 of -0.
        lead = 100 * (results["CNN, maps averaged"][order] - results["MLP"][order]).mean(0)
        leads |= {f"lead/{order}_{distance}px": round(float(lead[distance]), 2) + 0.0 for distance in (0, 4)}
    return leads | {
        "accuracies": {name: {order: a.tolist() for order, a in its.items()} for name, its in results.items()},
    }


def _draw_images(data: SmallDigits) -> "Figure":
    images, labels = data.arrays.test_images, data.arrays.test_labels
    some = images[[int(np.flatnonzero(labels == digit)[0]) for digit in range(5)]]
    moved = move(some, 0, 4)
    return draw_images({"as trained on": some, "4 px to the right": moved, "the same, permuted": permute(moved)})


if __name__ == "__main__":
    cli(main)
