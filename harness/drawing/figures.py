"""What all pictures share, and the pictures of a regression."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from basics.errors import writing
from basics.tags import PICTURES
from basics.terminal import rough_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

DPI = 120  # pixels in an inch
# Distinguishable for the colour-blind: Okabe and Ito 2008, "Color universal design", without its yellow and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6, 4), **options: Any) -> tuple[Any, Any]:
    """A figure of `size` in inches and its axes, as pyplot.subplots returns them, without pyplot's global state."""
    import matplotlib  # here, because its import takes half a second
    from cycler import cycler
    from matplotlib.figure import Figure

    from harness.drawing.ticks import ScaledNumbers

    with matplotlib.rc_context({"axes.prop_cycle": cycler(color=COLOURS)}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, **options)
    for axis in [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]:
        axis.set_major_formatter(ScaledNumbers())
        axis.isDefault_majfmt = True  # where values are names, these are written
    return figure, axes


def save_figures(figures: dict[str, "Figure"], folder: Path) -> None:
    """Writes each figure to `folder`/NAME.png."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=DPI)


def publish(
    figures: Mapping[str, "Figure"], folder: Path, writer: "SummaryWriter", step: int = 0, group: str = PICTURES
) -> None:
    """Writes each figure to `folder`/NAME.png and to TensorBoard's images, below a group; draws and encodes it once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    from basics.torch_internals import write_summaries  # here, for torch takes seconds, and compare.py needs none

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.set_dpi(DPI)
            canvas, png = FigureCanvasAgg(figure), BytesIO()
            canvas.draw()
            picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
            picture.save(png, "PNG")
            (folder / f"{name}.png").write_bytes(png.getvalue())
            image = Summary.Image(
                width=picture.width, height=picture.height, colorspace=3, encoded_image_string=png.getvalue()
            )
            summary = Summary(value=[Summary.Value(tag=f"{group}/{name}", image=image)])
            write_summaries(writer, [summary], step)


def draw_predicted(true: np.ndarray, predicted: np.ndarray, name: str, log: bool, rows: str) -> "Figure":
    """Predicted by true numbers, (N,), which are called `name`, with the diagonal and, in the title, the RMSE.

    Args:
        log: the numbers are positive, and errors are judged by their logarithms.
        rows: what the numbers belong to, for the title.
    """
    errors = np.log(predicted / true) if log else predicted - true
    figure = _scatter(true, predicted, _worst(errors), f"true {name}", f"predicted {name}")
    (axes,) = figure.axes
    for which in "xy" if log else "":
        _logarithmic(axes, which)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color=COLOURS[2], linewidth=1, label=f"predicted = true {name}")
    rmse, of_logs = _rms(predicted - true), f", of logarithms {_rms(errors):.4f}" if log else ""
    axes.set_title(f"RMSE {rough_number(rmse)}{of_logs}; {rows}", fontsize=10)
    axes.legend()
    return figure


def draw_regression(true: np.ndarray, predicted: np.ndarray, name: str, log: bool, samples: str) -> dict[str, "Figure"]:
    """The figures `predicted` and `residuals` for numbers called `name`.

    Args:
        log: the numbers are positive, and errors are judged by their logarithms.
        samples: rows, or images.
    """
    residuals = np.log(predicted / true) if log else predicted - true
    rows = f"{len(true):,} {samples}, none seen by its model"
    label = f"log of predicted over true {name}" if log else f"predicted minus true {name}"
    figures = {
        "predicted": draw_predicted(true, predicted, name, log, rows),
        "residuals": _scatter(true, residuals, _worst(residuals), f"true {name}", label),
    }
    (axes,) = figures["residuals"].axes
    if log:
        _logarithmic(axes, "x")
    axes.axhline(0, color=COLOURS[2], linewidth=1)
    axes.set_title(rows)
    axes.legend()
    return figures


def _worst(errors: np.ndarray) -> np.ndarray:
    return np.argsort(abs(errors))[-5:]


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _scatter(x: np.ndarray, y: np.ndarray, worst: np.ndarray, x_label: str, y_label: str) -> "Figure":
    figure, axes = new_figure(size=(6, 5))
    axes.scatter(x, y, s=6, alpha=0.5)
    axes.scatter(x[worst], y[worst], s=14, color=COLOURS[1], label=f"the {len(worst)} largest errors")
    axes.set(xlabel=x_label, ylabel=y_label)
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
