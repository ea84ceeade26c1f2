"""Learning curves as a picture, from a run's event files: they have the epochs before a resume too."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = {  # label, colour, marker, line style
    "train": ("training", COLOURS[0], "o", "-"),
    "val": ("validation", COLOURS[1], "s", "--"),
    "step": ("at each step", COLOURS[2], "", "-"),
}
NAMES = {"acc": "accuracy", "lr": "learning rate"}
NOT_METRICS = ("seconds", "samples_per_second")
MARKED = 30  # epochs beyond which markers would hide the curve


class Curve(NamedTuple):
    """A metric by epochs of training done."""

    epochs: list[float]
    values: list[float]


class Curves(NamedTuple):
    """Of each metric its curve by stage; the learning rate is metric "lr" of stage "step"."""

    metrics: dict[str, dict[str, Curve]]
    steps_per_epoch: float


def read_curves(run: Path) -> Curves:
    """What a run logged, by epochs; without the points that are not finite."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 1, "images": 1, "graph": 1}).Reload()
    tags = events.Tags()["scalars"]
    if "epoch" not in tags or "train/seconds" not in tags:
        return Curves({}, math.nan)
    first = events.Scalars("train/seconds")[0]  # at the end of an epoch, like the other means
    epoch_at = {event.step: event.value + 1 for event in events.Scalars("epoch")}  # Lightning's numbers begin at 0
    steps_per_epoch = (first.step + 1) / epoch_at[first.step]
    metrics: dict[str, dict[str, Curve]] = {}
    for tag in tags:
        stage, _, metric = tag.partition("/")
        if stage not in STAGES or metric in NOT_METRICS or (stage == "step") != (metric == "lr"):
            continue
        after = 0 if stage == "step" else 1  # Lightning's step of a mean is that before the last
        points = [((event.step + after) / steps_per_epoch, event.value) for event in events.Scalars(tag)]
        if points := [(epoch, value) for epoch, value in points if math.isfinite(value)]:
            metrics.setdefault(metric, {})[stage] = Curve(*(list(part) for part in zip(*points, strict=True)))
    return Curves(metrics, steps_per_epoch)


def draw_learning_curves(run: Path, best_step: int | None) -> dict[str, "Figure"]:
    """A figure by its name, a panel for each metric, with a line at the best epoch; none where nothing was logged."""
    curves = read_curves(run)
    if not curves.metrics:
        return {}
    metrics = sorted(curves.metrics.items(), key=lambda metric: metric[0] == "lr")  # the metrics before it
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    size = (max(5.0, 3 * columns), 0.4 + 2.8 * rows)
    figure, panels = new_figure(rows, columns, size=size, squeeze=False, sharex=True)
    for axes, (metric, stages) in zip(panels.flat, metrics, strict=False):
        for stage in [stage for stage in STAGES if stage in stages]:
            label, colour, marker, style = STAGES[stage]
            few = marker if len(stages[stage].epochs) <= MARKED else ""
            axes.plot(*stages[stage], label=label, color=colour, marker=few, markersize=4, linestyle=style)
        if best_step is not None and metric != "lr":
            epoch = best_step / curves.steps_per_epoch
            axes.axvline(epoch, color="0.4", linestyle=":", label=f"best epoch, {epoch:g}")
        axes.set(title=NAMES.get(metric, metric), xlabel="epoch")
        axes.grid(alpha=0.3)
        if metric != "lr":
            axes.legend(fontsize=8)
    for axes in panels.flat[len(metrics) :]:
        axes.axis("off")
    return {"learning_curves": figure}
