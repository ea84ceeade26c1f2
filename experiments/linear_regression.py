"""Linear regression: y = 3 x + 0.8 plus noise, fitted by trying lines and by descent in batches of every size.

    python experiments/linear_regression.py                            batch, mini-batch and stochastic descent
    python experiments/linear_regression.py --method search            the loss of every line on a grid, as a surface
    python experiments/linear_regression.py --method module --noise 0  a LightningModule; w = 3, b = 0.8
    python experiments/linear_regression.py --method autograd --batch 8
    python experiments/linear_regression.py --csv my.csv --x area --y price

The figures show the points with the fitted lines, the path of (w, b) across the contours of the loss, and the loss, raw
and smoothed. Full batches go straight to the least-squares line. Single points get close to it within the first epoch,
and then dance around it, since each point pulls towards lines of its own; mini-batches are in between. Without noise
all points agree, the dance dies out, and every method ends within 0.001 of w = 3 and b = 0.8. With the defaults:

    least squares        w = 2.984  b = 0.760
    full batches         w = 2.984  b = 0.760
    mini-batches of 16   w = 2.991  b = 0.775
    single points        w = 3.080  b = 0.750
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from basics.errors import InputError
from experiments.fundamentals.line_descent import (
    Descent,
    Points,
    default_rate,
    descend,
    gradient_by_autograd,
    gradient_by_differences,
    gradient_by_hand,
    least_squares,
    search,
    train_module,
)
from experiments.fundamentals.line_figures import draw_fit, draw_gradients, draw_losses, draw_paths, draw_search
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

SLOPE, INTERCEPT = 3.0, 0.8  # of the generated points
MINI_BATCH = 16  # points, as `--batch compare` chooses
NOISIEST = 1e30  # squares stay finite, as for the numbers of a file
FEWEST = 3  # points; a line goes through any two
TRY_NEXT = "--method search  # the loss of every line, as a bowl"


@dataclass(frozen=True, kw_only=True)
class LineFlags(StudyFlags):
    """The points, and how a line is fitted to them.

    Args:
        method: search tries all lines of ever finer grids; manual descends along gradients written by hand, which
            central differences check; autograd along torch's; module is a LightningModule in a Trainer.
        batch: points per step: full, or a number; compare shows full batches, mini-batches and single points together.
        csv: a file with two columns of numbers, instead of generated points.
        x: the column of the file to predict from.
        y: the column of the file to predict.
        points: how many to generate.
        noise: standard deviation of the generated y around 3 x + 0.8.
        lr: learning rate on standardised x; full batches need one below 1, at which each step lands as far beyond the
            best line as it started, and above which descent diverges. By default 0.1, or less if points far out demand
            it.
        epochs: passes over the points.
        seed: of the generated points and the order of batches.
    """

    method: Literal["search", "manual", "autograd", "module"] = "manual"
    batch: Literal["compare", "full"] | int = "compare"
    csv: str = ""
    x: str = "x"
    y: str = "y"
    points: int = 100
    noise: float = 0.5
    lr: float | None = None
    epochs: int = 50
    seed: int = 0


DEFAULTS = LineFlags()


def main(flags: LineFlags = DEFAULTS) -> dict[str, Any]:
    """Fits a line and compares it with the least-squares line."""
    started = time.perf_counter()
    _check_numbers(flags.points, flags.noise, flags.lr)
    data = read_points(flags.csv, flags.x, flags.y) if flags.csv else generate(flags.points, flags.noise, flags.seed)
    best = least_squares(data)
    results: dict[str, np.ndarray] = {}  # weights by name
    if flags.method == "search":
        grids = search(data)
        results["search"] = grids[-1].best()
        figures = {"surface": draw_search(data, grids)}
    else:
        descents = {
            name: _descend(flags.method, data, size, flags.lr, flags.epochs, flags.seed)
            for name, size in _sizes(flags.batch, len(data.x)).items()
        }
        results |= {name: descent.path[-1] for name, descent in descents.items()}
        figures = {"paths": draw_paths(data, descents), "losses": draw_losses(data, descents)}
    metrics = _compare(data, results, best)
    if flags.method == "manual":
        by_hand, by_differences = _check_gradients(data, next(iter(descents.values())))
        metrics["gradient_difference"] = float(abs(by_hand - by_differences).max())
        figures["gradients"] = draw_gradients(by_hand, by_differences)
    truth = None if flags.csv else (SLOPE, INTERCEPT)
    figures["fit"] = draw_fit(data, {name: data.lines(weights) for name, weights in results.items()}, truth)
    # A descent that diverges has been refused above, before anything is written.
    return Study("linear_regression", flags, started, TRY_NEXT).conclude(metrics, figures)


def _check_numbers(points: int, noise: float, lr: float | None) -> None:
    if points < FEWEST:
        raise InputError(f"--points {points}: must be at least {FEWEST}; a line goes through any two")
    if noise > NOISIEST:
        raise InputError(f"--noise {noise}: must be at most {NOISIEST:g}, for squares that are finite")
    if lr is not None and lr <= 0:
        raise InputError(f"--lr {lr}: must be above 0")


def generate(count: int, noise: float, seed: int) -> Points:
    """`count` points with x from -2 to 2."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, count)
    x -= x.mean()  # so that the figures, whose axis is the height at the mean of x, show b itself
    return Points(x, SLOPE * x + INTERCEPT + noise * rng.standard_normal(count))


def read_points(csv: str, x: str, y: str) -> Points:
    """The columns `x` and `y` of a file.

    Raises:
        InputError: a column or a value is missing or not a number, there are too few rows, or x is always the same.
    """
    from datamodules.csv_files import read_csv
    from datamodules.tables import check_columns, complete_numbers  # here, because pandas takes half a second

    if x == y:
        raise InputError(f"--x {x}: is --y too; a column predicts itself exactly")
    table = read_csv(Path(csv))
    for note in table.notes:
        print(f"note: {note}")
    check_columns(table, (x, y), None)
    points = Points(complete_numbers(table, x), complete_numbers(table, y), x, y)
    if len(points.x) < FEWEST:
        raise InputError(f"{csv}: {len(points.x)} rows are too few for a line; it needs {FEWEST}")
    if points.x.std() <= 1e-12 * np.max(abs(points.x)):  # rounding errors of a constant
        raise InputError(f"{csv}, column {x!r}: always {table.cells[x].iloc[0]!r}; no line can be fitted")
    return points


def _sizes(batch: str | int, count: int) -> dict[str, int]:
    """Points per step, by the name of the descent."""
    if batch == "compare":
        mini = min(MINI_BATCH, (count + 1) // 2)
        return {"full": count, f"batch{mini}": mini, "batch1": 1}
    if batch == "full":
        return {"full": count}
    if not isinstance(batch, int) or not 1 <= batch <= count:
        raise InputError(f"--batch {batch}: must be from 1 to {count}, the number of points")
    return {f"batch{batch}": batch}


def _descend(method: str, data: Points, batch: int, lr: float | None, epochs: int, seed: int) -> Descent:
    rate = lr or default_rate(data, batch)
    if batch == len(data.x) and rate >= 1:
        raise InputError(
            f"--lr {rate:g}: full batches need a rate below 1; at 1 the error bounces for ever, above it grows"
        )
    if method == "module":
        descent = train_module(data, batch, rate, epochs, seed)
    else:
        gradient = gradient_by_hand if method == "manual" else gradient_by_autograd
        descent = descend(gradient, data, batch, rate, epochs, seed)
    slope, height = descent.path[-1]
    first, last = (data.y**2).mean(), ((slope * data.z + height - data.y) ** 2).mean()
    if not last <= 10 * first:  # near the minimum, small batches may well end higher than they began
        raise InputError(
            f"--lr {rate:g}: descent in batches of {batch} diverges; try --lr {default_rate(data, batch):.2g}"
        )
    return descent


def _compare(data: Points, results: dict[str, np.ndarray], best: np.ndarray) -> dict[str, Any]:
    """w and b of each result and of the least-squares line, and how far apart they are."""
    target = data.lines(best)
    metrics = {"points": len(data.x), "least_squares/w": float(target[0]), "least_squares/b": float(target[1])}
    for name, weights in results.items():
        w, b = data.lines(weights)
        metrics |= {f"{name}/w": float(w), f"{name}/b": float(b)}
        metrics[f"{name}/difference"] = float(max(abs(w - target[0]), abs(b - target[1])))
    return metrics


def _check_gradients(data: Points, descent: Descent) -> tuple[np.ndarray, np.ndarray]:
    """Gradients over all points by hand and by central differences, (25, 2), at the first places of the path."""
    z, y = torch.from_numpy(data.z), torch.from_numpy(data.y)
    places = torch.from_numpy(descent.path[:25])
    by_hand = torch.stack([gradient_by_hand(weights, z, y) for weights in places]).numpy()
    by_differences = torch.stack([gradient_by_differences(weights, z, y) for weights in places]).numpy()
    print("step    gradient by hand           by central differences")
    for step in range(0, len(places), 5):
        hand, differences = (
            "".join(f"{value:13.8f}" for value in values[step]) for values in (by_hand, by_differences)
        )
        print(f"{step:4d}{hand} {differences}")
    return by_hand, by_differences


if __name__ == "__main__":
    cli(main)
