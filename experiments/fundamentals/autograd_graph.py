"""The graph behind a result, read from `grad_fn`, with the gradient that flows along each edge."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

Function = Any  # torch.autograd.graph.Node: a backward function, or the place where a leaf's gradient is collected


class Node(NamedTuple):
    """An operation, or a leaf."""

    name: str  # of the operation, such as "mul", or of the leaf
    value: Tensor | None  # of the leaf, or of the operation's result if it is among the named tensors
    leaf: bool


class Edge(NamedTuple):
    """One use of a node's value by another node."""

    source: int  # the place among the nodes of the one whose value is used
    target: int  # and of the one that uses it
    gradient: Tensor  # of the result with respect to this use


class Graph(NamedTuple):
    """Every node comes after the nodes that it uses; the last one is the result."""

    nodes: list[Node]
    edges: list[Edge]

    def levels(self) -> list[int]:
        """For each node, the number of edges on the longest way from it to the result."""
        levels = [0] * len(self.nodes)
        for edge in sorted(self.edges, key=lambda edge: -edge.target):
            levels[edge.source] = max(levels[edge.source], levels[edge.target] + 1)
        return levels


def graph_of(result: Tensor, names: Mapping[str, Tensor]) -> Graph:
    """The graph behind `result`, one number that was computed from leaves that require a gradient.

    Args:
        names: of the leaves, and of the results of operations, whose values are wanted. Their `grad` stays as it is.
    """
    functions = list(dict.fromkeys(_functions(result.grad_fn)))
    place = {function: number for number, function in enumerate(functions)}
    gradients: dict[Function, tuple[Tensor | None, ...]] = {}
    hooks = [
        function.register_hook(lambda inputs, _, function=function: gradients.update({function: inputs}))
        for function in functions
        if function.next_functions
    ]
    torch.autograd.grad(result, [function.variable for function in functions if _is_leaf(function)], retain_graph=True)
    for hook in hooks:
        hook.remove()
    edges = [
        Edge(place[source], place[function], gradient)
        for function in functions
        for (source, _), gradient in zip(function.next_functions, gradients.get(function, ()), strict=False)
        if source is not None and gradient is not None
    ]
    return Graph([_node(function, names) for function in functions], edges)


def _functions(function: Function) -> Iterator[Function]:
    """All functions behind this one, the ones that it uses first, and then itself; some of them more than once."""
    for source, _ in function.next_functions:
        if source is not None:  # None stands for data, which require no gradient
            yield from _functions(source)
    yield function


def _is_leaf(function: Function) -> bool:
    return hasattr(function, "variable")


def _node(function: Function, names: Mapping[str, Tensor]) -> Node:
    if _is_leaf(function):
        name = next((name for name, tensor in names.items() if tensor is function.variable), "a leaf")
        return Node(name, function.variable.detach(), leaf=True)
    value = next((tensor.detach() for tensor in names.values() if tensor.grad_fn is function), None)
    words = re.sub(r"Backward\d*$", "", function.name())  # "LogSoftmaxBackward0"
    return Node(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower(), value, leaf=False)
