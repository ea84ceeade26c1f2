"""`--find_lr`: the loss while the learning rate grows from step to step, and what that suggests.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, by Lightning's tuner.
"""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.tuner import Tuner

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 100  # any optimizer's useful range is within


def find_lr(trainer: Trainer, model: LightningModule, data: LightningDataModule, run: Path) -> dict[str, Any]:
    """Prints and returns the suggested learning rate, and draws the curve; the model stays as it was."""
    finder = Tuner(trainer).lr_find(
        model, datamodule=data, min_lr=LOWEST, max_lr=HIGHEST, num_training=STEPS, update_attr=False
    )
    suggestion = finder.suggestion()
    if trainer.is_global_zero:
        path = run / "figures" / "find_lr.png"
        _draw(finder.results["lr"], finder.results["loss"], suggestion, path)
        print(
            f"suggested learning rate: {suggestion:.2g}, where the loss falls fastest"
            if suggestion
            else "no suggestion"
        )
        print(f"{path}\nnothing was trained; start again with --lr")
    return {"lr": suggestion}


def _draw(rates: list[float], losses: list[float], suggestion: float | None, path: Path) -> None:
    from matplotlib.figure import Figure  # here, for its import takes half a second

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(rates, losses)
    if suggestion:
        axes.axvline(suggestion, color="C1", linestyle="--", label=f"suggestion {suggestion:.2g}")
        axes.legend()
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", title="Learning-rate range test")
    axes.set_ylim(0.9 * min(losses), 1.5 * losses[0])  # what comes after the divergence would flatten the rest
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
