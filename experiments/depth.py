"""Depth: convolutional networks of 6 to 50 layers, plain and with residual connections, on the same images.

    python experiments/depth.py                                       generated shapes; no download
    python experiments/depth.py --depths 6,26,82 --max_epochs 12
    python experiments/depth.py --sample false --images 10000         10,000 images of CIFAR-10

The networks are those of He et al. 2015, "Deep residual learning for image recognition", section 4.2, with two stages
of 8 and 16 channels, on images of 16 x 16 pixels. All have BatchNorm and the initial weights that He et al. proposed.
The study takes 45 s on two cores. With seed 0 it finds:

                  training error          validation error       highest gradient norm at first
    layers       plain    residual       plain    residual           plain    residual
       6        20.7 %     18.9 %       25.0 %     35.7 %            0.29       0.46
      14        13.2 %     10.9 %       21.7 %     18.3 %            0.32       1.2
      26        47.9 %     10.5 %       57.3 %     16.0 %            2.5        1.6
      50        87.2 %      9.4 %       88.3 %     19.0 %            250        3.0

- A plain network of 50 layers is worse than one of 14, even on the images that it learns. So this is no overfitting.
  It could do as well if its other layers passed on what they get, but descent does not find that. With shortcuts they
  do so from the start, and 50 layers are no worse than 14.
- With BatchNorm and without shortcuts, the gradient grows by a fifth with each layer on its way to the input. The first
  of 50 layers gets a gradient of norm 250, which is 4,000 times the least. In the first 14 layers the norm is above 20,
  which is too high: at the rate of 0.1, such a gradient moves a layer of 64 channels by 18 % in one step, and these
  narrow ones by more. Shortcuts let the gradient pass by.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from basics.errors import InputError
from callbacks.gradient_norms import HIGHEST_HEALTHY
from experiments.fundamentals.deep_nets import KINDS, Outcome, Training, net_options, prepare, train
from experiments.fundamentals.depth_figures import draw_errors, draw_norms
from experiments.fundamentals.few_images import train_all
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags
from lit_modules.nets import build_net

TRY_NEXT = "--lr 0.01  # does a lower rate rescue the plain network of 50 layers?"


@dataclass(frozen=True, kw_only=True)
class DepthFlags(StudyFlags):
    """The networks, and their training.

    Args:
        depths: layers of the networks: 6, 10, 14 or so on.
        images: how many to train on.
        max_epochs: passes over the images.
        lr: learning rate; momentum and weight decay are the paper's.
        batch_size: images per step.
        seed: of the choice of images, the initial weights and the order of batches.
        jobs: trainings to run at a time, each in a process; 0: as many as there are cores.
        sample: use the embedded shapes; false: CIFAR-10.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
    """

    depths: list[int] = field(default_factory=lambda: [6, 14, 26, 50])
    images: int = 1700
    max_epochs: int = 8
    lr: float = 0.1
    batch_size: int = 64
    seed: int = 0
    jobs: int = 0
    sample: bool = True
    data_dir: str = "data"


DEFAULTS = DepthFlags()


def main(flags: DepthFlags = DEFAULTS) -> dict[str, Any]:
    """Trains plain and residual networks of several depths, and compares their training errors and gradients."""
    _check(flags)
    training = Training(
        flags.images, flags.max_epochs, flags.lr, flags.batch_size, flags.seed, flags.sample, flags.data_dir
    )
    data = prepare(training)
    study = Study("depth", flags, try_next=TRY_NEXT)
    print(data.describe(), flush=True)
    depths = sorted(set(flags.depths))
    tasks = [(training, kind, depth) for depth in reversed(depths) for kind in KINDS]  # long ones first
    outcomes = dict(zip([task[1:] for task in tasks], train_all(train, tasks, flags.jobs), strict=True))
    results = {kind: {depth: outcomes[kind, depth] for depth in depths} for kind in KINDS}
    _print_table(results)
    figures = {"errors": draw_errors(results), "gradients": draw_norms(results, HIGHEST_HEALTHY)}
    return study.conclude(_metrics(results), figures)


def _check(flags: DepthFlags) -> None:
    if not flags.depths:
        raise InputError("depths []: name at least one")
    if flags.max_epochs < 1:  # -1 has no end elsewhere
        raise InputError(f"max_epochs {flags.max_epochs}: must be at least 1")
    if not flags.lr > 0:
        raise InputError(f"lr {flags.lr}: must be above 0")
    for depth in flags.depths:
        with torch.device("meta"):  # refuses a wrong depth, at no cost
            build_net("resnet_cifar", (3, 16, 16), 10, **net_options(True, depth))


def _print_table(results: dict[str, dict[int, Outcome]]) -> None:
    print(f"\n{'network':<20}{'training error':>15}{'validation error':>18}{'gradient norm':>15}")
    for kind, its in results.items():
        for depth, outcome in its.items():
            highest = max(outcome.initial)
            note = f"  above {HIGHEST_HEALTHY:g}" if highest > HIGHEST_HEALTHY else ""
            errors = f"{outcome.train_errors[-1]:>15.1%}{outcome.val_errors[-1]:>18.1%}"
            print(f"{f'{kind}, {depth} layers':<20}{errors}{highest:>15.3g}{note}")
    print("gradient norm: the highest of all layers, on the first batch\n")


def _metrics(results: dict[str, dict[int, Outcome]]) -> dict[str, Any]:
    nets = {f"{kind}_{depth}": outcome for kind, its in results.items() for depth, outcome in its.items()}
    errors = {f"train_error/{name}": round(outcome.train_errors[-1], 4) for name, outcome in nets.items()}
    return errors | {"networks": {name: outcome._asdict() for name, outcome in nets.items()}}


if __name__ == "__main__":
    cli(main)
