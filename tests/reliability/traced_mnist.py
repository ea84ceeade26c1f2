"""experiments/mnist.py with a trace: each batch and its loss as a line of the file `TRACE`, and faults on request.

    TRACE=trace.txt python tests/reliability/traced_mnist.py --sample --net mlp

A line is appended by one call and outlives the process. Nothing else differs from the script: the trace is that of a
subclass of the module, by hooks of Lightning's.

    TRACE                       without a rank: `.0`, `.1` follow
    FAULT=raise:RANK:BATCH      that rank raises at that batch of its own; `die`: is killed; `stall`: never returns
"""

import os
import signal
import time
import zlib

import tensorboard.compat.proto.event_pb2  # noqa: F401  so that a forked process has it
import torch.utils.tensorboard  # noqa: F401
from torch import Tensor

from datamodules import MNIST
from harness.command_line.cli import cli
from harness.tasks import classification
from harness.tasks.classification import ImageFlags, classify
from lit_modules import Classifier

RAISED = "a fault on request"


class TracedClassifier(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self._note("train", batch, batch_idx, loss.item().hex())
        self._fail(batch_idx)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self._note("sanity" if self.trainer.sanity_checking else "val", batch, batch_idx)
        return super().validation_step(batch, batch_idx)

    def _note(self, stage: str, batch: tuple[Tensor, Tensor], batch_idx: int, *values: str) -> None:
        content = [zlib.crc32(part.numpy().tobytes()) for part in batch]  # which images, and what became of them
        line = " ".join(map(str, (stage, self.current_epoch, batch_idx, *content, *values)))
        trace = os.open(f"{os.environ['TRACE']}.{self.global_rank}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(trace, f"{line}\n".encode())
        os.close(trace)

    def _fail(self, batch_idx: int) -> None:
        kind, _, place = os.environ.get("FAULT", "").partition(":")
        if place != f"{self.global_rank}:{batch_idx}":
            return
        if kind == "raise":
            raise RuntimeError(RAISED)
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(10_000)


DEFAULTS = ImageFlags(net="mlp")


def main(flags: ImageFlags = DEFAULTS) -> None:
    """See experiments/mnist.py."""
    classification.Classifier = TracedClassifier  # not on import: tests of other things run in the same process
    classify(MNIST, flags)


if __name__ == "__main__":
    cli(main)
