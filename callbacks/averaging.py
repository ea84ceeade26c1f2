"""Averages of the weights over the steps of a run, which are what is validated, tested and saved as the model.

Lightning's callbacks keep the average: it is in `state_dict` of each checkpoint, beside the current weights from which
a resumed run goes on. BatchNorm's statistics are averaged like the weights.
"""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


def weight_averaging(ema: float, swa: float) -> list[WeightAveraging]:
    """The callback for an exponential moving average, one for stochastic weight averaging, or none where both are 0.

    Args:
        ema: share of the old average that is kept at each step (Polyak and Juditsky 1992).
        swa: share of the run after which the average starts; see `EqualAveraging`.

    Raises:
        ValueError: both are given, or one is not from 0 to below 1.
    """
    for name, value in {"ema": ema, "swa": swa}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} {value}: must be from 0 to below 1")
    if ema and swa:
        raise ValueError(f"ema {ema}, swa {swa}: the weights are averaged in one way or the other")
    if ema:
        # Lightning's EMAWeightAveraging takes ema * average + (1 - ema) * current, whose rounding alters constants such
        # as the normalisation of the input; no checkpoint has these, so that a resumed run would differ.
        return [WeightAveraging(avg_fn=lambda average, current, steps: average + (1 - ema) * (current - average))]
    return [EqualAveraging(swa)] if swa else []


class EqualAveraging(WeightAveraging):
    """The mean of the weights after each step from the share `start` of the run on; before, the weights themselves.

    Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization" (SWA), who take the
    weights once an epoch. Lightning's own SWA callback replaces the schedule of the learning rate; this one leaves it.
    """

    def __init__(self, start: float) -> None:
        super().__init__(avg_fn=self._average)
        self.start = start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.first_step = int(self.start * trainer.estimated_stepping_batches)

    def _average(self, average: Tensor, current: Tensor, steps_before: Tensor) -> Tensor:
        in_average = (steps_before - self.first_step).clamp(min=0)  # a tensor: the device is not waited for
        return average + (current - average) / (in_average + 1)
