"""Pictures of a regression: predicted against true values, and what is left between them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_regression(true: np.ndarray, predicted: np.ndarray, name: str, folder: Path) -> dict[str, "Figure"]:
    """Writes predicted.png and residuals.png for positive numbers called `name`; returns the figures by name."""
    residuals = np.log(predicted / true)
    worst = np.argsort(abs(residuals))[-5:]
    figures = {
        "predicted": _scatter(true, predicted, worst, f"true {name}", f"predicted {name}"),
        "residuals": _scatter(true, residuals, worst, f"true {name}", f"log of predicted over true {name}"),
    }
    (axes,) = figures["predicted"].axes
    _logarithmic(axes, "y")
    axes.plot([true.min(), true.max()], [true.min(), true.max()], color="C1", linewidth=1)
    (axes,) = figures["residuals"].axes
    axes.axhline(0, color="C1", linewidth=1)
    folder.mkdir(parents=True, exist_ok=True)
    for file, figure in figures.items():
        figure.savefig(folder / f"{file}.png", dpi=120)
    return figures


def _scatter(x: np.ndarray, y: np.ndarray, worst: np.ndarray, x_label: str, y_label: str) -> "Figure":
    from matplotlib.figure import Figure  # here, for its import takes half a second

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(x, y, s=6, alpha=0.5)
    axes.scatter(x[worst], y[worst], s=14, color="C3", label=f"the {len(worst)} largest errors")
    _logarithmic(axes, "x")
    axes.set(xlabel=x_label, ylabel=y_label, title=f"{len(x):,} rows, none seen by its model")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def _logarithmic(axes: "Axes", which: str) -> None:
    """Makes the x or y axis logarithmic, with labels such as 50 k and 100 k."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(EngFormatter())
    axis.set_minor_formatter(NullFormatter())
