"""How fast a step is expected to be on many GPUs, from its time on one and the gradients that they exchange.

    python benchmarks/scaling.py                                                the networks of docs/gpu.md
    python benchmarks/scaling.py --between 12.5                                 machines with a 100 Gbit/s port per GPU
    python benchmarks/scaling.py --parameters 25557032 --batch_size 256 --ms 95 one's own

Nothing is measured here. Each GPU keeps its batch size, and sums its gradients with those of all others once per step,
in fp32, also under bf16-mixed. The sum is expected to take the time of the faster of two algorithms, of which NCCL
chooses too (n GPUs, S bytes, B bytes a second, L seconds until a message is there):

    ring    2 (n - 1) / n * S / B + 2 (n - 1) L    Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms"
    tree    2 S / B + 2 log2(n) L                  Sanders et al. 2009, "Two-tree algorithms"

B is the slowest link's: that within a machine as long as one machine is enough, then that between machines. Nothing
overlaps, since a captured step exchanges gradients between its two graphs; an eager step hides part of the exchange
behind the backward pass, and is then faster than this.
"""

import math
from typing import NamedTuple

from basics.errors import InputError
from harness.command_line.cli import cli
from lit_modules.nets import build_net

GPUS = (8, 64, 1024)
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


class Case(NamedTuple):
    """A training step on one GPU."""

    name: str
    parameters: int
    batch_size: int
    ms: float


class Links(NamedTuple):
    """What connects the GPUs: bytes per second from each, and seconds until a message is there."""

    within: float
    between: float
    latency: float
    node_gpus: int


# Captured steps on one H200, from docs/gpu.md: network, shape, batch size, milliseconds.
MEASURED = (
    ("lenet5", GREY, 64, 1.84),
    ("cnn", COLOUR, 128, 1.98),
    ("speednet", COLOUR, 512, 8.41),
    ("resnet18", COLOUR, 128, 3.14),
    ("resnet18", COLOUR, 512, 8.71),
    ("googlenet", COLOUR, 128, 17.76),
    ("densenet121", COLOUR, 128, 17.63),
)


def measured() -> list[Case]:
    return [
        Case(net, sum(its.numel() for its in build_net(net, shape, 10).parameters()), batch_size, ms)
        for net, shape, batch_size, ms in MEASURED
    ]


def exchange_seconds(size: float, gpus: int, links: Links) -> float:
    """Expected time of the sum of `size` bytes over all GPUs."""
    if gpus == 1:
        return 0.0
    bandwidth = links.within if gpus <= links.node_gpus else links.between
    ring = 2 * (gpus - 1) / gpus * size / bandwidth + 2 * (gpus - 1) * links.latency
    tree = 2 * size / bandwidth + 2 * math.log2(gpus) * links.latency
    return min(ring, tree)


def row(case: Case, links: Links) -> str:
    """A line of the table."""
    size = 4 * case.parameters
    cells = [f"{case.name}, {case.batch_size}", f"{case.parameters:,}", f"{size / 1e6:,.1f}", f"{case.ms:.2f}"]
    exchanges = [1000 * exchange_seconds(size, gpus, links) for gpus in GPUS]
    cells += [f"{ms:.2f}" for ms in exchanges] + [f"{case.ms / (case.ms + ms):.0%}" for ms in exchanges]
    return f"| {' | '.join(cells)} |"


def main(
    parameters: int | None = None,
    batch_size: int = 1,
    ms: float = 1.0,
    within: float = 450.0,
    between: float = 50.0,
    latency: float = 10.0,
    node_gpus: int = 8,
) -> None:
    """Prints what is expected on 8, 64 and 1,024 GPUs.

    Args:
        parameters: of a network of one's own; null: the networks of docs/gpu.md.
        batch_size: its samples per GPU and step.
        ms: its measured milliseconds per step on one GPU.
        within: GB a second that a GPU sends to those of its machine; 450: NVLink of an H100 or H200.
        between: GB a second that a GPU sends to other machines; 50: a port of 400 Gbit/s for each GPU.
        latency: microseconds until a message is there.
        node_gpus: GPUs of a machine.

    Raises:
        InputError: one of them cannot be.
    """
    above_zero = {"batch_size": batch_size, "ms": ms, "within": within, "between": between, "node_gpus": node_gpus}
    for name, value in above_zero.items():
        if value <= 0:
            raise InputError(f"{name} {value:g}: must be above 0")
    if latency < 0:
        raise InputError(f"latency {latency:g}: must not be negative")
    cases = [Case("own", parameters, batch_size, ms)] if parameters else measured()
    links = Links(within * 1e9, between * 1e9, latency / 1e6, node_gpus)
    counts = [f"{gpus:,}" for gpus in GPUS]
    head = ["net, batch per GPU", "parameters", "MB of gradients", "ms a step, 1 GPU"]
    head += [f"ms of exchange, {count}" for count in counts] + [f"speed per GPU, {count}" for count in counts]
    print(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    for case in cases:
        print(row(case, links))


if __name__ == "__main__":
    cli(main)
