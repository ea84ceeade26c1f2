"""Short runs of the scripts, whole in this process, or killed within an epoch in one that has started no CUDA yet."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from callbacks import StepCurves
from experiments import cifar10, mnist, table
from harness.command_line.cli import cli

ACCELERATOR = os.environ.get("TEST_ACCELERATOR", "cuda")
ROOT = Path(__file__).parents[2]
SCRIPTS = {"mnist": mnist, "cifar10": cifar10, "table": table}
QUICK = "--sample --max_epochs 2 --batch_size 128 --checkpoint_every 3 --pictures false --seed 1".split()


class Command(NamedTuple):
    script: str
    flags: list[str]

    def train(self, folder: Path, *more: str) -> Path:
        """Trains in a run directory below the folder, and returns that."""
        script = SCRIPTS[self.script]
        cli(script.main, script.RECIPES, [*QUICK, *self.flags, "--run_dir", str(folder), *more])
        return run_in(folder)

    def resume(self, run: Path) -> Path:
        script = SCRIPTS[self.script]
        cli(script.main, script.RECIPES, ["--resume", str(run)])
        return run


def run_in(folder: Path) -> Path:
    (run,) = folder.glob("*/*")
    return run


def killed(command: Command, folder: Path, step: int, *more: str) -> Path:
    """The directory of a run that kills itself with SIGKILL after that step."""
    # Forked from a process that has imported all and computed nothing, for CUDA does not survive a fork.
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (Path(__file__).parent, ROOT / "experiments", ROOT)))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_train_until, args=(command, folder, step, more))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return run_in(folder)


def _train_until(command: Command, folder: Path, step: int, more: tuple[str, ...]) -> None:
    def kill(self, trainer, *unused):
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)  # as in the tests' own process
    StepCurves.on_train_batch_end = kill
    sys.argv = [command.script]
    command.train(folder, *more)


def last_checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")


def assert_same(run: Path, other: Path) -> None:
    """The last checkpoints have the same weights and the same optimizer state, bit for bit."""
    states = [last_checkpoint(each) for each in (run, other)]
    assert states[0]["global_step"] == states[1]["global_step"]
    tensors, others = (dict(_tensors([each["state_dict"], each["optimizer_states"]])) for each in states)
    assert tensors.keys() == others.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert not different, f"{len(different)} of {len(tensors)} differ, such as {different[:3]}"


def _tensors(value: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(part, f"{place}/{key}")
