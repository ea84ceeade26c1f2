"""Steps of several batches: each step's gradient is the mean over its batches, even if an epoch ends with fewer."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from callbacks import LastCheckpoint
from datamodules import MNIST
from lit_modules import Classifier

QUIET = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
BATCH = 100  # of 1,293 images: 13 batches, the last of 93


class Steps(Callback):
    """Keeps the gradient of each step, and what it is by hand: the mean of its batches' gradients."""

    def __init__(self):
        self.batches, self.gradients, self.expected = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(gradient_of(pl_module, *batch))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append(pl_module.net.linear.weight.grad.clone())
        self.expected.append(torch.stack(self.batches).mean(0))
        self.batches = []


def gradient_of(model, images, labels):
    """Of softmax regression's cross-entropy, by its closed form: (p - y)^T x / B."""
    with torch.no_grad():
        x = model.normalise(images).flatten(1)
        errors = model.net.linear(x).softmax(1)
        errors[range(len(labels)), labels] -= 1
        return errors.T @ x / len(labels)


def fit(*callbacks, resume=None, **flags):
    steps, data = Steps(), MNIST(sample=True, batch_size=BATCH)
    data.setup()
    torch.manual_seed(0)
    model = Classifier("softmax", (1, 28, 28), 10, data.mean, data.std, lr=0.01)
    saves = any(isinstance(callback, LastCheckpoint) for callback in callbacks)
    trainer = Trainer(**QUIET, callbacks=[steps, *callbacks], enable_checkpointing=saves, limit_val_batches=0, **flags)
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    return trainer, model, steps


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        ({"accumulate_grad_batches": 4, "limit_train_batches": 9}, 6),
        ({"accumulate_grad_batches": 5}, 6),  # 13 batches: of the last step's three, one is shorter
        ({"accumulate_grad_batches": 4}, 8),
        ({"accumulate_grad_batches": 5, "limit_train_batches": 3}, 2),  # fewer than a step
        ({"accumulate_grad_batches": 5, "max_steps": 4}, 4),  # ends in the second epoch's first step
        ({"accumulate_grad_batches": 5, "overfit_batches": 6}, 4),
        ({"accumulate_grad_batches": 5, "precision": "bf16-mixed", "limit_train_batches": 6}, 4),
        ({}, 26),
    ],
)
def test_gradient_is_the_mean_over_the_steps_batches(flags, count):
    _, _, steps = fit(max_epochs=2, **flags)
    assert len(steps.gradients) == count
    loose = dict(rtol=0.05, atol=1e-2) if "precision" in flags else {}
    for gradient, expected in zip(steps.gradients, steps.expected, strict=True):
        torch.testing.assert_close(gradient, expected, **loose)
        assert float(gradient.norm() / expected.norm()) == pytest.approx(1, rel=0.02)


class AfterClipping(Callback):
    """Keeps the norm of the weights' gradient after each batch."""

    def __init__(self):
        self.norms = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.norms.append(float(pl_module.net.linear.weight.grad.norm()))


def test_clipping_sees_the_mean():
    flags = dict(accumulate_grad_batches=4, limit_train_batches=9, max_epochs=1)
    norm = float(fit(**flags)[2].gradients[-1].norm())
    limit, clipped = norm / 2, AfterClipping()  # a quarter of the gradient would be below it
    *_, steps = fit(clipped, gradient_clip_val=limit, **flags)
    assert float(steps.gradients[-1].norm()) > limit
    assert clipped.norms[-1] == pytest.approx(limit, rel=0.05)  # the bias has a little of it


class Stop(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 11:  # within the last step, of batches 10 to 12
            raise InterruptedError


def test_run_that_goes_on_within_an_epoch_weighs_its_last_step_the_same(tmp_path):
    flags = dict(accumulate_grad_batches=5, max_epochs=1)
    _, whole, _ = fit(**flags)
    with pytest.raises(InterruptedError):
        fit(LastCheckpoint(tmp_path, steps=2), Stop(), **flags)
    trainer, resumed, steps = fit(resume=tmp_path / "last.ckpt", **flags)
    assert (trainer.global_step, len(steps.gradients)) == (3, 1)
    torch.testing.assert_close(steps.gradients[0], steps.expected[0])
    assert torch.equal(resumed.net.linear.weight, whole.net.linear.weight)
