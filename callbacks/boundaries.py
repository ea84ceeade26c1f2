"""Where within an epoch a run can be stopped, and continue exactly."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from basics.lightning_internals import batch_in_epoch, batch_in_run


def step_ends(trainer: Trainer, batch_idx: int) -> bool:
    """Whether this batch leaves no gradients for a later step; such gradients would be in no checkpoint."""
    batches = batch_idx + 1
    return batches % trainer.accumulate_grad_batches == 0 or batches == trainer.num_training_batches


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation within the epoch comes right after this batch; unknown if it goes by the clock."""
    if not trainer.enable_validation or not isinstance(trainer.val_check_batch, int):
        return False
    if trainer.check_val_every_n_epoch is None:
        return (batch_in_run(trainer) + 1) % trainer.val_check_batch == 0
    in_this_epoch = (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0
    return in_this_epoch and (batch_idx + 1) % trainer.val_check_batch == 0


def may_stop(trainer: Trainer, epochs: int) -> bool:
    """Whether Lightning would stop now: the minimum of epochs, of which so many have ended, and of steps is reached."""
    return epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)


def place_of_curves(trainer: Trainer, logger: Logger) -> int:
    """Where on the x-axis Lightning and `--curves_by epoch` put what belongs to the step that has just ended.

    A resumed run drops what lies behind its checkpoint: by steps, whose first is 0, from the next step on.
    """
    return trainer.current_epoch + 1 if getattr(logger, "by_epoch", False) else trainer.global_step - 1


def validation_is_scheduled(trainer: Trainer) -> bool:
    """In a validation, whether it is one of those that `val_check_interval` asks for, as all are that go by the clock.

    The other kind comes when training ends between two of them. A run that continues from there has none at this step.
    """
    return not isinstance(trainer.val_check_batch, int) or validation_follows(trainer, batch_in_epoch(trainer))
