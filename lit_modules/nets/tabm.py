"""TabM: an ensemble of MLPs that share their weight matrices and are computed in one pass.

Gorishniy et al. 2025, "TabM: Advancing tabular deep learning with parameter-efficient ensembling"; its layers are those
of Wen et al. 2020, "BatchEnsemble". The embeddings of numbers are those of Gorishniy et al. 2022, "On embeddings for
numerical features in tabular deep learning". Differences: biases start at 0, weights as suits the activation, and there
may be a linear path beside the MLPs.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from basics.choose import choose
from basics.errors import InputError
from lit_modules.nets.dropout import Dropout
from lit_modules.nets.mlp import ACTIVATIONS

__all__ = ["TabM"]

EMBEDDINGS = ("none", "piecewise", "periodic")
SQUEEZED = 0.3  # standard deviation of a one-hot column's values at first
MANY = 4  # times the usual bins, from which on numbers are embedded apart
FREQUENCIES = 16  # of "periodic", for each number


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """What takes the place of numbers.

    Args:
        numbers: how many of the first inputs are numbers to embed, the rest being 0 or 1.
        embedding: of those numbers: none, piecewise (linear) or periodic.
        embedding_size: values in place of each number.
        bins: of piecewise, the edges for each number, rising.
        frequency: of periodic, the standard deviation of the first frequencies.
    """

    numbers: int = 0
    embedding: str = "none"
    embedding_size: int = 8
    bins: Sequence[Sequence[float]] = ()
    frequency: float = 0.1


class TabM(nn.Module):
    """MLPs that differ by vectors: each member scales inputs and outputs of the shared layers, and has its own head.

    Args:
        size: members of the ensemble.
        widths: units of each hidden layer.
        activation: one of `ACTIVATIONS`.
        dropout: probability of zeroing a hidden unit.
        linear_path: adds a linear function of the input, shared by all members.
        curves: with embedding piecewise, adds such a function of each number to the output, shared by all members.
        squeeze: if there are more than twice as many inputs besides the embedded numbers, a linear layer makes so many
            values of them for all members; 0: it never does. Few values for one-hot columns of many categories.
        options: those of `EmbeddingOptions`.

    Raises:
        InputError: an unknown name, or a number out of its range.
    """

    options_type = EmbeddingOptions
    ensemble = True
    head = ("heads", "head_bias", "linear", "curves")
    head_input = "hidden"  # the layer that makes what the heads get

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        size: int = 32,
        widths: Sequence[int] = (256, 256),
        activation: str = "relu",
        dropout: float = 0.1,
        linear_path: bool = False,
        curves: bool = False,
        squeeze: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        embed = EmbeddingOptions(**options)
        activate, initialise = choose("activation", activation, ACTIVATIONS)
        inputs = math.prod(input_shape)
        if min(*widths, size, embed.embedding_size) < 1 or not widths:
            raise InputError(f"net_args widths {list(widths)}, size {size}: needs a layer, and at least one of each")
        if not 0 <= dropout < 1:
            raise InputError(f"net_args dropout {dropout}: must be from 0 to below 1")
        if not 0 <= embed.numbers <= inputs:
            raise InputError(f"net_args numbers {embed.numbers}: must be from 0 to {inputs}")
        self.numbers = embed.numbers if embed.embedding != "none" else 0
        self.embed = build_embedding(embed)
        rest = inputs - self.numbers
        self.squeeze = nn.Linear(rest, squeeze, bias=False) if 0 < 2 * squeeze < rest else None
        if self.squeeze:
            nn.init.normal_(self.squeeze.weight, std=SQUEEZED)
        sizes = [(squeeze if self.squeeze else rest) + self.numbers * embed.embedding_size, *widths]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            linear = EnsembleLinear(fan_in, fan_out, size)
            layers += [linear, activate(), Dropout(dropout)]
            initialise(linear.weight)
        # Random signs make the members see different inputs; else they would all learn the same.
        layers[0].scale_in = nn.Parameter(2.0 * torch.randint(2, (size, sizes[0])) - 1)
        self.hidden = nn.Sequential(*layers)
        bound = widths[-1] ** -0.5
        self.heads = nn.Parameter(torch.empty(size, widths[-1], num_outputs).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(size, num_outputs))
        self.linear = nn.Linear(inputs, num_outputs) if linear_path else None
        if self.linear:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.curves = build_curves(embed, num_outputs) if curves and embed.numbers else None

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """The mean output of the members, (B, num_outputs), or that of each, (B, size, num_outputs)."""
        x = x.flatten(1)  # (B, F)
        numbers, rest = x[:, : self.numbers], x[:, self.numbers :]
        rest = self.squeeze(rest) if self.squeeze else rest
        h = torch.cat([self.embed(numbers).flatten(1), rest], dim=1)  # (B, sizes[0])
        h = self.hidden(h.unsqueeze(1))  # (B, 1, sizes[0]) -> (B, size, widths[-1])
        outputs = torch.einsum("bki,kio->bko", h, self.heads) + self.head_bias  # (B, size, num_outputs)
        if self.linear:
            outputs = outputs + self.linear(x).unsqueeze(1)
        if self.curves:
            outputs = outputs + self.curves(numbers).sum(1, keepdim=True)
        return outputs if each else outputs.mean(1)


class EnsembleLinear(nn.Module):
    """y = ((x * scale_in) W^T) * scale_out + bias, with vectors of its own for each member."""

    def __init__(self, fan_in: int, fan_out: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))
        self.scale_in = nn.Parameter(torch.ones(size, fan_in))
        self.scale_out = nn.Parameter(torch.ones(size, fan_out))
        self.bias = nn.Parameter(torch.zeros(size, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale_in) @ self.weight.T * self.scale_out + self.bias  # (B, size, fan_out)


def build_embedding(options: EmbeddingOptions) -> nn.Module:
    """The embedding, (B, numbers) -> (B, numbers, embedding_size).

    Raises:
        InputError: there is no such embedding, or it lacks what it needs.
    """
    name, numbers = choose("embedding", options.embedding, {name: name for name in EMBEDDINGS}), options.numbers
    if name == "none":
        return nn.Identity()
    if not numbers:
        raise InputError(f"net_args embedding {name}: needs to know how many inputs are numbers, as `numbers`")
    if name == "periodic":
        return Periodic(numbers, options.embedding_size, options.frequency)
    if len(options.bins) != numbers:
        raise InputError(f"net_args bins: has edges for {len(options.bins)} numbers, there are {numbers}")
    return piecewise(options.bins, options.embedding_size)


def build_curves(options: EmbeddingOptions, outputs: int) -> nn.Module:
    """Functions of each number alone, (B, numbers) -> (B, numbers, outputs), which are 0 at first.

    Raises:
        InputError: the numbers are embedded otherwise.
    """
    if options.embedding != "piecewise":
        raise InputError(f"net_args curves, embedding {options.embedding}: needs the bins of embedding piecewise")
    curves = piecewise(options.bins, outputs, rectified=False)
    for weight in curves.parameters():
        nn.init.zeros_(weight)
    return curves


def piecewise(bins: Sequence[Sequence[float]], size: int, rectified: bool = True) -> nn.Module:
    """`PiecewiseLinear`, in two parts where some numbers have many times the bins of most, so that few are padding."""
    usual = MANY * int(statistics.median(map(len, bins)))
    few, many = ([place for place, its in enumerate(bins) if (len(its) > usual) == more] for more in (False, True))
    if not many:
        return PiecewiseLinear(bins, size, rectified)
    parts = [PiecewiseLinear([bins[place] for place in places], size, rectified) for places in (few, many)]
    return SideBySide(parts, [few, many])


class SideBySide(nn.Module):
    """Functions of some numbers each, whose places are given, as one of all, (B, numbers, size), in another order."""

    order: Tensor

    def __init__(self, parts: Sequence[nn.Module], places: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.parts, self.sizes = nn.ModuleList(parts), [len(its) for its in places]
        order = torch.tensor([place for its in places for place in its])
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        apart = x.index_select(1, self.order).split(self.sizes, dim=1)
        return torch.cat([part(its) for part, its in zip(self.parts, apart, strict=True)], dim=1)


class PiecewiseLinear(nn.Module):
    """A piecewise linear function of each number, with kinks at the edges of its bins; then perhaps a rectifier."""

    start: Tensor
    width: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, bins: Sequence[Sequence[float]], size: int, rectified: bool = True) -> None:
        super().__init__()
        self.rectified = rectified
        numbers, most = len(bins), max(2, *map(len, bins)) - 1
        # A bin that a number does not have is clamped to 0.
        start, width = torch.zeros(numbers, most), torch.ones(numbers, most)
        low, high = torch.zeros(numbers, most), torch.zeros(numbers, most)
        for number, edges in enumerate(bins):
            count = len(edges) - 1
            start[number, :count], width[number, :count] = torch.tensor(edges)[:-1], torch.tensor(edges).diff()
            high[number, :count] = 1
            low[number, :1], high[number, count - 1 : count] = -math.inf, math.inf  # beyond the edges it goes on
        for name, values in {"start": start, "width": width, "low": low, "high": high}.items():
            self.register_buffer(name, values)
        bound = most**-0.5
        self.weight = nn.Parameter(torch.empty(numbers, most, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(numbers, size))

    def encode(self, x: Tensor) -> Tensor:
        """How far x has come through each bin: 1 for those below it, 0 for those above, (B, numbers, bins)."""
        return ((x.unsqueeze(2) - self.start) / self.width).clamp(self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bnt,nts->bns", self.encode(x), self.weight) + self.bias  # (B, numbers, size)
        return x.relu() if self.rectified else x


class Periodic(nn.Module):
    """Sines and cosines of each number at learnt frequencies, then a linear layer that all share, and a rectifier."""

    def __init__(self, numbers: int, size: int, frequency: float) -> None:
        super().__init__()
        if frequency <= 0:
            raise InputError(f"net_args frequency {frequency}: must be above 0")
        self.frequencies = nn.Parameter(frequency * torch.randn(numbers, FREQUENCIES))
        self.linear = nn.Linear(2 * FREQUENCIES, size)

    def forward(self, x: Tensor) -> Tensor:
        phases = 2 * math.pi * self.frequencies * x.unsqueeze(2)  # (B, numbers, FREQUENCIES)
        return self.linear(torch.cat([phases.cos(), phases.sin()], dim=2)).relu()  # (B, numbers, size)
