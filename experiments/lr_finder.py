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
SETTLING = 10  # steps until the smoothed loss is that of more than a few batches
MEMORY = 0.98  # the share of its smoothed loss that the tuner keeps in each step


def find_lr(trainer: Trainer, model: LightningModule, data: LightningDataModule, run: Path) -> dict[str, Any]:
    """Prints and returns the suggested learning rate, and draws the curve; the model stays as it was."""
    rates, losses = range_test(trainer, model, data)
    suggestion = steepest(rates, losses)
    if trainer.is_global_zero:
        path = run / "figures" / "find_lr.png"
        _draw(rates, losses, suggestion, path)
        print(f"suggested learning rate: {suggestion:.2g}\n{path}\nnothing was trained; start again with --lr")
    return {"lr": suggestion}


def range_test(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """The learning rate and the smoothed training loss of each step until it diverges."""
    finder = Tuner(trainer).lr_find(
        model, datamodule=data, min_lr=LOWEST, max_lr=HIGHEST, num_training=steps, update_attr=False
    )
    rates, losses = np.array(finder.results["lr"]), np.array(finder.results["loss"])
    steps_done = np.arange(1, len(losses) + 1)
    # The tuner divides by the weights of one step more than it has added up, and so begins at half of the loss.
    return rates, losses * (1 - MEMORY ** (steps_done + 1)) / (1 - MEMORY**steps_done)


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The learning rate at which the loss falls fastest by order of magnitude; before the loss's minimum."""
    end = SETTLING + max(int(np.nanargmin(losses[SETTLING:])) + 1, 2)
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
