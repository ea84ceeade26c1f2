"""All uses of Lightning's internals, each with its reason; checked on Lightning 2.6.6.

Lightning makes no promises about its loops, connectors and launchers, or how a checkpoint stores them. No other file
names them, as `tests/test_internals.py` checks, so this is the file to go through for each new version.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import WeightAveraging
    from lightning.pytorch.plugins import Precision
    from lightning.pytorch.strategies import ModelParallelStrategy

# The counters of a validation during its first batch.
IN_FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


def batch_in_epoch(trainer: "Trainer") -> int:
    """The number of the current batch in its epoch, from 0; hooks of validation do not get it."""
    return trainer.fit_loop.batch_idx


def batch_in_run(trainer: "Trainer") -> int:
    """The number of the current batch over all epochs, from 0, by which Lightning schedules validations."""
    return trainer.fit_loop.total_batch_idx


def epochs_begun(trainer: "Trainer") -> int:
    """The number of epochs begun; `current_epoch` does not count an epoch in which training stopped."""
    return trainer.fit_loop.epoch_progress.current.ready


def progress(trainer: "Trainer") -> tuple[int, ...]:
    """Numbers that change with each batch of training, validation and test; hooks would cost time in each batch."""
    loops = (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop)
    return batch_in_run(trainer), *(loop.batch_progress.total.ready for loop in loops)


def average_on(callback: "WeightAveraging", device: "torch.device") -> None:
    """Sets the device of the averaged weights; only the constructor takes one, when no device is known."""
    callback._device = device


def average_of(callback: "WeightAveraging") -> "list[torch.Tensor]":
    """The averaged parameters and buffers."""
    assert callback._average_model is not None  # it is made when the training is set up
    averaged = callback._average_model.module
    return [tensor.detach() for tensor in (*averaged.parameters(), *averaged.buffers())]


def set_max_epochs(trainer: "Trainer", epochs: int | None) -> None:
    """Sets `trainer.max_epochs`, which is read-only: the learning-rate finder may need more epochs than the run has."""
    trainer.fit_loop.max_epochs = epochs


def leave_ended_epoch(trainer: "Trainer") -> None:
    """For a run resumed at the end of an epoch, which Lightning would end, count and log again under `max_steps`."""
    if trainer.fit_loop.restarted_on_epoch_end:
        trainer.fit_loop.epoch_progress.increment_completed()
        trainer.fit_loop.reset_restart_stage()
        trainer.fit_loop.epoch_loop.on_iteration_done()


def count_step(checkpoint: dict[str, Any], step: int) -> None:
    """Counts the step that was validated out of turn: Lightning counts it later, and a resumed run would not at all."""
    checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = step


def begin_validation_again(checkpoint: dict[str, Any]) -> None:
    """Lets a resumed run repeat a validation that was in its first batch; otherwise the run would skip it."""
    validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    validation.update(total=dict(IN_FIRST_BATCH), current=dict(IN_FIRST_BATCH))


def forget_begun_validation(trainer: "Trainer") -> None:
    """Clears what `begin_validation_again` has written, once Lightning has acted on it."""
    validation = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    total = validation.total.state_dict()
    if total["processed"] < total["started"]:
        validation.total.reset()


def epochs_processed(checkpoint: dict[str, Any]) -> int:
    """How many epochs had ended at the checkpoint; its own `epoch` is that of the last batch."""
    return checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]


def handle_no_signals(trainer: "Trainer") -> None:
    """Stops Lightning from broadcasting on SIGTERM, whatever the ranks are doing, and from syncing a flag each step.

    Neither can be switched off otherwise; `callbacks/interruption.py` takes their place.
    """
    trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]


def _nothing(*args: Any) -> None:
    """Replaces methods that should do nothing."""


def take_over_ranks(trainer: "Trainer") -> "list[subprocess.Popen]":
    """The ranks that Lightning has started since the last call; the list left behind is empty, for its own observer.

    That observer would look every five seconds, and kill all ranks by SIGKILL.
    """
    launched = getattr(trainer.strategy.launcher, "procs", [])
    taken = list(launched)
    launched.clear()
    return taken


def copies_this_process(trainer: "Trainer") -> bool:
    """Whether ranks are copies made by multiprocessing, as in several strategies; others start the script anew."""
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def set_precision(trainer: "Trainer", precision: "Precision") -> None:
    """Replaces the precision plugin; the Trainer accepts no such plugin beside `--precision`, which chose this one."""
    trainer.strategy.precision_plugin = precision


def shard_over_all(strategy: "ModelParallelStrategy") -> None:
    """Shards over all devices: `ModelParallelStrategy` counts them too late, and would only shard over machines."""
    strategy._data_parallel_size = strategy.world_size
