"""A run's curves in TensorBoard: by step or by epoch, whole and once each also where the run was interrupted."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from basics.choose import choose
from basics.lightning_internals import epochs_processed
from basics.torch_internals import write_summaries
from harness.runs.checkpoints import Checkpoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLAGS = "events.out.tfevents.0.hparams"  # TensorBoard reads a run's files in the order of their names


class RunLogger(TensorBoardLogger):
    """Has `by_epoch`: whether all curves have their points at the number of the epoch, from 1, in place of the step.

    What is logged of single steps has then one point an epoch too, the last: a resumed run can only drop the points
    beyond its checkpoint if all are on one axis.
    """

    by_epoch = False
    begun = True  # False: the run may be refused yet, and nothing is written to its directory
    ended = False  # True: the curves of training have ended with it, and what an evaluation logs is no part of them

    @property
    def log_dir(self) -> str:
        return str(self.save_dir)  # Lightning would replace $NAME in it

    @property
    def experiment(self) -> "SummaryWriter":
        return super().experiment if self.begun else cast("SummaryWriter", _NoWriter())  # which takes any call

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.ended:
            return
        if self.by_epoch:
            if "epoch" not in metrics:
                self._of_steps = {**self._of_steps, **metrics}
                return
            metrics = {**self._of_steps, **metrics}
            step, self._of_steps = int(metrics.pop("epoch")) + 1, {}
        super().log_metrics(metrics, step)

    _of_steps: Mapping[str, float] = {}  # the last ones of the running epoch

    def save(self) -> None:
        """Brings the curves to the disk, each epoch; writes no hparams.yaml, for config.yaml has the flags."""
        self.experiment.flush()  # else a reader waits for two minutes, and a kill loses as much

    def finalize(self, status: str) -> None:
        """Only brings the curves to the disk: Lightning calls it after each stage, and `close` comes last.

        A file that was closed would be followed by another, which TensorBoard may read before it.
        """
        self.save()

    def close(self) -> None:
        super().finalize("success")


class _NoWriter:
    """What Lightning may call before there is a file to write to."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def run_logger_of(trainer: Trainer) -> RunLogger:
    """The logger of a run that is not dry, which comes before any others."""
    assert isinstance(trainer.logger, RunLogger)
    return trainer.logger


def open_logger(run: Path, checkpoint: Checkpoint | None, curves_by: str) -> RunLogger:
    """The logger of a run, new or resumed at a checkpoint.

    Args:
        curves_by: step or epoch.
    """
    by_epoch, purge_step = choose("curves_by", curves_by, {"step": False, "epoch": True}), None
    if checkpoint:  # what the interrupted run logged beyond it is logged again, so the old points are dropped
        purge_step = _first_point(checkpoint.content, by_epoch)
        _wait_for_order(run)
    logger = RunLogger(run, name="", version="", default_hp_metric=False, purge_step=purge_step)
    logger.by_epoch, logger.begun = by_epoch, False
    return logger


def _first_point(checkpoint: dict[str, Any], by_epoch: bool) -> int:
    """Where on the curves' x-axis a resumed run begins."""
    if by_epoch:
        return epochs_processed(checkpoint) + 1
    return checkpoint["global_step"]


def _wait_for_order(run: Path) -> None:
    """Waits, for a second at most, until the next event file's name is after those of the run that is resumed.

    TensorBoard reads them in the order of their names, in which the second of their beginning comes first.
    """
    begun = max((int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*")), default=0)
    while begun <= time.time() < begun + 1:
        time.sleep(0.02)


# Flags that change no figure, and where files are kept: no columns, whatever they are, so that all runs have the same.
NO_COLUMNS = {
    "data_dir", "run_dir", "resume", "started_by", "callbacks", "logger", "plugins", "profiler", "default_root_dir",
    "model_registry",
    "fast_dev_run", "barebones", "detect_anomaly", "inference_mode", "log_every_n_steps", "num_sanity_val_steps",
    "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "enable_autolog_hparams",
}  # fmt: skip


def worth_comparing(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if name not in NO_COLUMNS}


def write_flags(run: Path, flags: Mapping[str, Any]) -> None:
    """Writes the run's row of the HPARAMS tab, in the place of an earlier one.

    TensorBoard keeps the first flags that it reads of a run, and takes all columns from one run that names any. So they
    are in a file of their own, which comes before the others and names no columns; then all runs' flags make them.
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


def write_layout(logger: TensorBoardLogger, names: Sequence[str]) -> None:
    """Lays out TensorBoard's custom scalars: training and validation on one chart for each of the metrics."""
    pairs = {name: ["Multiline", [f"train/{name}$", f"val/{name}$"]] for name in names}
    speed = {name: ["Multiline", [f"{name}$"]] for name in ("train/samples_per_second", "step/lr")}
    logger.experiment.add_custom_scalars({"training and validation": pairs, "speed": speed})
