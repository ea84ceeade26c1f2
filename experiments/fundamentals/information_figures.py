"""The pictures of information.py: coins and dice, the floor of a smoothed loss, and epsilons in a logarithm."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from experiments.fundamentals.entropies import BIT, cross_entropy, entropy, floor, information
from experiments.fundamentals.log_of_zero import Curve
from experiments.fundamentals.smoothed_training import CLASSES, Course
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-", "--", "-.", ":")
HEADS = 0.8  # of the loaded coin


def coin(p: Tensor) -> Tensor:
    """The distributions (p, 1 - p), (N, 2)."""
    return torch.stack([p, 1 - p], dim=-1)


def die(p: Tensor) -> Tensor:
    """The distributions of dice, (N, 6), whose six comes with probability p and whose other faces share the rest."""
    return torch.cat([((1 - p) / 5)[..., None].expand(*p.shape, 5), p[..., None]], dim=-1)


def draw_coins() -> "Figure":
    """Information of an event, entropy of coins and dice, and the cost of a wrong belief about a coin, in bits."""
    figure, (event, mean, belief) = new_figure(1, 3, size=(11, 4))
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    event.plot(p, information(p) / BIT)
    event.plot([1 / 2, 1 / 6], information(torch.tensor([1 / 2, 1 / 6])) / BIT, "o", color=COLOURS[1])
    event.annotate("heads: 1 bit", (1 / 2, 1), xytext=(6, 6), textcoords="offset points")
    event.annotate("a six: 2.58 bits", (1 / 6, 2.585), xytext=(6, 6), textcoords="offset points")
    event.set(xlabel="probability of the event", ylabel="bits", title="information: -log$_2$ p", ylim=(0, 8))
    mean.plot(p, entropy(coin(p)) / BIT, label="coin: heads with p")
    mean.plot(p, entropy(die(p)) / BIT, "--", label="die: a six with p")
    mean.set(xlabel="p", ylabel="bits", title="entropy: its mean", ylim=(0, 3.6))
    mean.legend(loc="upper right")
    _draw_belief(belief, p)
    for axes in (event, mean, belief):
        axes.grid(alpha=0.3)
    return figure


def _draw_belief(axes: "Axes", q: Tensor) -> None:
    truth = coin(torch.tensor(HEADS, dtype=torch.float64))
    costs, least = cross_entropy(truth, coin(q)) / BIT, float(entropy(truth)) / BIT
    axes.plot(q, costs, label=f"H(p, q), p = {HEADS:g}")
    axes.axhline(least, color=COLOURS[1], linestyle="--", label=f"H(p) = {least:.3f}")
    axes.fill_between(q, least, costs, color=COLOURS[0], alpha=0.15, label="KL(p, q)")
    axes.plot(HEADS, least, "o", color=COLOURS[1])
    axes.set(xlabel="q, the belief", ylabel="bits", title="cross-entropy: mean surprise", ylim=(0, 4))
    axes.legend(loc="upper center")


def draw_floors(courses: dict[float, Course]) -> "Figure":
    """The loss of each training above its floor, their distance, and the probability that the net gives the label."""
    figure, (loss, distance, confidence) = new_figure(1, 3, size=(11, 4.4))
    for number, (smoothing, course) in enumerate(courses.items()):
        colour, line = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        style: dict[str, Any] = dict(color=colour, linestyle=line, linewidth=2)
        name = f"smoothing {smoothing:g}"
        loss.plot([parts.loss for parts in course.parts], label=name, **style)
        distance.plot([parts.divergence for parts in course.parts], label=name, **style)
        confidence.plot(course.confidence, label=name, **style)
        loss.axhline(floor(smoothing, CLASSES), color=colour, linewidth=0.8)
        confidence.axhline(1 - smoothing + smoothing / CLASSES, color=colour, linewidth=0.8)
    loss.set(title="H(p, q) and its floor H(p)", ylabel="nats", ylim=(-0.05, 2.6))
    distance.set(title="KL(p, q) = H(p, q) - H(p)", ylabel="nats", yscale="log")
    confidence.set(title="probability of the label, and its target", ylim=(0, 1.05))
    for axes in (loss, distance, confidence):
        axes.set_xlabel("epoch")
        axes.title.set_fontsize(11)
        axes.grid(alpha=0.3)
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=len(courses), frameon=False)
    return figure


def draw_epsilons(z: Tensor, curves: dict[str, Curve]) -> "Figure":
    """The loss and its slope at the logits (z, 0), by each way to write it."""
    figure, (loss, slope) = new_figure(1, 2, size=(10, 4.6))
    for number, (name, curve) in enumerate(curves.items()):
        style: dict[str, Any] = dict(color=COLOURS[number % len(COLOURS)], linestyle=STYLES[number % len(STYLES)])
        style |= dict(linewidth=6, alpha=0.35) if number == 0 else dict(linewidth=2)
        loss.plot(z, curve.loss, label=name, **style)
        slope.plot(z, curve.slope, label=name, **style)
        lost = z[~curve.slope.isfinite()]
        if len(lost):
            slope.axvspan(float(lost.min()), float(lost.max()), color="0.5", alpha=0.15, linewidth=0)
            words = f"{name}:\nnot a number"
            slope.text(float(lost.min() + lost.max()) / 2, -0.5, words, ha="center", va="center", fontsize=9)
    loss.set(title="loss", xlabel="z", ylabel="cross-entropy of class 0, nats")
    slope.set(title="its slope: what the net learns from", xlabel="z", ylabel="d loss / dz")
    for axes in (loss, slope):
        axes.grid(alpha=0.3)
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), frameon=False)
    figure.suptitle("Logits (z, 0), class 0 is right: the further left, the more wrong the net")
    return figure
