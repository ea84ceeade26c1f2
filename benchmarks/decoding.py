"""How fast photographs are decoded: this project's decoder against a plain loop with Pillow over the same files.

    python benchmarks/decoding.py data/photos/train               a folder of photographs, with all its subfolders
    python benchmarks/decoding.py data/photos/train --cores 1     on one core, like the loop

The plain loop opens each file, converts it to RGB and resizes it, as in Pillow's tutorial; it does not turn photographs
upright or name files that it cannot read. The two take turns; the figure is the median of the rounds' ratios.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from datamodules.decode import decode_files
from datamodules.listing import files_below


def plain_loop(paths: Sequence[Path], size: int) -> np.ndarray:
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for row, path in enumerate(paths):
        with Image.open(path) as image:
            images[row] = image.convert("RGB").resize((size, size))
    return images


def seconds(decode: Callable[[Sequence[Path], int], object], paths: Sequence[Path], size: int) -> float:
    start = time.perf_counter()
    decode(paths, size)
    return time.perf_counter() - start


def main(folder: str, sizes: list[int] = [128, 224], images: int = 300, rounds: int = 7, cores: int = 0) -> None:  # noqa: B006
    """Measures and prints the results.

    Args:
        folder: folder of the photographs.
        sizes: side lengths of the decoded images, in pixels.
        images: number of images per round.
        rounds: number of turns for each.
        cores: number of cores that this process may use; 0: all of them.
    """
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    paths = sorted(files_below(Path(folder)))
    paths = paths[:: max(1, len(paths) // images)][:images]
    for size in sizes:
        times = [(seconds(decode_files, paths, size), seconds(plain_loop, paths, size)) for _ in range(rounds)]
        ratios = sorted(loop / ours for ours, loop in times)
        ours, loop = (len(paths) / statistics.median(side) for side in zip(*times, strict=True))
        print(f"{size} x {size}: {ours:,.0f} images/s, plain loop {loop:,.0f} images/s")
        print(f"ours / plain: {statistics.median(ratios):.2f}  (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    auto_cli(main)
