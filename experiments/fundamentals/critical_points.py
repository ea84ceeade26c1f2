"""Where the gradient of a function of the plane is zero, by Newton's method, and how descent leaves a saddle.

Functions take points, (..., 2), and return values, (...). All is float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, hessian, vmap

Function = Callable[[Tensor], Tensor]

KINDS = ("minimum", "saddle", "maximum")  # by the number of downhill directions
APART = 1e-6  # points closer than this are the same


class Critical(NamedTuple):
    """Critical points, in the order of their values, with the curvatures of the function there, which rise."""

    points: Tensor  # (P, 2)
    values: Tensor  # (P,)
    curvatures: Tensor  # eigenvalues of the Hessian, (P, 2)
    directions: Tensor  # unit eigenvectors of these, as columns, (P, 2, 2)

    @property
    def kinds(self) -> list[str]:
        return [KINDS[count] for count in (self.curvatures < 0).sum(1).tolist()]

    def of_kind(self, kind: str) -> Tensor:
        """The points that are this, (K, 2)."""
        return self.points[[its == kind for its in self.kinds]]


def newton(f: Function, starts: Tensor, steps: int = 50) -> Tensor:
    """Points, (N, 2), after so many steps x - H^-1 g from the starts.

    Newton's method looks for zeros of the gradient and cares not which: a saddle draws it as a minimum does.
    """
    points = starts
    for _ in range(steps):
        g, h = vmap(grad(f))(points), vmap(hessian(f))(points)  # (N, 2), (N, 2, 2)
        points = points - torch.linalg.solve(h, g)
    return points


def critical_points(f: Function, span: float, side: int = 30) -> Critical:
    """All that Newton finds from a grid of `side` x `side` starts in [-span, span]^2."""
    line = torch.linspace(-span, span, side, dtype=torch.float64)
    ends = newton(f, torch.cartesian_prod(line, line))
    ends = ends[vmap(grad(f))(ends).norm(dim=1) < 1e-9]  # the others have not converged
    found: list[Tensor] = []
    for end in ends:
        if all((end - other).norm() > APART for other in found):
            found.append(end)
    points = torch.stack(sorted(found, key=lambda point: float(f(point))))
    return Critical(points, f(points), *torch.linalg.eigh(vmap(hessian(f))(points)))


class Escape(NamedTuple):
    """A descent from rest beside a saddle."""

    distances: Tensor  # from the saddle, after each step, (steps + 1,)
    factor: float  # by which theory has the distance grow at each step, while it is small


def escape(f: Function, critical: Critical, number: int, lr: float, momentum: float, steps: int) -> Escape:
    """Descends from rest beside saddle `number`, at a distance of 1e-6 in its downhill direction.

    There f falls as -c/2 s^2 with the distance s, and a step is v <- m v + lr c s, s <- s + v. So s grows by the larger
    root of r^2 - (1 + m + lr c) r + m = 0: by 1 + lr c without momentum m, and faster with it.
    """
    saddle, c = critical.points[number], -float(critical.curvatures[number, 0])
    sum_of_roots = 1 + momentum + lr * c
    factor = (sum_of_roots + (sum_of_roots**2 - 4 * momentum) ** 0.5) / 2
    start = saddle + 1e-6 * critical.directions[number, :, 0]
    return Escape((sgd_path(f, start, lr, momentum, steps) - saddle).norm(dim=1), factor)


def sgd_path(f: Function, start: Tensor, lr: float, momentum: float, steps: int) -> Tensor:
    """The path of torch.optim.SGD from the start, (2,), or from many, (N, 2): (steps + 1, ...)."""
    point = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([point], lr, momentum)
    path = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        f(point).sum().backward()
        optimizer.step()
        path.append(point.detach().clone())
    return torch.stack(path)


def start_on_border(f: Function, ends: tuple[Tensor, Tensor], lr: float, steps: int, halvings: int = 20) -> Tensor:
    """A point on the border of two basins, (2,), between points that plain descent takes to different minima.

    It is found by halving the segment `halvings` times, so the descent from it runs along the border for long, and
    towards a saddle.
    """
    low, high = ends
    first = sgd_path(f, low, lr, 0.0, steps)[-1]
    for _ in range(halvings):
        middle = (low + high) / 2
        same = (sgd_path(f, middle, lr, 0.0, steps)[-1] - first).norm() < 0.1
        low, high = (middle, high) if same else (low, middle)
    return low
