"""All that a card has to show, in one process and a few minutes: exactness, speed, accuracy.

    python benchmarks/accelerator.py                                  six minutes on an H100
    python benchmarks/accelerator.py --parts exact,steps --minutes 3
    python benchmarks/accelerator.py --accelerator cpu --sample       shows that it works; its figures mean nothing

    exact     trainings by the scripts' recipes, twice; killed and resumed; captured against eager
    steps     milliseconds a training step: a bare loop, the same as one CUDA graph, ours captured and eager

Each line is printed as it is found, and all are one markdown table at the end. What the time left does not allow is
left out, and what fails is told in a line.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))

import launch  # noqa: F401  puts the root on the path
from running.report import cpu, git_commit

import exactness
import step_times
import torch
from jsonargparse import auto_cli
from report_table import Check, Results, attempt
from step_times import Case, Window

from lit_modules.choose import choose


def exact(accelerator: str, sample: bool) -> Iterator[Check]:
    for name in exactness.TRAININGS:
        yield Check("exact", name, 20, partial(exactness.compare, name, accelerator, sample))


def steps(accelerator: str, sample: bool) -> Iterator[Check]:
    for case in step_times.CASES:
        case = case._replace(batch_size=2, precision="32-true") if sample else case
        yield Check("steps", str(case), 15, partial(step_row, case, accelerator, sample))


PARTS: dict[str, Callable[..., Iterator[Check]]] = {"exact": exact, "steps": steps}


def step_row(case: Case, accelerator: str, sample: bool) -> str:
    """Milliseconds of each way, and of ours the ratio to the bare ones."""
    ways = step_times.ways(case, Window(1, 2) if sample else Window(), accelerator)
    times = {name: attempt(way) for name, way in ways.items()}
    words = [f"{name} {value if isinstance(value, str) else f'{value:.2f} ms'}" for name, value in times.items()]
    ratios = [
        f"{one} / {other}: {times[one] / times[other]:.2f}"
        for one in ("ours, captured", "ours, eager")
        for other in ("bare", "bare, one graph")
        if isinstance(times.get(one), float) and isinstance(times.get(other), float)
    ]
    return "; ".join(words + ratios)


def main(
    parts: str = ",".join(PARTS),
    minutes: float = 6,
    accelerator: str = "cuda",
    data_dir: str = "data",
    sample: bool = False,
) -> None:
    """Checks and prints.

    Args:
        parts: names of parts, in the order that they are to come in.
        minutes: that all of it may take; what would take longer is left out.
        accelerator: cuda or cpu.
        data_dir: where CIFAR-10 is.
        sample: steps of a few images, and no file.
    """
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if accelerator == "cpu":
        torch.set_num_threads(1)
    results = Results(60 * minutes)
    print(f"{hardware(accelerator)}, torch {torch.__version__}, commit {git_commit()}", flush=True)
    for part in parts.split(","):
        for check in choose("part", part.strip(), PARTS)(accelerator, sample):
            results.add(check)
    print(f"\n{results.table()}")


def hardware(accelerator: str) -> str:
    return torch.cuda.get_device_name() if accelerator == "cuda" else cpu()


if __name__ == "__main__":
    auto_cli(main)
