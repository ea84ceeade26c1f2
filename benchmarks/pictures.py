"""What the pictures cost: LeNet-5 on MNIST for ten epochs with and without them, in turns.

    python benchmarks/pictures.py                     about eight minutes on one core
    python benchmarks/pictures.py --sample --epochs 1 --rounds 1

Each turn is a whole run, from the data to the report, on one thread. Seconds are processor time, which other work on
the machine disturbs less. The figures are medians over the rounds of two shares: the extra time of a run with pictures
over one without, and the time of drawing alone, which varies less. The aim: at most 2 %.

On one core of a busy AMD EPYC, torch 2.15: 1.45 and 1.38 s of drawing in runs of 86 and 92 s, which is 1.7 and 1.5 %.
Whole runs differed from each other by more than that, by +3.8 and -3.5 %.
"""

import contextlib
import io
import statistics
import tempfile
import time
from dataclasses import replace

import torch

from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from harness.tasks.classification import classify
from harness.training import report

drawing: list[float] = []  # seconds of drawing in each turn


def timed(draw, *args) -> None:
    """Draws, and notes how long it took."""
    start = time.process_time()
    draw(*args)
    drawing.append(time.process_time() - start)


def seconds(pictures: bool, epochs: int, data_dir: str, sample: bool, seed: int) -> float:
    """Processor time of a run."""
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        start = time.process_time()
        recipe = replace(mnist.RECIPES["lenet5"], max_epochs=epochs, accelerator="cpu", devices=1)
        classify(MNIST, replace(recipe, data_dir=data_dir, sample=sample, seed=seed, run_dir=runs, pictures=pictures))
        return time.process_time() - start


def main(data_dir: str = "data", epochs: int = 10, rounds: int = 3, sample: bool = False) -> None:
    """Measures and prints the results.

    Args:
        data_dir: folder of MNIST, which is downloaded if missing.
        epochs: passes over the training images in each turn.
        rounds: number of turns for each.
        sample: use the embedded sample.
    """
    torch.set_num_threads(1)
    original = report.draw_final
    report.draw_final = lambda *args: timed(original, *args)
    without, with_them = [], []
    for turn in range(rounds):
        without.append(seconds(False, epochs, data_dir, sample, turn))
        with_them.append(seconds(True, epochs, data_dir, sample, turn))
        print(f"{without[-1]:.1f} s without, {with_them[-1]:.1f} s with, {drawing[-1]:.2f} s drawing", flush=True)
    shares = [ours / bare - 1 for bare, ours in zip(without, with_them, strict=True)]
    alone = [drawn / bare for bare, drawn in zip(without, drawing, strict=True)]
    print(f"pictures: {statistics.median(shares):.2%} of a run (rounds {min(shares):.2%} to {max(shares):.2%})")
    print(f"drawing alone: {statistics.median(alone):.2%} (rounds {min(alone):.2%} to {max(alone):.2%})")


if __name__ == "__main__":
    cli(main)
