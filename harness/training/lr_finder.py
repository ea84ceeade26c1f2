"""`--find_lr`: the loss while the learning rate grows from step to step, and the rate that this suggests.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. Lightning's tuner runs the test. It
would suggest the point where the loss falls fastest per unit of learning rate, which is nearly always at the low end;
we suggest the point where it falls fastest per order of magnitude.
"""

import io
import math
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.tuner import Tuner

from basics.errors import InputError
from basics.lightning_internals import set_max_epochs
from harness.drawing.figures import COLOURS, new_figure, save_figures

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 100  # covers the useful range of any optimizer
MEMORY = 0.98  # share of the running mean that the tuner keeps at each step
WIDTH = 0.05  # of the smoothing, as a share of the steps; 0.3 orders of magnitude


def find_lr(trainer: Trainer, model: LightningModule, data: LightningDataModule, run: Path) -> dict[str, Any]:
    """Prints and returns the suggested learning rate, and draws the curve; the model stays as it was."""
    rates, losses = range_test(trainer, model, data)
    suggestion = steepest(rates, losses)
    if trainer.is_global_zero:
        path = run / "figures" / "find_lr.png"
        _draw(rates, losses, suggestion, path)
        print(f"suggested learning rate: {suggestion:.2g}\n{path}\nnothing was trained; start again with --lr")
        if parts := _rates_of_parts(model):
            print(f"note: it was tried for all of the network at once, without {parts}")
    return {"lr": suggestion}


def _rates_of_parts(model: LightningModule) -> str:
    """The flags, with their values, that give parts of the network learning rates of their own."""
    usual = {"backbone_lr": None, "lr_parts": "", "layer_decay": 1.0}
    asked = {name: model.hparams.get(name, value) for name, value in usual.items()}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value != usual[name])


def range_test(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """The learning rate and the smoothed training loss of each step until it diverges."""
    epochs = trainer.max_epochs
    set_max_epochs(trainer, max(epochs or 0, steps))  # otherwise a short run on few batches would end the test
    with redirect_stderr(io.StringIO()):  # its progress bar ignores --enable_progress_bar
        finder = Tuner(trainer).lr_find(
            model, datamodule=data, min_lr=LOWEST, max_lr=HIGHEST, num_training=steps, update_attr=False
        )
    set_max_epochs(trainer, epochs)
    assert finder is not None  # it is None only in a dry run
    rates, averaged = np.array(finder.results["lr"]), np.array(finder.results["loss"])
    batches, accumulated = trainer.num_training_batches, trainer.accumulate_grad_batches
    if accumulated > batches:
        raise InputError(f"find_lr, accumulate_grad_batches {accumulated}: an epoch has only {batches} batches")
    recorded = steps_recorded(len(averaged), batches, accumulated)
    return rates, smooth(single_losses(averaged, recorded), WIDTH * steps)


def steps_recorded(count: int, batches: float, accumulated: int) -> np.ndarray:
    """The numbers, from 1, of the first `count` steps that the tuner records: those of `accumulated` batches.

    The last step of an epoch may have fewer.

    Args:
        batches: of an epoch; infinite, if it has no end.
    """
    if math.isinf(batches):
        return np.arange(1, count + 1)
    epoch, place = np.divmod(np.arange(count), int(batches) // accumulated)
    return epoch * math.ceil(batches / accumulated) + place + 1


def single_losses(averaged: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The loss of each step, recovered from the tuner's running means.

    These lag by dozens of steps, and at first depend on so few batches that chance can look like a falling loss.
    """
    means = averaged * (1 - MEMORY ** (steps + 1))  # undo the tuner's bias correction
    return (means - MEMORY * np.append(0.0, means[:-1])) / (1 - MEMORY)


def smooth(losses: np.ndarray, width: float) -> np.ndarray:
    """Means weighted by a Gaussian of `width` steps; losses that diverge count as twice the first loss."""
    losses = np.fmin(losses, 2 * losses[0])
    steps = np.arange(len(losses))
    weights = np.exp(-((steps[:, None] - steps) ** 2) / (2 * width**2))  # (N, N)
    return weights @ losses / weights.sum(1)


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The learning rate before the loss's minimum at which the loss falls fastest per order of magnitude."""
    end = max(int(np.nanargmin(losses)) + 1, 2)
    slopes = np.gradient(losses[:end], np.log(rates[:end]))
    return float(rates[int(np.nanargmin(slopes))])


def _draw(rates: np.ndarray, losses: np.ndarray, suggestion: float, path: Path) -> None:
    figure, axes = new_figure()
    axes.plot(rates, losses)
    axes.axvline(suggestion, color=COLOURS[1], linestyle="--", label=f"suggestion {suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", title="Learning-rate range test")
    axes.set_ylim(0.9 * np.nanmin(losses), 1.2 * losses[0])  # the diverging part would flatten the rest
    axes.legend()
    axes.grid(alpha=0.3)
    save_figures({path.stem: figure}, path.parent)
