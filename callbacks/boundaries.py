"""Where within an epoch a run may be stopped and go on exactly."""

from lightning.pytorch import Trainer


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation within the epoch comes right after this batch; not known where it goes by the clock."""
    if not trainer.enable_validation or not isinstance(trainer.val_check_batch, int):
        return False
    if trainer.check_val_every_n_epoch is None:
        return (trainer.fit_loop.total_batch_idx + 1) % trainer.val_check_batch == 0
    in_this_epoch = (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0
    return in_this_epoch and (batch_idx + 1) % trainer.val_check_batch == 0
