"""Normalisation: of the input, and of the layers by batch, layer, instance and group norm.

    python experiments/normalisation.py
    python experiments/normalisation.py --batch_sizes 2,16,512 --max_epochs 10
    python experiments/normalisation.py --momenta 0.9,0.1,0.001

All networks learn the embedded digits, so there is no download. It takes 20 s on two cores. The first command shows:

- The area of a house in square metres varies 21 times as much as its number of rooms. So the loss is a long valley, and
  gradient descent takes 451 steps until 1 % of the loss above its minimum is left. With both features standardised it
  takes 11.
- Of 96 inputs, which are drawn as blocks, batch norm averages over 16, layer norm over 24, instance norm over 4 and
  group norm over 12. Which they are is found from the gradients of the layers themselves.
- The running mean of BatchNorm starts at 0. At each batch, the batch takes a share of it, which is called momentum.
  With a momentum of 0.5, 95 % of the mean comes from the data after 5 batches; with 0.1 after 29, with 0.01 after 299.
- An MLP with BatchNorm gets 73.1 % of the test digits right after training in batches of 2 images, 96.4 % after batches
  of 4, and 98.1 % after batches of 32. With LayerNorm, which knows no batch, it gets 97.8, 97.5 and 97.5 %.
- Without `model.eval()`, an answer depends on the other images of its batch. The network that gets 98.1 % gets 78.1 %
  in batches of 4, and 10.8 % if each batch holds one class only.
"""

from dataclasses import dataclass, field
from typing import Any

from basics.errors import InputError
from experiments.fundamentals.feature_scaling import REACHED, Descent, descend, draw_scaling, houses, standardised
from experiments.fundamentals.few_images import train_all
from experiments.fundamentals.norm_blocks import averaged_over, draw_blocks
from experiments.fundamentals.normalisation_figures import draw_batches, draw_running
from experiments.fundamentals.running_statistics import NORMS, digits, running_means, score
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags
from lit_modules.norms import NORMS as IMAGE_NORMS

Scores = dict[str, dict[int, dict[str, float]]]  # by norm, size of batches, and way of testing
SHOWN_SIZE = 32  # of the batches of the networks whose two modes are compared; of those trained, the nearest to it

TRY_NEXT = "--batch_sizes 2,4,8 --max_epochs 20  # do more epochs make up for small batches?"


@dataclass(frozen=True, kw_only=True)
class NormalisationFlags(StudyFlags):
    """What is scaled, and the trainings with each norm.

    Args:
        houses: generated houses, whose prices are fitted by their areas and rooms.
        momenta: of BatchNorm's running mean: the share of a new batch in it.
        batches: how many batches that mean follows.
        batch_sizes: images per step of the trainings of an MLP on the embedded digits.
        max_epochs: passes over the training images.
        seed: of everything generated, of the initial weights and of the order of batches.
        jobs: trainings to run at a time, each in a process; 0: as many as there are cores.
    """

    houses: int = 200
    momenta: list[float] = field(default_factory=lambda: [0.5, 0.1, 0.01])
    batches: int = 200
    batch_sizes: list[int] = field(default_factory=lambda: [2, 4, 8, 32, 128])
    max_epochs: int = 5
    seed: int = 0
    jobs: int = 0


DEFAULTS = NormalisationFlags()


def main(flags: NormalisationFlags = DEFAULTS) -> dict[str, Any]:
    """Shows what the normalisation of inputs and of layers does, and what can go wrong with BatchNorm."""
    _check(flags)
    study = Study("normalisation", flags, try_next=TRY_NEXT)
    features, prices = houses(flags.houses, flags.seed)
    descents = {"as they are": descend(features, prices), "standardised": descend(standardised(features), prices)}
    _print_descents(descents)
    followed = {momentum: running_means(momentum, flags.batches, flags.seed) for momentum in flags.momenta}
    scores = _train_all(flags)
    _print_scores(scores)
    figures = {
        "scaling": draw_scaling(descents),
        "blocks": draw_blocks(),
        "running": draw_running({momentum: means for momentum, (means, _) in followed.items()}, _first(followed)[1]),
        "batches": draw_batches(scores, _shown_size(flags.batch_sizes)),
    }
    return study.conclude(_metrics(descents, scores), figures)


def _check(flags: NormalisationFlags) -> None:
    least = {"houses": (flags.houses, 10), "batches": (flags.batches, 1), "max_epochs": (flags.max_epochs, 1)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"{name} {value}: must be at least {lowest}")
    if not flags.momenta or not all(0 < momentum <= 1 for momentum in flags.momenta):
        raise InputError(f"momenta {flags.momenta}: need some, each above 0 and at most 1")
    images = len(digits(flags.seed, 2).train_indices)
    if not flags.batch_sizes or not all(2 <= size <= images for size in flags.batch_sizes):
        raise InputError(f"batch_sizes {flags.batch_sizes}: need some, each from 2 to the {images:,} training images")


def _shown_size(sizes: list[int]) -> int:
    return min(sizes, key=lambda size: abs(size - SHOWN_SIZE))


def _first(followed: dict[float, Any]) -> Any:
    return next(iter(followed.values()))


def _train_all(flags: NormalisationFlags) -> Scores:
    sizes = sorted(set(flags.batch_sizes))
    tasks = [(flags.seed, norm, size, flags.max_epochs) for size in sizes for norm in NORMS]  # long ones first
    found = dict(zip([task[1:3] for task in tasks], train_all(score, tasks, flags.jobs), strict=True))
    return {norm: {size: found[norm, size] for size in sizes} for norm in NORMS}


def _print_descents(descents: dict[str, Descent]) -> None:
    print(f"\n{'features':<16}{'condition number':>18}{'rate':>12}{'steps':>10}")
    for name, descent in descents.items():
        print(f"{name:<16}{descent.condition:>18,.1f}{descent.rate:>12.2g}{len(descent.path) - 1:>10,}")
    print(f"steps: until {100 * REACHED:g} % of the loss above its minimum is left")
    print(f"\n{'norm':<16}{'inputs that an output of 4 x 6 x 2 x 2 depends on':>52}")
    for norm in IMAGE_NORMS:
        print(f"{norm:<16}{averaged_over(norm).sum():>52}")


def _print_scores(scores: Scores) -> None:
    ways = list(next(iter(next(iter(scores.values())).values())))
    heads = {way: way.rpartition(", ")[::2] for way in ways}  # such as ("train", "batches of 64") and ("", "eval")
    widths = {way: 2 + max(6, *map(len, lines)) for way, lines in heads.items()}
    print()
    for number, title in enumerate(("", "test accuracy")):
        print(f"{title:<22}" + "".join(f"{heads[way][number]:>{width}}" for way, width in widths.items()))
    for norm, of_size in scores.items():
        for size, its in of_size.items():
            print(f"{f'{norm}, batches of {size}':<22}" + "".join(f"{its[way]:>{widths[way]}.1%}" for way in ways))
    print()


def _metrics(descents: dict[str, Descent], scores: Scores) -> dict[str, Any]:
    steps = {f"steps/{name.replace(' ', '_')}": len(descent.path) - 1 for name, descent in descents.items()}
    return steps | {"scores": {norm: {str(size): its for size, its in of.items()} for norm, of in scores.items()}}


if __name__ == "__main__":
    cli(main)
