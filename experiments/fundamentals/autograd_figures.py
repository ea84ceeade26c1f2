"""The pictures of autograd.py: a graph with shapes or numbers at its edges, and the derivatives of a function."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from experiments.fundamentals.autograd_graph import Edge, Graph, Node
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALUE, GRADIENT, LEAF = COLOURS[0], COLOURS[1], COLOURS[2]
STYLES = ("-", "--", "-.")


def places_of(graph: Graph) -> np.ndarray:
    """Where each node is drawn, (N, 2): the result at (0, 0), and all others one column left of whatever uses them.

    Nodes of one column are at least 1 apart.
    """
    levels = np.array(graph.levels())
    heights = np.zeros(len(levels))
    for level in range(1, levels.max() + 1):
        column = np.flatnonzero(levels == level).tolist()
        wanted = {node: _wanted_height(graph, heights, node) for node in column}
        column.sort(key=lambda node: -wanted[node])
        for above, node in zip([None, *column], column, strict=False):
            heights[node] = wanted[node] if above is None else min(wanted[node], heights[above] - 1)
    return np.stack([-levels, heights], axis=1)


def _wanted_height(graph: Graph, heights: np.ndarray, node: int) -> float:
    """The mean over whatever uses this node of a height beside it: what a node uses is spread around it, in order."""
    wanted = []
    for edge in graph.edges:
        if edge.source == node:
            siblings = [other.source for other in graph.edges if other.target == edge.target]
            wanted.append(heights[edge.target] + (len(siblings) - 1) / 2 - siblings.index(node))
    return float(np.mean(wanted))


def draw_shapes(graph: Graph, title: str) -> "Figure":
    """The graph, with the shapes of the gradients at its edges."""
    figure, axes = new_figure(size=(10, 3.8))
    for place, edge in _draw_graph(axes, graph, lambda node: f"\n{_shape(node.value)}" if node.leaf else ""):
        _label(axes, place, _shape(edge.gradient), GRADIENT, 7)
    axes.set_title(title)
    return figure


def draw_numbers(graph: Graph, gradients: dict[str, float], title: str) -> "Figure":
    """The graph of numbers, with the value and the gradient at each edge, and the `gradients` of the leaves by name."""
    figure, axes = new_figure(size=(10, 4))
    values = [node.value for node in graph.nodes]

    def below(node: Node) -> str:
        return f" = {node.value:.4g}" + (f"\ngradient {gradients[node.name]:.4g}" if node.leaf else "")

    for place, edge in _draw_graph(axes, graph, below):
        _label(axes, place, f"{values[edge.source]:.4g}", VALUE, 9)
        _label(axes, place, f"{edge.gradient:.4g}", GRADIENT, -9)
    axes.set_title(title)
    return figure


def _draw_graph(axes: "Axes", graph: Graph, below: Callable[[Node], str]) -> list[tuple[np.ndarray, Edge]]:
    """Draws boxes, whose text is a node's name and what `below` adds, and arrows; returns the middle of each arrow."""
    places = places_of(graph)
    boxes = []
    for node, place in zip(graph.nodes, places, strict=True):
        style = dict(boxstyle="round", facecolor="white", edgecolor=LEAF if node.leaf else "0.3", linewidth=1.5)
        name = node.name.replace("_", "\n") + below(node)
        text = axes.text(place[0], place[1], name, ha="center", va="center", bbox=style, zorder=3)
        boxes.append(text.get_bbox_patch())
    for edge in graph.edges:
        arrow = dict(arrowstyle="->", color="0.4", patchA=boxes[edge.source], patchB=boxes[edge.target])
        axes.annotate("", xy=places[edge.target], xytext=places[edge.source], arrowprops=arrow, zorder=1)
    axes.set(xlim=(places[:, 0].min() - 0.6, 0.6), ylim=(places[:, 1].min() - 0.4, places[:, 1].max() + 0.4))
    axes.axis("off")
    return [((places[edge.source] + places[edge.target]) / 2, edge) for edge in graph.edges]


def _shape(tensor: Tensor | None) -> str:
    return "" if tensor is None else " x ".join(map(str, tensor.shape)) or "1 number"


def _label(axes: "Axes", place: np.ndarray, text: str, colour: str, above: float) -> None:
    """Writes on a white ground, `above` points above the place."""
    ground = dict(boxstyle="square,pad=0.1", facecolor="white", edgecolor="none")
    style: dict[str, Any] = dict(ha="center", va="center", color=colour, fontsize=10, bbox=ground, zorder=2)
    axes.annotate(text, tuple(place), xytext=(0, above), textcoords="offset points", **style)


def draw_derivatives(x: Tensor, curves: dict[str, Tensor], by_hand: dict[str, Tensor]) -> "Figure":
    """Values at x, (N,), of a function and its derivatives as lines, and those by hand as circles."""
    figure, axes = new_figure(size=(8, 4.4))
    every = slice(None, None, len(x) // 20)
    for (name, values), hand, style, colour in zip(curves.items(), by_hand.values(), STYLES, COLOURS, strict=False):
        axes.plot(x, values, style, color=colour, label=name)
        axes.plot(x[every], hand[every], "o", color=colour, fillstyle="none", markersize=5)
    axes.set(xlabel="x", title="Each derivative by autograd from the one before; circles by hand")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure
