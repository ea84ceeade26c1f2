"""Gradient descent on least squares with two features, as they are and standardised: its path, rate and steps."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRACTION = 0.9  # of the rate beyond which a descent diverges, 2 / the largest curvature
REACHED = 0.01  # share of the loss above its minimum, at which a descent counts as done
LONGEST = 100_000  # steps


class Descent(NamedTuple):
    """Gradient descent from weights of 0 on mean((X w - y)^2) / 2."""

    features: np.ndarray  # X, (N, 2), of mean 0
    target: np.ndarray  # y, (N,), of mean 0
    best: np.ndarray  # the weights of the least loss, (2,)
    condition: float  # the largest curvature over the smallest
    rate: float
    path: np.ndarray  # weights before and after each step, (steps + 1, 2)
    losses: np.ndarray  # above the least one, as shares of the first, (steps + 1,)


def houses(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Area in square metres and number of rooms, (N, 2), and price in thousands, (N,), of generated houses."""
    rng = np.random.default_rng(seed)
    area = rng.normal(110, 30, count)
    rooms = np.round(1 + area / 40 + rng.normal(0, 1.2, count)).clip(1)
    return np.stack([area, rooms], 1), 3 * area + 40 * rooms + rng.normal(0, 30, count)


def standardised(features: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and standard deviation 1."""
    return (features - features.mean(0)) / features.std(0)


def descend(features: np.ndarray, target: np.ndarray) -> Descent:
    """Descends until `REACHED`, with a rate a little below the one that diverges."""
    features, target = features - features.mean(0), target - target.mean()
    hessian, slope = features.T @ features / len(target), features.T @ target / len(target)
    smallest, largest = np.linalg.eigvalsh(hessian)
    best, rate = np.linalg.solve(hessian, slope), FRACTION * 2 / largest
    path = [np.zeros(2)]
    losses = [_excess(hessian, path[0] - best)]
    while losses[-1] > REACHED * losses[0] and len(losses) <= LONGEST:
        path.append(path[-1] - rate * (hessian @ path[-1] - slope))
        losses.append(_excess(hessian, path[-1] - best))
    shares = np.array(losses) / losses[0]
    return Descent(features, target, best, largest / smallest, rate, np.array(path), shares)


def _excess(hessian: np.ndarray, offset: np.ndarray) -> float:
    return float(offset @ hessian @ offset) / 2


def draw_scaling(descents: dict[str, Descent]) -> "Figure":
    """Contours of each loss with the path, and the losses by step."""
    figure, axes = new_figure(1, len(descents) + 1, size=(10, 3.8))
    for number, (place, (name, descent)) in enumerate(zip(axes, descents.items(), strict=False)):
        _draw_contours(place, descent, COLOURS[number])
        place.set(title=f"{name}: {len(descent.path) - 1:,} steps", xlabel="weight of the area")
        steps = np.arange(len(descent.losses))
        axes[-1].plot(steps + 1, descent.losses, color=COLOURS[number], linestyle=("-", "--")[number % 2], label=name)
    axes[0].set_ylabel("weight of the rooms")
    axes[-1].axhline(REACHED, color="0.5", linestyle=":")
    axes[-1].set(xscale="log", yscale="log", xlabel="step + 1", ylabel="share of the loss above its minimum")
    axes[-1].set_title("Loss by step")
    axes[-1].grid(alpha=0.3)
    axes[-1].legend()
    figure.suptitle("Gradient descent until 1 % of the loss above its minimum is left; star: least squares")
    return figure


def _draw_contours(place: "Axes", descent: Descent, colour: str) -> None:
    reach = 1.3 * abs(descent.path - descent.best).max(0)  # (2,)
    columns, rows = (np.linspace(centre - r, centre + r, 201) for centre, r in zip(descent.best, reach, strict=True))
    points = np.stack(np.meshgrid(columns, rows), -1) - descent.best  # (201, 201, 2)
    hessian = descent.features.T @ descent.features / len(descent.target)
    heights = np.einsum("...i,ij,...j->...", points, hessian, points) / 2
    levels = heights.max() * np.geomspace(1e-3, 0.7, 10)
    place.contour(columns, rows, heights, levels, colors="0.6", linewidths=1)
    place.plot(*descent.path.T, marker="o", markersize=3, linewidth=1, color=colour)
    place.plot(*descent.best, marker="*", markersize=14, color="black")
