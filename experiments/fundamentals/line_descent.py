"""A line through points, found in four ways: by trying lines, and by descent with gradients from three sources.

All work on z = (x - mean) / std, which has mean 0 and variance 1, and look for the slope w and the height c of
y = w z + c. The mean squared error then has the Hessian 2 I: its contours are circles, and descent with a rate below 1
goes straight to the minimum, whatever the unit and the origin of x. On x itself, such as years, the contours form a
valley thousands of times as long as it is wide, and a rate that its steep sides allow gets nowhere along its floor.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from harness.tasks.study import quiet_trainer

CELLS, ROUNDS = 41, 4  # lines tried along each axis; each round is 20 times as fine as the one before
DIFFERENCE = 1e-4  # of a weight, for central differences, which on a parabola are exact up to rounding


class Points(NamedTuple):
    """x and y, (N,), float64, in the order of the file, and what figures call them."""

    x: np.ndarray
    y: np.ndarray
    x_name: str = "x"
    y_name: str = "y"

    @property
    def z(self) -> np.ndarray:
        return (self.x - self.x.mean()) / self.x.std()

    def lines(self, weights: np.ndarray) -> np.ndarray:
        """Slopes and intercepts on x, (..., 2), from slopes and heights on z, (..., 2)."""
        slopes = weights[..., 0] / self.x.std()
        return np.stack([slopes, weights[..., 1] - slopes * self.x.mean()], axis=-1)


class Descent(NamedTuple):
    """Where a descent went; weights are the slope and the height on z."""

    batch: int  # points per step
    path: np.ndarray  # (steps + 1, 2): weights before the first step, and after each
    losses: np.ndarray  # (steps,): mean squared error on the batch, before its step


class Grid(NamedTuple):
    """One round of a search."""

    slopes: np.ndarray  # (CELLS,), on z
    heights: np.ndarray  # (CELLS,)
    losses: np.ndarray  # (CELLS, CELLS): by height and slope

    def best(self) -> np.ndarray:
        row, column = np.unravel_index(np.argmin(self.losses), self.losses.shape)
        return np.array([self.slopes[column], self.heights[row]])


def least_squares(points: Points) -> np.ndarray:
    """The best weights, (2,), by LAPACK."""
    design = np.stack([points.z, np.ones_like(points.z)], axis=1)  # (N, 2)
    return np.linalg.lstsq(design, points.y)[0]


def losses_on_grid(points: Points, slopes: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The mean squared error of each line, (heights, slopes)."""
    rests = [points.y - slope * points.z for slope in slopes]  # what is left for the height to fit
    return np.stack([rest.var() + (rest.mean() - heights) ** 2 for rest in rests], axis=1)


def search(points: Points) -> list[Grid]:
    """Tries all lines of a grid, then those of a finer grid around the best one, and so on.

    Slope and height do not interact on z, so along either axis the best line of a grid is next to the best of all, and
    narrowing the grid to the neighbouring cells loses nothing.
    """
    # By Cauchy-Schwarz the best slope is at most the deviation of y; the best height is the mean of y.
    centre, reach = np.array([0.0, points.y.mean()]), np.full(2, 2 * points.y.std() or 1.0)
    grids = []
    for _ in range(ROUNDS):
        slopes, heights = (
            np.linspace(middle - far, middle + far, CELLS) for middle, far in zip(centre, reach, strict=True)
        )
        grids.append(Grid(slopes, heights, losses_on_grid(points, slopes, heights)))
        centre, reach = grids[-1].best(), reach * 2 / (CELLS - 1)  # one cell on each side
    return grids


def mean_squared_error(weights: Tensor, z: Tensor, y: Tensor) -> Tensor:
    return (weights[0] * z + weights[1] - y).square().mean()


def gradient_by_hand(weights: Tensor, z: Tensor, y: Tensor) -> Tensor:
    """The gradient of the mean of (w z + c - y)^2: the means of 2 (w z + c - y) z and of 2 (w z + c - y)."""
    errors = weights[0] * z + weights[1] - y
    return 2 * torch.stack([(errors * z).mean(), errors.mean()])


def gradient_by_autograd(weights: Tensor, z: Tensor, y: Tensor) -> Tensor:
    weights = weights.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_squared_error(weights, z, y), weights)
    return gradient


def gradient_by_differences(weights: Tensor, z: Tensor, y: Tensor) -> Tensor:
    """The same gradient by central differences."""
    steps = DIFFERENCE * torch.eye(2, dtype=weights.dtype)
    rises = [mean_squared_error(weights + s, z, y) - mean_squared_error(weights - s, z, y) for s in steps]
    return torch.stack(rises) / (2 * DIFFERENCE)


def default_rate(points: Points, batch: int) -> float:
    """0.1, a tenth of the rate from which on full batches never arrive, or less if a single point's Hessian demands it.

    That Hessian is 2 [[z^2, z], [z, 1]], and its largest eigenvalue 2 (1 + z^2): at rates of 1 / (1 + z^2) and above, a
    step on this point alone makes the error larger.
    """
    return 0.1 if batch == len(points.x) else min(0.1, 0.4 / float((1 + points.z**2).max()))


class Shuffled(Sampler[int]):
    """A new order of `count` points in each epoch. (torch's RandomSampler draws more if read to its end.)"""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.generator = count, torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self.count, generator=self.generator).tolist())

    def __len__(self) -> int:
        return self.count


def batches(points: Points, batch: int, seed: int) -> DataLoader:
    """Batches of z and y, in the same order for every method."""
    data = TensorDataset(torch.from_numpy(points.z), torch.from_numpy(points.y))
    return DataLoader(data, batch, sampler=Shuffled(len(data), seed))


def descend(
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor], points: Points, batch: int, lr: float, epochs: int, seed: int
) -> Descent:
    """Plain gradient descent from w = c = 0."""
    weights = torch.zeros(2, dtype=torch.float64)
    path, losses, loader = [weights], [], batches(points, batch, seed)
    for _ in range(epochs):
        for z, y in loader:
            losses.append(mean_squared_error(weights, z, y))
            weights = weights - lr * gradient(weights, z, y)
            path.append(weights)
    return Descent(batch, torch.stack(path).numpy(), torch.stack(losses).numpy())


class Line(LightningModule):
    """y = w z + c, which records each step."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.weights = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.path = [torch.zeros(2, dtype=torch.float64)]
        self.losses: list[Tensor] = []

    def forward(self, z: Tensor) -> Tensor:
        return self.weights[0] * z + self.weights[1]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        z, y = batch
        loss = F.mse_loss(self(z), y)
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.path.append(self.weights.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)


def train_module(points: Points, batch: int, lr: float, epochs: int, seed: int) -> Descent:
    """The same descent as a LightningModule in a Trainer."""
    line = Line(lr)
    quiet_trainer(max_epochs=epochs).fit(line, batches(points, batch, seed))
    return Descent(batch, torch.stack(line.path).numpy(), torch.stack(line.losses).numpy())


def smoothed(losses: np.ndarray, beta: float) -> np.ndarray:
    """The exponential moving average, divided by the sum of its weights so far.

    Without this correction it would start near 0 (Kingma and Ba 2015, "Adam", section 3).
    """
    average, averages = 0.0, np.empty(len(losses))
    for step, loss in enumerate(losses):
        average = beta * average + (1 - beta) * loss
        averages[step] = average / (1 - beta ** (step + 1))
    return averages
