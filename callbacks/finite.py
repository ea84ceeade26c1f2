"""Stops, or skips the step, if the loss, a gradient or an input is not a finite number."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from basics.errors import InputError
from basics.torch_internals import flag_nonfinite
from basics.trainer_parts import steps_between_logs

ACTIONS = ("stop", "skip")
NAMED = 64  # samples in a message at most
NOT_FINITE = "not finite"
IN_A_ROW = 20  # skipped steps after which no better ones can be expected


class FiniteGuard(Callback):
    """Keeps what is not finite out of the weights and the checkpoints, and names epoch, step and samples.

    A single process on a CPU checks each loss before the backward pass, and each gradient before the optimizer's step.
    If reading a number would wait for a device, or several ranks have to agree, the numbers are kept, and read every
    `log_every_n_steps` steps, before validation, and before anything is saved: later, but naming the same step.

    With `skip` the optimizer skips such a step, buffers such as BatchNorm's statistics are restored, and a batch with
    such a loss is left out of the epoch's means, if the module has `forget_batch`. All ranks skip the same steps. The
    price is that every step is checked, on a device too.

    With 16-mixed precision, gradients are left to the scaler, for which infinite ones are part of the search.

    Args:
        action: stop or skip.
        monitor: a validation metric that has to be finite too.

    Raises:
        InputError: a number is not finite, or `action` is neither of the two.
    """

    def __init__(self, action: str = "stop", monitor: str | None = None) -> None:
        if action not in ACTIONS:
            raise InputError(f"on_nonfinite {action!r}: must be one of {', '.join(ACTIONS)}")
        self.skips, self.monitor = action == "skip", monitor
        self.skipped, self._in_a_row = 0, 0
        self._noted: list[tuple[str, int, int, Tensor]] = []  # what, batch, step, value

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at_once = self.skips or self._is_free(trainer)
        self._parameters = list(pl_module.parameters())
        self._one = torch.ones((), device=trainer.strategy.root_device)
        self._flags: list[Tensor] = []  # a stock of zeros
        self._scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._infinite = _infinite(pl_module.state_dict())  # on purpose: a buffer of bounds, open at its ends
        self._found, self._urgency = "", 0  # in this step, if it is to be skipped
        self._buffers = dict(pl_module.named_buffers()) if self.skips else {}
        self._before = {name: buffer.clone() for name, buffer in self._buffers.items()}  # the step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch, self._batch_idx, self._step = batch, batch_idx, trainer.global_step
        if self.skips and batch_idx % trainer.accumulate_grad_batches == 0:
            self._found, self._urgency = "", 0
            for name, buffer in self._buffers.items():
                self._before[name].copy_(buffer)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self._at_once and not math.isfinite(value := loss.item()):
            self._bad(trainer, "loss", value)
            if forget := getattr(pl_module, "forget_batch", None):
                forget()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not self._scaled:
            spoilt = self._spoilt([p.grad for p in self._parameters if p.grad is not None])
            if not self._at_once:
                self._noted.append(("gradient", self._batch_idx, self._step, spoilt))
            elif not spoilt.item():
                self._flags.append(spoilt)  # it is still zero
            elif not self._found:
                self._bad(trainer, "gradient", NOT_FINITE)
        if self.skips:
            self._skip_if_found(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self._batch = None  # frees its memory for the next one
        if not self._at_once and isinstance(outputs, Mapping) and "loss" in outputs:
            self._noted.append(("loss", self._batch_idx, self._step, outputs["loss"]))
        if len(self._noted) >= 2 * (steps_between_logs(trainer) or NAMED):
            self._read(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._read(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor, 0.0) if self.monitor else 0.0
        if not self.skips and not trainer.sanity_checking and not math.isfinite(value):
            raise InputError(f"{_place(trainer, trainer.global_step)}: {self.monitor} is {float(value)}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._read(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._read(trainer)
        state = checkpoint["state_dict"]
        for name in _infinite(state):
            if name not in self._infinite or state[name].isnan().any():
                raise InputError(f"{_place(trainer, trainer.global_step)}: {name} is not finite, and is not saved")

    def _spoilt(self, gradients: list[Tensor]) -> Tensor:
        """1 if a gradient is not finite, otherwise 0."""
        if {(type(gradient), gradient.dtype) for gradient in gradients} - {(Tensor, torch.float32)}:
            total = get_total_norm(gradients)
            total = total.full_tensor() if hasattr(total, "full_tensor") else total  # if gradients are sharded
            return (~total.isfinite()).float()
        self._flags = self._flags or list(self._one.new_zeros(NAMED).unbind())
        flag = self._flags.pop()
        flag_nonfinite(gradients, flag, self._one)
        return flag

    @staticmethod
    def _is_free(trainer: Trainer) -> bool:
        """Whether a number can be read without waiting, and be judged without asking another rank."""
        return trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1

    def _bad(self, trainer: Trainer, what: str, value: float | str) -> None:
        """Raises, or keeps the message until the optimizer's step."""
        self._found = self._describe(trainer, what, self._batch_idx, trainer.global_step, value, self._batch)
        self._urgency = 2 if what == "loss" else 1  # one rank's loss spoils the gradients of all
        if not self.skips:
            raise InputError(self._found)

    def _describe(
        self, trainer: Trainer, what: str, batch_idx: int, step: int, value: float | str, batch: Any = None
    ) -> str:
        loader = trainer.train_dataloader
        samples = loader.samples(batch_idx) if loader is not None and hasattr(loader, "samples") else []
        if batch is not None and (spoilt := _spoilt(batch)):
            what, samples = "input", [samples[row] for row in spoilt] if samples else spoilt
        numbers = ", ".join(map(str, samples[:NAMED])) + f" and {len(samples) - NAMED} more" * (len(samples) > NAMED)
        of = f", of training samples {numbers}" if samples else ""
        return f"{_place(trainer, step + 1)}: the {what} is {value} in batch {batch_idx + 1} of the epoch{of}"

    def _read(self, trainer: Trainer) -> None:
        """Reads what was noted, on all ranks together, and raises if one of them has noted what is not finite."""
        if not self._noted:
            return
        # In the order of the batches, and a loss before the gradient that it has spoilt.
        noted, self._noted = sorted(self._noted, key=lambda note: (note[2], note[1], note[0] == "gradient")), []
        values = torch.stack([value.float() for *_, value in noted]).tolist()
        flagged = [what == "gradient" for what, *_ in noted]
        bad = (i for i, value in enumerate(values) if (value if flagged[i] else not math.isfinite(value)))
        first = next(bad, len(noted))
        message = ""
        if first < len(noted):
            message = self._describe(trainer, *noted[first][:3], NOT_FINITE if flagged[first] else values[first])
        if message := _earliest(trainer, message, len(noted) - first):
            raise InputError(message)

    def _skip_if_found(self, trainer: Trainer, pl_module: LightningModule) -> None:
        message = _earliest(trainer, self._found, self._urgency)
        if not message:
            self._in_a_row = 0
            return
        for parameter in pl_module.parameters():
            parameter.grad = None  # so that the optimizer skips it, its momentum included
        pl_module.load_state_dict(self._before, strict=False)  # a layer that watches its buffers notices this
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        if self._in_a_row == IN_A_ROW:
            raise InputError(f"{message}; {IN_A_ROW} steps in a row were skipped")
        if trainer.is_global_zero:
            print(f"{message}; the step is skipped", flush=True)

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "_in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        vars(self).update(state)


def _infinite(state: dict[str, Tensor]) -> list[str]:
    """Names of the tensors with something that is not finite; a sum, which is fast, says where to look."""
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return [name for name, each in floats.items() if not each.sum().isfinite() and not each.isfinite().all()]


def _spoilt(batch: Any) -> list[int]:
    """The rows of a batch whose input has something that is not finite."""
    inputs = batch[0] if isinstance(batch, tuple | list) else None
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return []
    return (~inputs.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()


def _place(trainer: Trainer, step: int) -> str:
    return f"epoch {trainer.current_epoch + 1}, step {step}"


def _earliest(trainer: Trainer, message: str, urgency: int) -> str:
    """The message of the rank with the highest urgency, on all ranks; "" if it is 0 on all."""
    if trainer.world_size == 1:
        return message
    code = urgency * trainer.world_size + trainer.world_size - 1 - trainer.global_rank if urgency else 0
    highest = int(trainer.strategy.reduce(torch.tensor(code, device=trainer.strategy.root_device), reduce_op="max"))
    rank = trainer.world_size - 1 - highest % trainer.world_size
    return trainer.strategy.broadcast(message, src=rank) if highest else ""
