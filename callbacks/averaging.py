"""Averages of the weights over the steps of a run, which are what is validated, tested and saved as the model.

Lightning's callbacks keep the average: it is the `state_dict` of each checkpoint, beside the current weights, from
which a resumed run continues. BatchNorm's statistics are averaged like the weights.
"""

import math
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from basics.errors import InputError
from basics.lightning_internals import average_of, average_on


def weight_averaging(ema: float, swa: float) -> list[WeightAveraging]:
    """The callback for an exponential moving average, one for stochastic weight averaging, or none if both are 0.

    Args:
        ema: share of the old average that is kept at each step (Polyak and Juditsky 1992); less in the first steps.
        swa: share of the run after which the average starts; see `EqualAveraging`.

    Raises:
        InputError: both are given, or one is not from 0 to below 1.
    """
    for name, value in {"ema": ema, "swa": swa}.items():
        if not 0 <= value < 1:
            raise InputError(f"{name} {value}: must be from 0 to below 1")
    if ema and swa:
        raise InputError(f"ema {ema}, swa {swa}: the weights can be averaged in one of these ways only")
    if ema:
        return [ExponentialAveraging(ema)]
    return [EqualAveraging(swa)] if swa else []


def _exponential(ema: float, average: Tensor, current: Tensor, steps_before: Tensor) -> Tensor:
    """The next average; the decay rises to `ema` as (1 + t) / (10 + t), where t steps are in the average so far.

    So the first weights, which know nothing, are soon forgotten: the average spans about the last ninth of the run, or
    1 / (1 - ema) steps if that is less. The rise is that of TensorFlow's ExponentialMovingAverage.
    """
    share = (9 / (10 + steps_before)).clamp(min=1 - ema)  # of the current weights; a tensor, to avoid a wait
    # Not decay * average + share * current, as Lightning's EMAWeightAveraging has it: the rounding alters constants,
    # such as the normalisation of the input; no checkpoint has these, so that a resumed run would differ.
    return _moved(average, current, share)


def _moved(average: Tensor, current: Tensor, share: Tensor) -> Tensor:
    """The average, moved by this share of the way to the current weights; infinite bounds, equal in both, stay."""
    return torch.where((average == current) | (share >= 1), current, average + share * (current - average))


class InTraining(WeightAveraging):
    """Lightning's, while a training runs; the weights in its checkpoints, which are tested, are averaged already."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning copies the module before it is on its device and, for --precision 64-true, of its type. With
        # bf16-true the average stays in float32: in bfloat16 it would never move by small shares.
        average_on(self, trainer.strategy.root_device)
        if trainer.precision == "64-true":
            pl_module.double()
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            narrow = trainer.precision in ("bf16-true", "16-true")
            self._exact = [tensor.clone() for tensor in average_of(self)] if narrow else []
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)
            for tensor, exact in zip(average_of(self), self._exact, strict=False):
                tensor.copy_(exact)  # to be validated, it was in the module, whose type is narrower
            self._exact = []

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class ExponentialAveraging(InTraining):
    """An exponential moving average, of which `decay` is kept at each step."""

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=partial(_exponential, decay))

    @property
    def state_key(self) -> str:
        return "WeightAveraging"  # as the checkpoints of earlier runs have it


class EqualAveraging(InTraining):
    """The mean of the weights after each step from the share `start` of the run on; before, the weights as they are.

    Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization" (SWA), who take the
    weights once an epoch. Lightning's own SWA callback replaces the schedule of the learning rate; this one leaves it.

    Raises:
        InputError: the run has no end, so there is no share of it.
    """

    def __init__(self, start: float) -> None:
        super().__init__(avg_fn=self._average)
        self.start = start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.first_step = first_step_of(self.start, trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if trainer.global_step <= self.first_step and trainer.is_global_zero:
            print(
                f"swa {self.start:g}: nothing was averaged, because training ended after step {trainer.global_step:,}"
                f" and the average starts after step {self.first_step:,}; the model is that of the last step",
                flush=True,
            )

    def _average(self, average: Tensor, current: Tensor, steps_before: Tensor) -> Tensor:
        in_average = (steps_before - self.first_step).clamp(min=0)  # a tensor, so as not to wait for the device
        return _moved(average, current, 1 / (in_average + 1))


def first_step_of(share: float, trainer: Trainer) -> int:
    """How many steps come before this share of the run is over."""
    if math.isinf(trainer.estimated_stepping_batches):
        raise InputError(f"swa {share:g}: is a share of a run without an end; set max_epochs or max_steps")
    return int(share * trainer.estimated_stepping_batches)
