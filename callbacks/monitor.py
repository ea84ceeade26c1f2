"""The metric that chooses the best epoch, and a check that it exists before training starts."""

from lightning.pytorch import Callback, LightningModule, Trainer

from basics.errors import InputError
from basics.metric_names import mode_of
from basics.trainer_parts import drop_callback


def monitor_mode(monitor: str, mode: str | None = None) -> str:
    """Whether the metric is better low, "min", or high, "max": as `mode` says, or by the metric's name.

    Raises:
        InputError: the mode is neither, or not given for a metric whose name does not tell.
    """
    if mode not in (None, "min", "max"):
        raise InputError(f"monitor_mode {mode!r}: must be min or max")
    known = mode or mode_of(monitor)
    if known is None:
        raise InputError(f"monitor {monitor!r}: is it better low or high? say --monitor_mode min or --monitor_mode max")
    return known


def metrics_of(module: LightningModule) -> tuple[str, ...]:
    """The names of what each stage logs, from a module that says so, as ours do; empty for others."""
    names = getattr(module, "metrics", ())  # many modules keep objects of torchmetrics there
    return names if isinstance(names, tuple) and all(isinstance(name, str) for name in names) else ()


class MonitorCheck(Callback):
    """Stops before the first step if the monitored metric is not among those that validation logs.

    It looks at what Lightning's sanity check logged, or if there was none, as in a resumed run, at the names in the
    module's `metrics`.

    Raises:
        InputError: validation does not log `monitor`.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.num_val_batches) == 1:  # of several loaders the sanity check keeps no metrics
            self._check(trainer, sorted(trainer.callback_metrics))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if names := metrics_of(pl_module):
            self._check(trainer, sorted(f"val/{name}" for name in names))

    def _check(self, trainer: Trainer, logged: list[str]) -> None:
        if self.monitor not in logged:
            others = f"no such metric, only {', '.join(logged)}" if logged else "no metrics"
            example = logged[0] if logged else "val/loss"
            raise InputError(
                f"monitor {self.monitor!r}: validation logs {others}; name one, by --monitor {example},"
                f" or FitFlags(monitor={example!r}) in Python; null, or None, keeps the last epoch"
            )
        drop_callback(trainer, self)
