"""All that is touched here of Lightning's internals, each with its reason; checked on Lightning 2.6.6.

Its loops, connectors and launchers, and how a checkpoint keeps them, are no part of what Lightning promises. No other
file names them, which `tests/test_internals.py` holds: this one is to be gone through with each new version.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

    from lightning.pytorch import Trainer
    from lightning.pytorch.plugins import Precision
    from lightning.pytorch.strategies import ModelParallelStrategy

# The counters of a validation in its first batch.
IN_FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


def batch_in_epoch(trainer: "Trainer") -> int:
    """The number of the current batch in its epoch, from 0: hooks of validation are not given it."""
    return trainer.fit_loop.batch_idx


def batch_in_run(trainer: "Trainer") -> int:
    """The number of the current batch over all epochs, from 0, by which Lightning schedules validations."""
    return trainer.fit_loop.total_batch_idx


def epochs_begun(trainer: "Trainer") -> int:
    """`current_epoch` leaves out an epoch in which training has stopped."""
    return trainer.fit_loop.epoch_progress.current.ready


def progress(trainer: "Trainer") -> tuple[int, ...]:
    """Numbers that change with each batch of training, validation and test; hooks would cost time in each."""
    loops = (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop)
    return batch_in_run(trainer), *(loop.batch_progress.total.ready for loop in loops)


def set_max_epochs(trainer: "Trainer", epochs: int | None) -> None:
    """`trainer.max_epochs` can only be read, and the search for a learning rate may take more than the run has."""
    trainer.fit_loop.max_epochs = epochs


def leave_ended_epoch(trainer: "Trainer") -> None:
    """Of a run resumed at the end of an epoch, which Lightning would end, count and log again under `max_steps`."""
    if trainer.fit_loop.restarted_on_epoch_end:
        trainer.fit_loop.epoch_progress.increment_completed()
        trainer.fit_loop.reset_restart_stage()
        trainer.fit_loop.epoch_loop.on_iteration_done()


def count_step(checkpoint: dict[str, Any], step: int) -> None:
    """Counts the step that was validated out of turn: Lightning does it later, and a resumed run never."""
    checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = step


def begin_validation_again(checkpoint: dict[str, Any]) -> None:
    """Where a validation was in its first batch, a resumed run begins it again; elsewhere it would pass over it."""
    validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    validation.update(total=dict(IN_FIRST_BATCH), current=dict(IN_FIRST_BATCH))


def forget_begun_validation(trainer: "Trainer") -> None:
    """Clears what `begin_validation_again` has written, once Lightning has taken note of it."""
    validation = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    total = validation.total.state_dict()
    if total["processed"] < total["started"]:
        validation.total.reset()


def epochs_processed(checkpoint: dict[str, Any]) -> int:
    """How many epochs have ended at the checkpoint; its own `epoch` is that of the last batch."""
    return checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]


def handle_no_signals(trainer: "Trainer") -> None:
    """Lightning handles SIGTERM by a broadcast, whatever the ranks are at, and broadcasts and reads a flag each step.

    Neither has a switch, and `callbacks/interruption.py` takes their place.
    """
    trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]


def _nothing(*args: Any) -> None:
    """Takes the place of what is not wanted."""


def take_over_ranks(trainer: "Trainer") -> "list[subprocess.Popen]":
    """The ranks that Lightning has started since the last call; an empty list leaves its own observer nothing to do.

    That one looks every five seconds, and kills all by SIGKILL.
    """
    launched = getattr(trainer.strategy.launcher, "procs", [])
    taken = list(launched)
    launched.clear()
    return taken


def copies_this_process(trainer: "Trainer") -> bool:
    """Whether ranks are copies made by multiprocessing, where others start the script anew; several strategies are."""
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def set_precision(trainer: "Trainer", precision: "Precision") -> None:
    """The Trainer refuses a plugin for the precision beside `--precision`, which says which one to replace."""
    trainer.strategy.precision_plugin = precision


def shard_over_all(strategy: "ModelParallelStrategy") -> None:
    """By itself, `ModelParallelStrategy` cuts into as many parts as there are machines; devices are counted later."""
    strategy._data_parallel_size = strategy.world_size
