"""How long a user waits from the command to the first optimizer step, beside the bare import of Lightning.

    python benchmarks/startup.py

Both are timed as whole processes that take turns; the run ends itself at its first optimizer step.
The aim: at most 1.2 x the import plus one second.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jsonargparse import auto_cli

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "import os, lightning.pytorch; os._exit(0)"  # without what Python does at its end, like the run
FIRST_STEP = """
import os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook
sys.argv = sys.argv[1:]
register_optimizer_step_pre_hook(lambda *args: os._exit(0))  # reached: the time is taken from outside
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("no optimizer step was reached")
"""


def seconds(*command: str) -> float:
    """Wall time of a Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(rounds: int = 7) -> None:
    """Measures and prints the medians.

    Args:
        rounds: number of turns for each.
    """
    with tempfile.TemporaryDirectory() as runs:
        run = [FIRST_STEP, "experiments/mnist.py", "--sample", "--accelerator", "cpu", "--run_dir", runs]
        pairs = [(seconds(IMPORT), seconds(*run)) for _ in range(rounds + 1)][1:]  # the first warms the file cache
    imports, starts = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"import {imports:.2f} s, first step after {starts:.2f} s; 1.2 x import + 1 s is {1.2 * imports + 1:.2f} s")


if __name__ == "__main__":
    auto_cli(main)
