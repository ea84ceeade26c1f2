"""What Lightning does in vain in each step: it is left out during a training, and nothing else is."""

from collections import Counter

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from basics.lightning_internals import STEP_HOOKS, lean_steps

BATCHES = 3


class Noted(PassThroughProfiler):
    """Counts what the Trainer enters its profiler for: each call of a hook is such a thing."""

    def __init__(self):
        super().__init__()
        self.actions = Counter()

    def profile(self, action_name):
        self.actions[action_name] += 1
        return super().profile(action_name)


class Quiet(Callback):
    """Has no hook of a step, and is one of this project, as far as its module says."""

    __module__ = "callbacks.quiet"


class Others(Callback):
    """The same of somebody else."""


class Watching(Callback):
    """One hook of its class, and one of its own."""

    __module__ = "callbacks.watching"

    def __init__(self):
        self.calls = Counter()
        self.on_after_backward = lambda trainer, pl_module: self.calls.update(["on_after_backward"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.calls.update(["on_train_batch_end"])


class Line(LightningModule):
    """Counts its batches, and the values that its gradients are clipped to."""

    def __init__(self):
        super().__init__()
        self.layer, self.numbers, self.begun, self.norms = nn.Linear(1, 1), [], 0, []

    def on_train_batch_start(self, batch, batch_idx):
        self.begun += 1

    def training_step(self, batch, batch_idx):
        self.numbers.append(batch_idx)
        return 100 * self.layer(batch[0]).square().mean()

    def on_before_zero_grad(self, optimizer):  # after the step before
        if self.layer.weight.grad is not None:
            self.norms.append(torch.stack([self.layer.weight.grad.norm(), self.layer.bias.grad.norm()]).norm())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(lean, *callbacks, **flags):
    """A module after an epoch, and how often each hook was called."""
    torch.manual_seed(0)
    model, noted = Line(), Noted()
    data = DataLoader(TensorDataset(torch.ones(BATCHES, 1)))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", devices=1, callbacks=list(callbacks), profiler=noted, **quiet, **flags
    )
    if lean:
        with lean_steps(trainer, model):
            trainer.fit(model, data)
    else:
        trainer.fit(model, data)
    return model, noted.actions


def hooks_of(actions, owner):
    return {action.rpartition(".")[2]: count for action, count in actions.items() if f"]{owner}." in action}


def test_empty_hooks_are_not_called_and_all_others_are():
    watching = Watching()
    model, actions = fit(True, Quiet(), watching, Others())
    assert watching.calls == {"on_after_backward": BATCHES, "on_train_batch_end": BATCHES}
    assert (model.begun, model.numbers) == (BATCHES, [*range(BATCHES)])
    assert not set(hooks_of(actions, "Quiet")) & set(STEP_HOOKS)
    assert set(hooks_of(actions, "Watching")) & set(STEP_HOOKS) == set(watching.calls)
    assert set(hooks_of(actions, "Others")) >= set(STEP_HOOKS)
    usual, their = Watching(), fit(False, Quiet())[1]
    assert set(hooks_of(their, "Quiet")) >= set(STEP_HOOKS)
    fit(False, usual)
    assert usual.calls == watching.calls


def test_hooks_are_back_after_the_training():
    quiet, watching = Quiet(), Watching()
    fit(True, quiet, watching)
    assert not set(vars(quiet)) & set(STEP_HOOKS)
    assert callable(watching.on_after_backward)
    assert not hasattr(Line.training_step, "__signature__")


class Clips(Callback):
    """Begins to clip when the training has begun."""

    def on_train_epoch_start(self, trainer, pl_module):
        trainer.gradient_clip_val = 0.5


@pytest.mark.parametrize("extra", [[], [Clips()]])
def test_gradients_are_clipped_if_that_is_asked_for(extra):
    norms = [fit(lean, *extra)[0].norms for lean in (True, False)]
    assert len(norms[0]) == BATCHES - 1
    assert norms[0] == norms[1]
    assert (norms[0][0] <= 0.51) == bool(extra)
