"""`--find_lr`: the loss while the learning rate grows from step to step, and what that suggests.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. Lightning's tuner runs the test; its
own suggestion is where the loss falls fastest by learning rate, which is nearly always at the low end. Here it is
where the loss falls fastest by order of magnitude.
"""

from pathlib import Path
from typing import Any

from figures import COLOURS, new_figure, save_figures

import numpy as np
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.tuner import Tuner

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 100  # any optimizer's useful range is within
SETTLING = 10  # steps until the tuner's smoothed loss means something; it begins at half of the loss


def find_lr(trainer: Trainer, model: LightningModule, data: LightningDataModule, run: Path) -> dict[str, Any]:
    """Prints and returns the suggested learning rate, and draws the curve; the model stays as it was."""
    finder = Tuner(trainer).lr_find(
        model, datamodule=data, min_lr=LOWEST, max_lr=HIGHEST, num_training=STEPS, update_attr=False
    )
    rates, losses = np.array(finder.results["lr"]), np.array(finder.results["loss"])
    suggestion = steepest(rates, losses)
    if trainer.is_global_zero:
        path = run / "figures" / "find_lr.png"
        _draw(rates, losses, suggestion, path)
        print(f"suggested learning rate: {suggestion:.2g}\n{path}\nnothing was trained; start again with --lr")
    return {"lr": suggestion}


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The learning rate at which the loss falls fastest by order of magnitude; before the loss's minimum."""
    end = max(int(np.nanargmin(losses)) + 1, SETTLING + 2)
    slopes = np.gradient(losses[SETTLING:end], np.log(rates[SETTLING:end]))
    return float(rates[SETTLING + int(np.nanargmin(slopes))])


def _draw(rates: np.ndarray, losses: np.ndarray, suggestion: float, path: Path) -> None:
    figure, axes = new_figure()
    rates, losses = rates[SETTLING:], losses[SETTLING:]
    axes.plot(rates, losses)
    axes.axvline(suggestion, color=COLOURS[1], linestyle="--", label=f"suggestion {suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", title="Learning-rate range test")
    axes.set_ylim(0.9 * np.nanmin(losses), 1.2 * losses[0])  # what comes after the divergence would flatten the rest
    axes.legend()
    axes.grid(alpha=0.3)
    save_figures({path.stem: figure}, path.parent)
