"""Ends our runs within training, for benchmarks that only need a few steps."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

# No validation, no pictures: the training is all there is.
BARE_RUN: dict[str, Any] = dict(
    monitor=None, limit_val_batches=0, num_sanity_val_steps=0, log_every_n_steps=50, pictures=False, devices=1
)


class Stopped(Exception):  # noqa: N818  no error
    """Raised by a callback that has what it needs."""


class StopAt(Callback):
    """Ends a training after that many steps, or after its last one, and keeps the weights it has then."""

    def __init__(self, step: int | None = None) -> None:
        self.step, self.weights = step, None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = self.step or int(trainer.estimated_stepping_batches)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.step:
            self.weights = {name: tensor.to("cpu", copy=True) for name, tensor in pl_module.state_dict().items()}
            raise Stopped


class Terminal(io.StringIO):
    """Swallows what a progress bar draws, and claims to be a terminal so that the bar does draw."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """While it lasts, a run may end by `Stopped`, and what the run prints is discarded."""
    with contextlib.suppress(Stopped), contextlib.redirect_stdout(Terminal()):
        yield


@contextlib.contextmanager
def passing_run() -> Iterator[str]:
    """The same, with a folder for runs that is removed afterwards."""
    with tempfile.TemporaryDirectory() as runs, until_stopped():
        yield runs
