"""`--precision auto`: bfloat16 where the device computes in it, and float32 elsewhere.

A device without such instructions emulates them. There a convolution takes several times as long as in float32.
"""

import os
from typing import Final

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import Accelerator

from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoints import Checkpoint
from harness.training.flags import PRECISIONS, TrainerFlags

AUTO = "auto"
WIDE: Final = "32-true"
NARROW: Final = "bf16-mixed"
ON_X86, ON_ARM = {"avx512_bf16", "amx_bf16"}, {"bf16", "sve_bf16"}  # what torch calls the instructions
CHOICE = "EXPERIMENT_PRECISION"  # rank zero's choice, for the ranks that Lightning starts


def choose_precision(flags: TrainerFlags, resumed: Checkpoint | None = None) -> str | int | None:
    """The Trainer's `precision`: what the flag says or, for auto, that of the resumed run or the fastest here."""
    if flags.precision != AUTO:
        return flags.precision
    if not is_rank_zero() and CHOICE in os.environ:  # only rank zero knows which run `--resume auto` has found
        return os.environ[CHOICE]
    before = resumed.content.get("precision") if resumed else None
    os.environ[CHOICE] = before or (NARROW if computes_in_bfloat16(flags.accelerator) else WIDE)
    return os.environ[CHOICE]


def computes_in_bfloat16(accelerator: str | Accelerator = AUTO) -> bool:
    """Whether the device that the Trainer would take has instructions for bfloat16; false if torch cannot tell."""
    asked = _name_of(accelerator)
    if asked != "cpu" and torch.cuda.is_available():
        return asked in (AUTO, "gpu", "cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    if (asked == AUTO and torch.mps.is_available()) or asked not in (AUTO, "cpu"):
        return False
    knows = {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    return torch.backends.mkldnn.is_available() and bool(knows & (ON_X86 | ON_ARM))


def _name_of(accelerator: str | Accelerator) -> str:
    return accelerator if isinstance(accelerator, str) else accelerator.name()


def not_emulated(precision: PRECISIONS | None, accelerator: str | Accelerator) -> PRECISIONS | None:
    """The precision of a training, for an evaluation elsewhere: float32 if bfloat16 would be emulated there.

    On a CPU, Lightning takes bfloat16 for float16 too.
    """
    on_cpu = _name_of(accelerator) == "cpu" or not torch.accelerator.is_available()
    narrow = precision == NARROW or (precision == "16-mixed" and on_cpu)
    return WIDE if narrow and not computes_in_bfloat16(accelerator) else precision


def note_emulation(trainer: Trainer) -> None:
    """Says in one line that a CPU emulates bfloat16, for whoever has asked for it."""
    precision, device = trainer.precision, trainer.strategy.root_device.type
    emulates = device == "cpu" and precision in (NARROW, "bf16-true") and not computes_in_bfloat16("cpu")
    if emulates and is_rank_zero():
        print(f"note: this CPU emulates {precision}, which is several times slower than 32-true", flush=True)
