"""What Lightning does in vain in each step: it is left out during a training, and nothing else is."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer import call
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from basics.lean_trainer import STEP_HOOKS, LeanTrainer, lean_steps
from datamodules import MNIST
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier

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


def fit(lean, *callbacks, of=Line, **flags):
    """A module after an epoch, and how often each hook was called."""
    torch.manual_seed(0)
    model, noted = of(), Noted()
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


def test_everything_is_as_before_after_the_training():
    quiet, watching = Quiet(), Watching()
    model, _ = fit(True, quiet, watching)
    assert not set(vars(quiet)) & set(STEP_HOOKS)
    assert callable(watching.on_after_backward)
    loop = model.trainer.fit_loop.epoch_loop
    assert "_build_kwargs" not in vars(loop) and "output_result_cls" not in vars(loop.automatic_optimization)
    assert "debug" not in vars(call.log)


class Unnumbered(Line):
    def training_step(self, batch):
        return super().training_step(batch, None)


def test_step_that_takes_no_number_gets_none():
    assert fit(True, of=Unnumbered)[0].numbers == [None] * BATCHES


@pytest.mark.parametrize("accumulated", [1, 3])
def test_losses_are_divided_by_the_number_of_accumulated_batches(accumulated):
    """The gradient of 100 (w + b)^2 is 200 (w + b) for both, in each batch; their mean is that too."""
    model, _ = fit(True, accumulate_grad_batches=accumulated)
    slope = 200 * (model.layer.weight + model.layer.bias).item()
    assert model.layer.weight.grad.item() == pytest.approx(slope, rel=1e-6)


class Digits(MNIST):
    """Changes each batch on its way, as somebody's data may."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] + 1, batch[1]


@pytest.mark.parametrize(("kind", "added"), [(MNIST, 0), (Digits, 1)])
def test_batches_come_as_their_loader_makes_them_unless_a_hook_changes_them(tmp_path, kind, added):
    seen = []
    data = kind(sample=True, batch_size=8)
    data.setup()
    model = Classifier("softmax", data.input_shape, 10)
    model.draw = lambda batch: seen.append(batch[0].amin().item()) or batch
    flags = FitFlags(max_epochs=1, limit_train_batches=2, accelerator="cpu", devices=1, pictures=False)
    fit_and_test("digits", model, data, replace(flags, run_dir=str(tmp_path), enable_progress_bar=False))
    assert seen == [added] * 2
    assert "_on_before_batch_transfer" not in vars(model)


class Asks(Callback):
    """Compares the quick answers with Lightning's own, in each stage."""

    def __init__(self):
        self.stages = Counter()

    def compare(self, trainer, *_):
        for name in ("strategy", "lightning_module", "num_training_batches", "training", "_results"):
            assert getattr(LeanTrainer, name) is not getattr(Trainer, name)
            assert getattr(trainer, name) == getattr(Trainer, name).fget(trainer)
        self.stages[trainer.state.stage.value] += 1

    on_train_batch_start = on_train_batch_end = on_validation_batch_end = on_test_batch_end = compare


def test_quick_answers_are_lightnings(tmp_path):
    asks, data = Asks(), MNIST(sample=True, batch_size=8)
    trainer = LeanTrainer(
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[asks],
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Classifier("softmax", (1, 28, 28), 10)
    trainer.fit(model, data)
    trainer.test(model, data)
    assert asks.stages == {"train": 4, "validate": 1, "sanity_check": 1, "test": 1}


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
