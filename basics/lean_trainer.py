"""A Trainer whose steps cost less: what Lightning does in vain in each of them, or finds out again, is left out.

A small network's step takes a few milliseconds on a CPU, and Lightning makes a thousand Python calls beside it. Like
`lightning_internals.py` this touches internals, but no result depends on them; checked on Lightning 2.6.6.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from basics.trainer_parts import callbacks_of

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
LEAN = ("callbacks", "lit_modules", "lightning")  # the packages whose empty hooks are not called


class LeanTrainer(Trainer):
    """Lightning's, which finds in fewer calls what it asks itself dozens of times in each step."""

    strategy = property(attrgetter("_accelerator_connector.strategy"))
    lightning_module = property(attrgetter("_accelerator_connector.strategy._lightning_module"))
    num_training_batches = property(attrgetter("fit_loop.max_batches"))

    def _is_training(self) -> bool:
        return self.state.stage is RunningStage.TRAINING  # they are strings, which compare slowly

    training = Trainer.training.getter(_is_training)  # type: ignore[attr-defined]  # it is a property

    @property
    def _results(self) -> Any:
        return self.fit_loop.epoch_loop._results if self.training else super()._results


class Undivided(ClosureResult):
    """Lightning's, but a loss is not divided by the number of accumulated batches if that is 1."""

    @classmethod
    def from_training_step_output(cls, training_step_output: Any, normalize: int = 1) -> ClosureResult:
        if normalize == 1 and isinstance(training_step_output, Tensor):
            return cls(training_step_output)
        return super().from_training_step_output(training_step_output, normalize)


@contextmanager
def lean_steps(trainer: Trainer, model: LightningModule, in_place: bool = False) -> Iterator[None]:
    """Spares each step of a training the calls of empty hooks, and questions with the same answer each time.

    Lightning does not call what cannot be called, such as None; so empty hooks are that, in callbacks and modules of
    this project and of Lightning. Others may count on theirs.

    Args:
        in_place: whether batches come from their loader as the step gets them; then no hooks move them.
    """
    all_of_them: list[Callback | LightningModule] = [*callbacks_of(trainer), model]
    lean = [each for each in all_of_them if type(each).__module__.split(".")[0] in LEAN]
    instead: list[tuple[Any, str, Any]] = [
        *((each, hook, None) for each in lean for hook in STEP_HOOKS if _is_empty(each, hook)),
        (trainer.fit_loop.epoch_loop, "_build_kwargs", _arguments_of(model)),
        (trainer.fit_loop.epoch_loop.automatic_optimization, "output_result_cls", Undivided),
    ]
    if in_place:
        instead += (model, "_on_before_batch_transfer", _as_it_is), (trainer.strategy, "batch_to_device", _as_it_is)
    if not call.log.isEnabledFor(logging.DEBUG):  # twenty messages a step, which nobody sees
        instead.append((call.log, "debug", _as_it_is))
    for owner, name, value in instead:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, _ in instead:
            vars(owner).pop(name, None)


def _is_empty(owner: Callback | LightningModule, hook: str) -> bool:
    """Whether a hook is that of Lightning's base class, which does nothing."""
    base = LightningModule if isinstance(owner, LightningModule) else Callback
    return hook not in vars(owner) and getattr(type(owner), hook) is getattr(base, hook)


def _arguments_of(model: LightningModule) -> Any:
    """What gives a training step its arguments; Lightning reads the step's signature anew for each."""
    numbered = is_param_in_hook_signature(model.training_step, "batch_idx", min_args=2)

    def arguments(kwargs: OrderedDict, batch: Any, batch_idx: int) -> OrderedDict:
        kwargs["batch"] = batch
        if numbered:
            kwargs["batch_idx"] = batch_idx
        return kwargs

    return arguments


def _as_it_is(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value
