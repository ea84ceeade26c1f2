"""Autograd: the graph behind a result, and 43 small examples of what one may do with it, and what is refused.

    python experiments/autograd.py
    python experiments/autograd.py --chapters accumulation,in_place
    python experiments/autograd.py --x1 0.1 --x2 3

Each example is printed as the code that is run, beside the derivative found on paper. What to see:

- The gradients of two backward passes add up until they are set to zero.
- A second pass through a graph is refused unless the first one retained it.
- Zero times an infinite gradient is not a number, and `where` does not protect from that.

Two figures draw graphs, as torch keeps them in `grad_fn`. One is that of a small net's loss. It holds the weights, but
not the data. The other is that of f = ln(x1) + x1 x2 - sin(x2), the example of Baydin et al. 2018, "Automatic
differentiation in machine learning: a survey", tables 2 and 3. Where x1 is 2 and x2 is 5, f is 11.652. Its slope along
x1 is 5.5, because x1 is used twice and gets 0.5 through the logarithm and 5 through the product. Along x2 it is 1.716.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError
from experiments.fundamentals.autograd_examples import CHAPTERS
from experiments.fundamentals.autograd_figures import draw_derivatives, draw_numbers, draw_shapes
from experiments.fundamentals.autograd_graph import Graph, graph_of
from experiments.fundamentals.worked_examples import chosen, print_chapters
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

TRY_NEXT = "--x1 0.01  # which of the two gradients that x1 gets is the larger?"


@dataclass(frozen=True, kw_only=True)
class AutogradFlags(StudyFlags):
    """Which examples, and where the small graph is evaluated.

    Args:
        chapters: of leaves, accumulation, cutting, again, vectors, in_place and corners.
        x1: first variable of ln(x1) + x1 x2 - sin(x2), above 0.
        x2: second variable.
    """

    chapters: list[str] = field(default_factory=lambda: list(CHAPTERS))
    x1: float = 2.0
    x2: float = 5.0


DEFAULTS = AutogradFlags()


def main(flags: AutogradFlags = DEFAULTS) -> dict[str, Any]:
    """Prints worked examples of autograd, and draws the graphs behind two results."""
    chapters = chosen(flags.chapters, CHAPTERS)
    if flags.x1 <= 0:
        raise InputError(f"x1 {flags.x1:g}: must be above 0, for its logarithm is taken")
    study = Study("autograd", flags, try_next=TRY_NEXT)
    metrics: dict[str, Any] = dict(print_chapters(chapters, peer="paper"))
    print()
    graph, gradients = small_graph(flags.x1, flags.x2)
    x = torch.linspace(-4, 4, 201, dtype=torch.float64)
    by_autograd, by_hand = derivatives(x), derivatives_by_hand(x)
    metrics |= {f"df/d{name}": value for name, value in gradients.items()}
    metrics["largest_difference"] = max(float((by_autograd[name] - by_hand[name]).abs().max()) for name in by_hand)
    figures = {}
    if "leaves" in chapters:
        title = "The graph of a net's loss, and the shape of the gradient at each edge; green: leaves"
        figures["net"] = draw_shapes(net_graph(), title)
    if "accumulation" in chapters:  # x1 is used twice
        title = "f = ln(x1) + x1 x2 - sin(x2): on each edge its value, and below it df/d(value)"
        figures["numbers"] = draw_numbers(graph, gradients, title)
    if "again" in chapters:
        figures["derivatives"] = draw_derivatives(x, by_autograd, by_hand)
    return study.conclude(metrics, figures)


def net_graph() -> Graph:
    """The graph behind the loss of an MLP from 4 inputs to 2 classes, on 8 rows."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    loss = F.cross_entropy(net(torch.ones(8, 4)), torch.zeros(8, dtype=torch.long))
    return graph_of(loss, dict(net.named_parameters()))


def small_graph(x1: float, x2: float) -> tuple[Graph, dict[str, float]]:
    """The graph behind ln(x1) + x1 x2 - sin(x2), and its derivatives by the names of the variables."""
    first, second = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (x1, x2))
    logarithm, product, sine = first.log(), first * second, second.sin()
    total = logarithm + product
    f = total - sine
    names = dict(x1=first, x2=second, ln=logarithm, product=product, sine=sine, sum=total, f=f)
    gradients = torch.autograd.grad(f, (first, second), retain_graph=True)
    return graph_of(f, names), dict(zip(("x1", "x2"), map(float, gradients), strict=True))


def derivatives(x: Tensor) -> dict[str, Tensor]:
    """tanh at x, (N,), and its first two derivatives, by the gradient of a gradient."""
    x = x.clone().requires_grad_()
    values = {"tanh(x)": x.tanh()}
    for name in ("its slope", "its slope's slope"):
        (slope,) = torch.autograd.grad(list(values.values())[-1].sum(), x, create_graph=True)
        values[name] = slope
    return {name: value.detach() for name, value in values.items()}


def derivatives_by_hand(x: Tensor) -> dict[str, Tensor]:
    """The same with exponentials: 1 / cosh(x)^2, and -2 sinh(x) / cosh(x)^3."""
    cosh = (x.exp() + (-x).exp()) / 2
    sinh = (x.exp() - (-x).exp()) / 2
    return {"tanh(x)": sinh / cosh, "its slope": cosh**-2, "its slope's slope": -2 * sinh / cosh**3}


if __name__ == "__main__":
    cli(main)
