"""A run's curves in TensorBoard, by step or by epoch: complete, and each point once, even after an interruption."""

import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from basics.choose import choose
from basics.lightning_internals import epochs_processed
from basics.tags import EPOCH_CURVES
from basics.torch_internals import write_summaries
from harness.runs.checkpoints import Checkpoint
from harness.runs.flag_kinds import NO_COLUMNS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLAGS = "events.out.tfevents.0.hparams"  # TensorBoard reads a run's files in the order of names
HELD = 10  # seconds at most until a point is given to the writer, which writes every two minutes
SPEED = ("train/samples_per_second", "train/seconds")


class RunLogger(TensorBoardLogger):
    """With `by_epoch`, the points of all curves lie at the number of the epoch, from 1, instead of the step.

    Curves of single steps then have one point per epoch too, the last: a resumed run can only drop the points beyond
    its checkpoint if all of them are on one axis.
    """

    by_epoch = False
    first_point = 0  # on the x-axis: where a resumed run goes on
    begun = True  # False: the run may still be refused, so nothing is written to its directory
    ended = False  # True: training and its curves have ended, and what an evaluation logs is not part of them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._points: list[tuple[Mapping[str, float], int | None, float]] = []  # numbers, step and time, to be written

    @property
    def log_dir(self) -> str:
        return str(self.save_dir)  # Lightning would expand $NAME in it

    @property
    def experiment(self) -> "SummaryWriter":
        return super().experiment if self.begun else cast("SummaryWriter", _NoWriter())  # it accepts any call

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.ended or not self.begun:
            return
        if self.by_epoch:
            if "epoch" not in metrics:
                self._of_steps = {**self._of_steps, **metrics}
                return
            metrics = {**self._of_steps, **metrics}
            step, self._of_steps = int(metrics["epoch"]) + 1, {}
        if "epoch" in metrics and step != self._numbered:  # others log at the same step
            metrics, self._numbered = {**metrics, EPOCH_CURVES[0]: metrics["epoch"]}, step
        self._write({name: value for name, value in metrics.items() if name != "epoch"}, step)
        self._lay_out({name for name in metrics if name.startswith(("train/", "val/", "step/"))})

    def _write(self, metrics: Mapping[str, Any], step: int | None) -> None:
        numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float | Tensor)}
        if numbers:
            self._points.append((numbers, step, time.time()))
        if len(numbers) < len(metrics):
            super().log_metrics({name: value for name, value in metrics.items() if name not in numbers}, step)
        if self._points and time.time() > self._points[0][2] + HELD:
            self._hand_over()

    def _hand_over(self) -> None:
        """Gives the points to the writer's thread; doing so for each at once would hold up the steps."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        points, self._points = self._points, []
        for numbers, step, logged in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
            write_summaries(self.experiment, [Summary(value=values)], step, logged)

    def _lay_out(self, curves: Collection[str]) -> None:
        """Lays out TensorBoard's custom scalars anew if there are new curves, so that no chart is empty."""
        new, self._curves = set(curves) - self._curves, self._curves.union(curves)
        if any(not name.startswith("step/") for name in new):  # a resumed run begins with steps, and has a layout
            self.experiment.add_custom_scalars(layout_of(self._curves))

    _numbered: int | None = None  # the latest step that has the epoch's number
    _of_steps: Mapping[str, float] = {}  # the latest ones of the current epoch
    _curves: frozenset[str] = frozenset()  # those that are laid out

    def save(self) -> None:
        """Flushes the curves to disk each epoch; writes no hparams.yaml, because config.yaml has the flags."""
        self._hand_over()
        self.experiment.flush()  # else readers lag by two minutes, and a kill loses as much

    def finalize(self, status: str) -> None:
        """Only flushes the curves to disk: Lightning calls it after each stage, and `close` comes last.

        Closing the file would start another one, which TensorBoard might read before it.
        """
        self.save()

    def close(self) -> None:
        self._hand_over()
        super().finalize("success")


class _NoWriter:
    """Accepts the calls that Lightning makes before there is a file to write to."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def run_logger_of(trainer: Trainer) -> RunLogger:
    """The first logger of a run that is not dry."""
    assert isinstance(trainer.logger, RunLogger)
    return trainer.logger


def open_logger(run: Path, checkpoint: Checkpoint | None, curves_by: str) -> RunLogger:
    """The logger of a run that is new, or resumed at a checkpoint.

    Args:
        curves_by: step or epoch.
    """
    by_epoch, first = choose("curves_by", curves_by, {"step": False, "epoch": True}), 0
    if checkpoint:  # the points that the interrupted run logged beyond it are dropped, as they are logged again
        first = _first_point(checkpoint.content, by_epoch)
        _wait_for_order(run)
    logger = RunLogger(run, name="", version="", default_hp_metric=False, purge_step=first if checkpoint else None)
    logger.by_epoch, logger.first_point, logger.begun = by_epoch, first, False
    return logger


def _first_point(checkpoint: dict[str, Any], by_epoch: bool) -> int:
    """The position on the curves' x-axis at which a resumed run begins."""
    if by_epoch:
        return epochs_processed(checkpoint) + 1
    return checkpoint["global_step"]


def _wait_for_order(run: Path) -> None:
    """Waits, for a second at most, until a new event file's name would sort after those of the resumed run.

    TensorBoard reads the files in the order of their names, which begin with the second in which they were created.
    """
    begun = max((int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*")), default=0)
    while begun <= time.time() < begun + 1:
        time.sleep(0.02)


def worth_comparing(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if name not in NO_COLUMNS}


def write_flags(run: Path, flags: Mapping[str, Any]) -> None:
    """Writes the run's row of the HPARAMS tab, which replaces an earlier one.

    TensorBoard keeps the first flags that it reads for a run, and takes all columns from one run if that run names any.
    So the flags are in a file of their own, which sorts first and names no columns; all runs' flags then make them.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in flags.items()
    }
    _, start, end = hparams(plain, {})
    with tempfile.TemporaryDirectory(dir=run, prefix=".flags") as folder:
        writer = SummaryWriter(folder)
        write_summaries(writer, (start, end))
        writer.close()
        (written,) = Path(folder).iterdir()
        written.replace(run / FLAGS)


def layout_of(curves: Collection[str]) -> dict[str, dict[str, list[Any]]]:
    """The layout of TensorBoard's custom scalars: one chart for each metric, with both training and validation.

    TensorBoard joins the categories of the same title over all runs. As the title names the metrics, runs of another
    task add a category of their own, and no chart to this one.

    Args:
        curves: the names of those that the run has, such as train/loss.
    """
    found = {name.partition("/")[2] for name in curves if not name.startswith("step/") and name not in SPEED}
    names = sorted(found, key=lambda name: (name != "loss", name))
    pairs = {name: ["Multiline", [f"{split}/{re.escape(name)}$" for split in ("train", "val")]] for name in names}
    pace = {name: ["Multiline", [f"{name}$"]] for name in (SPEED[0], "step/lr") if name in curves}
    categories = {f"training and validation: {', '.join(names)}": pairs, "speed and learning rate": pace}
    return {title: charts for title, charts in categories.items() if charts}
