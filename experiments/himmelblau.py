"""Himmelblau's function: four minima, and which of them an optimizer falls into; four saddles, and the way past one.

    python experiments/himmelblau.py                                   six optimizers from 6,566 starts each
    python experiments/himmelblau.py --lr_decay linear --steps 1000    the same, with rates that fall to 0
    python experiments/himmelblau.py --optimizer adam --lr 0.03 --steps 2000

f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2 (Himmelblau 1972, "Applied nonlinear programming") is 0 at (3, 2),
(-2.805118, 3.131312), (-3.779310, -3.283186) and (3.584428, -1.848126). All starts are one tensor, (N, 2). Their loss
is the sum of f, whose gradient at each start depends on that start alone. Five of them are drawn as trajectories.

Steps until a start stays within 1e-4 of a minimum, median and maximum, with the first command:

    sgd          21 and  87 steps    6,566 starts of 6,566
    momentum    190 and 238          6,566
    nesterov     75 and 140          6,566
    adagrad      30 and 399          6,563
    rmsprop     121 and 500          4,763
    adam        189 and 490          6,546

Plain descent does well, because the valleys are round. The heavy ball needs about 190 steps at every
rate at which it oscillates, since each step then brings it closer by a factor of sqrt(0.9). RMSprop's steps do not
shrink with the gradient, so the other starts still hover around a minimum; when rates fall, as with the second command,
all of them settle. sgd brings 90 % of the starts to their nearest minimum; momentum, which carries many past it, only
63 %, and the map of its basins is the most torn.

The gradient is also zero at four saddles and one maximum, critical_points in the figures. Newton's method on the
gradient finds them as readily as the minima: it looks for a zero, not for a way down. On the border between two basins
plain descent comes to a saddle and slows there, since the gradient vanishes; momentum passes it (figure saddle). From
rest, 1e-6 beside the lowest saddle and at a rate of 0.003, plain descent takes 317 steps to get a distance of 0.5 away,
and momentum 83: each step multiplies the distance by 1.042, or by 1.179.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from callbacks import LRDecay
from experiments.fundamentals.critical_figures import Passage, draw_critical_points, draw_saddle
from experiments.fundamentals.critical_points import Critical, critical_points, escape, sgd_path, start_on_border
from experiments.fundamentals.himmelblau_figures import draw_arrivals, draw_basins, draw_surface, draw_trajectories
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags, quiet_trainer
from lit_modules.optimizers import build_optimizer

MINIMA = torch.tensor(
    [(3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)], dtype=torch.float64
)
TOLERANCE = 1e-4  # distance at which a minimum counts as reached
SPAN = 6.0  # the square of starts is [-SPAN, SPAN]^2
NAMED = ((-0.2, -0.8), (-5.5, 5.0), (5.5, 5.5), (-5.5, -5.0), (5.5, -5.5))  # beside the hilltop, and the corners
TRY_NEXT = "--lr_decay linear --steps 1000  # which pale cells of rmsprop's map remain?"

# A rate at which plain descent and momentum both follow the valleys, and two points that it takes plain descent from to
# different minima: on the border between these basins is the lowest saddle.
SADDLE_RATE, SADDLE_STEPS = 0.003, 400
BESIDE = (torch.tensor([5.5, -1.5], dtype=torch.float64), torch.tensor([5.5, 1.5], dtype=torch.float64))
LEFT = 0.5  # the distance from a saddle at which it counts as left
# Of the rates 0.001, 0.003, 0.01, ... 10, the one with which most of 446 starts reach a minimum in 500 steps, and
# among equally good ones the fastest (`--side 21 --lr ...`). For rmsprop only rates below 3 were considered: its first
# step is ten times its rate, so 3 throws every start 30 units away.
RATES: dict[str, dict[str, float]] = {
    "sgd": dict(lr=0.01, momentum=0.0),
    "momentum": dict(lr=0.003),
    "nesterov": dict(lr=0.003),
    "adagrad": dict(lr=1.0),
    "rmsprop": dict(lr=0.03, momentum=0.0),
    "adadelta": dict(lr=1.0),
    "adam": dict(lr=0.3),
    "adamw": dict(lr=0.3),  # the same as Adam, as there is no weight decay here
}


def himmelblau(points: Tensor) -> Tensor:
    """f at points (..., 2), (...)."""
    x, y = points.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


class Descent(LightningModule):
    """Moves all points, (N, 2), downhill at once, and notes when each of them reached a minimum to stay.

    `path` has the `NAMED` points, which come first, after each step. `outside` has, for each point, the last step after
    which it was farther than `TOLERANCE` from all minima, where 0 is the start and -1 means never.
    """

    def __init__(self, starts: Tensor, optimizer: str, lr: float, momentum: float = 0.9) -> None:
        super().__init__()
        self.points = torch.nn.Parameter(starts.clone())
        self.options: dict[str, Any] = {"name": optimizer, "lr": lr, "momentum": momentum}
        self.path = [starts[: len(NAMED)].clone()]
        self.outside = torch.where(nearest(starts)[1] <= TOLERANCE, -1, 0)
        self.configure_optimizers()  # refuses a wrong option now

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        return himmelblau(self.points).sum()

    def on_train_batch_end(self, outputs: Any, batch: int, batch_idx: int) -> None:
        points = self.points.detach()
        self.path.append(points[: len(NAMED)].clone())
        inside = nearest(points)[1] <= TOLERANCE  # false for nan
        self.outside[~inside] = batch_idx + 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(params=[self.points], **self.options)


class Outcome(NamedTuple):
    """Where the N starts ended after S steps."""

    path: Tensor  # of the named starts, (S + 1, len(NAMED), 2)
    minimum: Tensor  # the nearest one at the end, (N,)
    distance: Tensor  # from that minimum, (N,); nan or inf if the point flew off
    steps: Tensor  # until the minimum was reached for good, (N,); meaningless if it was not
    arrived: Tensor  # whether it was, (N,)


def nearest(points: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the minimum nearest to each point, (N, 2), and the distance from it, both (N,)."""
    distances = (points[:, None] - MINIMA).square().sum(-1).sqrt()  # (N, 4)
    distance, minimum = distances.min(1)
    return minimum, distance


def make_starts(side: int) -> Tensor:
    """The named starts, then one at random in each cell of a `side` x `side` grid, row by row from below, (N, 2)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corners = torch.stack([columns, rows], -1).view(-1, 2)  # (side^2, 2)
    inside = (corners + torch.rand(side**2, 2, dtype=torch.float64)) * (2 * SPAN / side) - SPAN
    return torch.cat([torch.tensor(NAMED, dtype=torch.float64), inside])


def descend(starts: Tensor, steps: int, lr_decay: str, **options: Any) -> Outcome:
    """Takes `steps` steps from the starts, (N, 2); the options are those of `Descent`."""
    model = Descent(starts, **options)
    trainer = quiet_trainer(max_epochs=1, callbacks=[LRDecay(lr_decay)])
    trainer.fit(model, range(steps))
    minimum, distance = nearest(model.points.detach())
    return Outcome(torch.stack(model.path), minimum, distance, model.outside + 1, model.outside < steps)


@dataclass(frozen=True, kw_only=True)
class HimmelblauFlags(StudyFlags):
    """The descents.

    Args:
        optimizer: names, separated by commas: sgd (plain), momentum, nesterov, adagrad, rmsprop, adadelta, adam,
            adamw.
        lr: initial learning rate; null: each optimizer's own, from a table in the script.
        lr_decay: constant, step, linear, cosine or onecycle.
        steps: how many each optimizer takes.
        side: cells along each side of the grid of starts; each cell has one start at a random place.
        seed: of these places.
    """

    optimizer: str = "sgd,momentum,nesterov,adagrad,rmsprop,adam"
    lr: float | None = None
    lr_decay: str = "constant"
    steps: int = 500
    side: int = 81
    seed: int = 0


DEFAULTS = HimmelblauFlags()


def main(flags: HimmelblauFlags = DEFAULTS) -> dict[str, Any]:
    """Minimises Himmelblau's function from many starts, and draws trajectories and basins of attraction."""
    names = list(dict.fromkeys(flags.optimizer.split(",")))
    options = {
        name: choose("optimizer", name, RATES) | ({} if flags.lr is None else {"lr": flags.lr}) for name in names
    }
    _check(flags.lr, flags.lr_decay)
    seed_everything(flags.seed, verbose=False)
    starts = make_starts(flags.side)
    study = Study("himmelblau", flags, try_next=TRY_NEXT)
    outcomes = {}
    for name in names:
        outcomes[name] = descend(starts, flags.steps, flags.lr_decay, optimizer=name, **options[name])
        settled = int(outcomes[name].arrived.sum())
        print(f"{name}: {settled:,} of {len(starts):,} starts settle in a minimum", flush=True)
    _print_table(outcomes, options)
    print("drawing", flush=True)
    figures = {
        "trajectories": draw_trajectories(himmelblau, MINIMA, SPAN, outcomes),
        "basins": draw_basins(MINIMA, SPAN, outcomes, flags.side, len(NAMED)),
        "arrivals": draw_arrivals(outcomes, flags.steps, TOLERANCE),
        "surface": draw_surface(himmelblau, MINIMA, SPAN, names[0], outcomes[names[0]].path),
    }
    critical = critical_points(himmelblau, SPAN)
    passages = pass_saddle(critical)
    figures["critical_points"] = draw_critical_points(himmelblau, critical, SPAN)
    figures["saddle"] = draw_saddle(himmelblau, critical.of_kind("saddle")[0], passages)
    metrics: dict[str, Any] = {"starts": len(starts), "steps": flags.steps, "seed": flags.seed, "optimizers": {}}
    for name, outcome in outcomes.items():
        metrics["optimizers"][name] = options[name] | summarise(outcome)
        metrics[f"{name}/arrived"] = int(outcome.arrived.sum())
    metrics |= _describe(critical, passages)
    return study.conclude(metrics, figures)


def pass_saddle(critical: Critical) -> dict[str, Passage]:
    """Plain descent and momentum past the lowest saddle."""
    start = start_on_border(himmelblau, BESIDE, SADDLE_RATE, SADDLE_STEPS)
    number = critical.kinds.index("saddle")
    passages = {}
    for name, momentum in {"plain": 0.0, "momentum": 0.9}.items():
        options: dict[str, Any] = dict(lr=SADDLE_RATE, momentum=momentum, steps=SADDLE_STEPS)
        passages[name] = Passage(
            sgd_path(himmelblau, start, **options), escape(himmelblau, critical, number, **options)
        )
    return passages


def _describe(critical: Critical, passages: dict[str, Passage]) -> dict[str, Any]:
    """Prints the critical points and returns them, and the steps to get away from a saddle, for metrics.json."""
    points, values = critical.points.tolist(), critical.values.tolist()
    print("where the gradient is zero:")
    for kind, (x, y), value, curvatures in zip(critical.kinds, points, values, critical.curvatures, strict=True):
        low, high = curvatures.tolist()
        print(f"{kind:<9}{x:>11.6f}{y:>11.6f}   f ={value:>11.6f}   curvatures{low:>7.1f} and{high:>6.1f}")
    print()
    rows = [
        {"kind": kind, "point": point, "f": value}
        for kind, point, value in zip(critical.kinds, points, values, strict=True)
    ]
    away = {f"{name}/steps_to_leave_saddle": _steps_away(passage) for name, passage in passages.items()}
    return {"critical_points": rows, **away}


def _steps_away(passage: Passage) -> int:
    return int((passage.escape.distances > LEFT).nonzero()[0])


def _check(lr: float | None, lr_decay: str) -> None:
    if lr is not None and lr <= 0:
        raise InputError(f"lr {lr}: must be positive")
    if lr_decay == "plateau":
        raise InputError("lr_decay plateau: there is no validation here that it could wait for")
    LRDecay(lr_decay)  # refuses a name it does not know


def summarise(outcome: Outcome) -> dict[str, Any]:
    """How many starts reached each minimum, how many none, and the steps that it took."""
    arrived, steps = outcome.arrived, outcome.steps[outcome.arrived].double()
    lost = ~outcome.distance.isfinite()
    return {
        "arrived": int(arrived.sum()),
        "by_minimum": outcome.minimum[arrived].bincount(minlength=len(MINIMA)).tolist(),
        "not_settled": int((~arrived & ~lost).sum()),  # within reach or not, but not within the tolerance at the end
        "diverged": int(lost.sum()),
        "median_steps": float(steps.median()) if len(steps) else None,
        "most_steps": int(steps.max()) if len(steps) else None,
    }


def _print_table(outcomes: dict[str, Outcome], options: dict[str, dict[str, float]]) -> None:
    numbers = "".join(f"{number:>7}" for number in range(1, len(MINIMA) + 1))
    print(f"\n{'optimizer':<10}{'rate':>6}{numbers}{'not settled':>12}{'diverged':>9}{'median':>8}{'most':>6}")
    for name, outcome in outcomes.items():
        row = summarise(outcome)
        counts = "".join(f"{count:>7,}" for count in row["by_minimum"])
        steps = f"{row['median_steps']:>8.0f}{row['most_steps']:>6}" if row["arrived"] else f"{'-':>8}{'-':>6}"
        print(f"{name:<10}{options[name]['lr']:>6g}{counts}{row['not_settled']:>12,}{row['diverged']:>9,}{steps}")
    print("minima:", ", ".join(f"{number} ({x:.2f}, {y:.2f})" for number, (x, y) in enumerate(MINIMA.tolist(), 1)))
    print(f"median, most: steps until a start is within {TOLERANCE:g} of a minimum and stays there\n")


if __name__ == "__main__":
    cli(main)
