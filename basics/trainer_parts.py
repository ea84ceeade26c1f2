"""Attributes that Lightning gives a Trainer from outside its class, so that type checkers do not know them."""

from lightning.pytorch import Callback, LightningDataModule, Trainer


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """All callbacks, in the order in which their hooks are called."""
    return trainer.callbacks  # type: ignore[attr-defined]  # set by its callback connector


def set_callbacks(trainer: Trainer, callbacks: list[Callback]) -> None:
    """Gives the trainer a new list and leaves the old one as it is, since Lightning may be iterating over it."""
    trainer.callbacks = callbacks  # type: ignore[attr-defined]  # set by its callback connector


def drop_callback(trainer: Trainer, done: Callback) -> None:
    """Removes a callback that has nothing left to do, since each one in the list costs time in every step."""
    set_callbacks(trainer, [callback for callback in callbacks_of(trainer) if callback is not done])


def datamodule_of(trainer: Trainer) -> LightningDataModule | None:
    """The data module that the trainer was given, if any."""
    return trainer.datamodule  # type: ignore[attr-defined]  # set by its data connector


def steps_between_logs(trainer: Trainer) -> int:
    """`log_every_n_steps`; 0 means never."""
    return trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by its logger connector


def log_every(trainer: Trainer, steps: int) -> None:
    """Sets `log_every_n_steps`, for all that goes by it."""
    trainer.log_every_n_steps = steps  # type: ignore[attr-defined]  # set by its logger connector


def overfits_batches(trainer: Trainer) -> bool:
    """Whether the trainer uses the same few batches all the time."""
    return bool(trainer.overfit_batches)  # type: ignore[attr-defined]  # set while its arguments are checked
