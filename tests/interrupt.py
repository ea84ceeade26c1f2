"""Helpers that run scripts in separate processes and send a signal when they print a certain line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

ROOT = Path(__file__).parents[1]
SMALL = "--sample --net mlp --net_args.widths [32] --accelerator cpu --log_every_n_steps 5 --pictures false".split()


class Ended(NamedTuple):
    """How a run ended after the signal."""

    status: int
    seconds: float
    survivors: list[int]
    output: str


def start(script, *flags, command=(), **env):
    """Starts experiments/`script`.py, or the file `script`, as the leader of a process group of its own."""
    path = script if isinstance(script, Path) else f"experiments/{script}.py"
    words = [*(command or [sys.executable]), str(path), *flags]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.Popen(
        words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def interrupt(process, at, number=signal.SIGTERM, target="main", delay=0.0, within=60.0):
    """Sends the signal to main, group or rank1 once a line contains `at`, and waits for the end."""
    output = ""
    for line in process.stdout:
        output += line
        if at in line:
            break
    time.sleep(delay)
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    sent = time.monotonic()
    if target == "group":
        os.killpg(process.pid, number)
    else:
        os.kill((family[1] if target == "rank1" else family[0]).pid, number)
    rest, _ = process.communicate(timeout=within)
    seconds = time.monotonic() - sent
    time.sleep(1.0)  # for the kernel to end them
    survivors = [other.pid for other in family if other.is_running() and other.status() != psutil.STATUS_ZOMBIE]
    return Ended(process.returncode, seconds, survivors, output + rest)


def only_run(folder):
    """The one run below `folder`."""
    (config,) = folder.glob("*/*/config.yaml")
    return config.parent


def assert_same_weights(run, other):
    weights, others = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, other)
    )
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
