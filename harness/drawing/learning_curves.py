"""Learning curves as a picture, from a run's event files, which also have the epochs before a resume."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from basics.metric_names import mode_of
from basics.tags import EPOCH_CURVES
from harness.drawing.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = {"train": (COLOURS[0], "o", "-"), "val": (COLOURS[1], "s", "--")}  # colour, marker, line style
NOT_METRICS = ("seconds", "samples_per_second")
MARKED = 30  # epochs beyond which markers would hide the curve
JUDGED_BY = {"acc": "accuracy", "rmse": "RMSE", "loss": "loss"}  # the first of them that a run has
FEW = 500  # samples, below which chance moves a figure much


class Curve(NamedTuple):
    """A metric by the number of epochs trained."""

    epochs: Sequence[float]
    values: Sequence[float]


class Trained(NamedTuple):
    """How a network was trained, as far as it explains its curves.

    Attributes:
        at_work: what makes training harder than validation, such as dropout.
        validated: samples of the validation split; 0: not known.
    """

    at_work: Sequence[str] = ()
    validated: int = 0


class Curves(NamedTuple):
    """For each metric its curves by stage, "train" and "val"; and the learning rate."""

    metrics: dict[str, dict[str, Curve]]
    rate: Curve
    steps_per_epoch: float


def read_curves(run: Path) -> Curves | None:
    """What a run logged, by epochs, without points that are not finite; None if no epoch ended."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 1, "images": 1, "graph": 1}).Reload()
    tags = events.Tags()["scalars"]
    numbered = [curve for curve in EPOCH_CURVES if curve in tags]
    if not numbered or "train/seconds" not in tags:
        return None
    first = events.Scalars("train/seconds")[0]  # at the end of an epoch, like the other means
    epoch_at = {event.step: event.value + 1 for curve in numbered for event in events.Scalars(curve)}  # from 1
    by_epoch = all(step == epoch for step, epoch in epoch_at.items())  # `--curves_by epoch`
    # The step of a mean is that of the epoch's last step, the first step being 0.
    steps_per_epoch = 1 if by_epoch else (first.step + 1) / epoch_at.get(first.step, 1)

    def curve(tag: str, is_mean: bool) -> Curve:
        done = is_mean and not by_epoch
        points = [((event.step + done) / steps_per_epoch, event.value) for event in events.Scalars(tag)]
        points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
        return Curve([epoch for epoch, _ in points], [value for _, value in points])

    metrics: dict[str, dict[str, Curve]] = {}
    for stage in STAGES:
        for tag in tags:
            metric = tag.removeprefix(f"{stage}/").removeprefix(f"{stage}_")  # others' modules often log val_loss
            if metric != tag and metric not in NOT_METRICS:
                metrics.setdefault(metric, {})[stage] = curve(tag, is_mean=True)
    rate = curve("step/lr", is_mean=False) if "step/lr" in tags else Curve((), ())
    return Curves(metrics, rate, steps_per_epoch)


def draw_learning_curves(run: Path, best_step: int | None, how: Trained) -> dict[str, "Figure"]:
    """A figure by its name, a panel for each metric, with a line at the best epoch; none if no epoch ended."""
    curves = read_curves(run)
    if not curves or not curves.metrics:
        return {}
    count = len(curves.metrics) + (len(curves.rate.epochs) > 1)  # short runs log it once or never
    columns = min(3, count)
    rows = math.ceil(count / columns)
    size = (max(5.0, 3 * columns), 0.4 + 2.8 * rows)
    figure, panels = new_figure(rows, columns, size=size, squeeze=False, sharex=True)
    for axes, (metric, stages) in zip(panels.flat, curves.metrics.items(), strict=False):
        for stage, curve in stages.items():
            colour, marker, style = STAGES[stage]
            few = marker if len(curve.epochs) <= MARKED else ""
            axes.plot(*curve, label=f"{stage}/{metric}", color=colour, marker=few, markersize=4, linestyle=style)
        if best_step is not None:
            epoch = best_step / curves.steps_per_epoch
            axes.axvline(epoch, color="0.4", linestyle=":", label=f"best epoch, {epoch:g}")
        axes.set(title=metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in panels.flat[len(curves.metrics) : count]:
        axes.plot(*curves.rate, color=COLOURS[2])
        axes.set(title="learning rate")
        axes.grid(alpha=0.3)
    panels.flat[0].set_xlim(left=0)
    panels.flat[0].locator_params(axis="x", integer=True)
    for axes in panels.flat[max(count - columns, 0) : count]:  # the lowest of each column
        axes.set_xlabel("epoch")
        axes.tick_params(labelbottom=True)
    for axes in panels.flat[count:]:
        axes.axis("off")
    if note := note_on_validation(curves.metrics, how):
        figure.supxlabel(textwrap.fill(note, int(16 * size[0])), fontsize=8)  # that many letters in an inch
    return {"learning_curves": figure}


def note_on_validation(metrics: Mapping[str, Mapping[str, Curve]], how: Trained) -> str:
    """Why validation is better than training at the end, where it is; else nothing."""
    both = [name for name in JUDGED_BY if len(metrics.get(name, {})) == len(STAGES)]
    if not both:
        return ""
    ends = [metrics[both[0]][stage].values[-1:] for stage in STAGES]  # empty if no value was finite
    if not all(ends):
        return ""
    (train,), (val,) = ends
    if not (val < train if mode_of(both[0]) == "min" else val > train):
        return ""
    name, at_work = JUDGED_BY[both[0]], " and ".join(how.at_work)
    note = (
        f"Validation {name} is better than training {name} because they are measured differently: training {name} is"
        f" the mean over an epoch in which the network still improves{f', with {at_work} at work' * bool(at_work)}."
    )
    few = f" With {how.validated:,} validation samples, chance may have a part in it too."
    return note + few * (0 < how.validated < FEW)
