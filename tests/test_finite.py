"""Values that are not finite are named exactly, never saved in a checkpoint, and skipped on request."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from callbacks import FiniteGuard, LastCheckpoint
from datamodules import MNIST
from lit_modules import Classifier

BATCH, SPOILT = 100, 3  # the fourth of 13 batches


class Spoil(Callback):
    """Makes the loss, the gradient or the input of one batch infinite."""

    def __init__(self, what, batches=(SPOILT,)):
        self.what, self.batches = what, batches

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.now = batch_idx in self.batches
        if self.now and self.what == "input":
            batch[0][5, 0, 3, 3] = math.nan
        pl_module.learn = partial(self.learn, type(pl_module).learn, pl_module)

    def learn(self, method, pl_module, *inputs):
        loss, sums = method(pl_module, *inputs)
        if self.now and self.what == "loss":
            loss.data.fill_(math.inf)
        return loss, sums

    def on_after_backward(self, trainer, pl_module):
        if self.now and self.what == "gradient":
            next(pl_module.parameters()).grad.view(-1)[0] = math.inf


class Delayed(FiniteGuard):
    """As on a device, whose numbers are read later."""

    @staticmethod
    def _is_free(trainer):
        return False


class Batches(Callback):
    """Keeps which batches made a step, and what the weights were after each."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(next(pl_module.parameters()).detach().clone())


def fit(folder, *callbacks, **flags):
    data = MNIST(sample=True, batch_size=BATCH)
    torch.manual_seed(0)
    model = Classifier("cnn" if flags.pop("norm", False) else "softmax", (1, 28, 28), 10, optimizer="sgd", lr=0.1)
    options = dict(max_epochs=1, limit_train_batches=6, limit_val_batches=1, log_every_n_steps=50) | flags
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[*callbacks, LastCheckpoint(folder, steps=2)], **options,
    )  # fmt: skip
    trainer.fit(model, data)
    return trainer, model


def samples_of(batch):
    """The training samples of a batch of the first epoch, by the rule of `TrainBatches`."""
    data = MNIST(sample=True, batch_size=BATCH)
    data.setup()
    return np.random.default_rng((0, 0)).permutation(data.train_indices)[batch * BATCH :][:BATCH].tolist()


@pytest.mark.parametrize("guard", [FiniteGuard, Delayed])
@pytest.mark.parametrize(("what", "named"), [("loss", "loss is inf"), ("gradient", "gradient is not finite")])
def test_stop_names_the_step_and_the_samples_and_saves_nothing_after(tmp_path, guard, what, named):
    with pytest.raises(ValueError, match=f"epoch 1, step 4: the {named} in batch 4 of") as stop:
        fit(tmp_path, Spoil(what), guard())
    assert ", ".join(map(str, samples_of(SPOILT)[:64])) + " and 36 more" in str(stop.value)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in saved["state_dict"].values())


def test_input_is_named_by_its_sample(tmp_path):
    with pytest.raises(ValueError, match=f"step 4: the input is nan .* samples {samples_of(SPOILT)[5]}$"):
        fit(tmp_path, Spoil("input"), FiniteGuard())


def test_batch_of_an_accumulated_step_is_named(tmp_path):
    with pytest.raises(ValueError, match="epoch 1, step 2: the loss is inf in batch 4 of"):
        fit(tmp_path, Spoil("loss"), FiniteGuard(), accumulate_grad_batches=2)


@pytest.mark.parametrize("what", ["loss", "gradient", "input"])
def test_skipped_step_changes_nothing(tmp_path, capsys, what):
    batches, guard = Batches(), FiniteGuard("skip")
    trainer, _ = fit(tmp_path, Spoil(what), guard, batches)
    assert guard.skipped == 1
    assert torch.equal(batches.weights[SPOILT], batches.weights[SPOILT - 1])
    assert not torch.equal(batches.weights[SPOILT + 1], batches.weights[SPOILT])
    assert math.isfinite(trainer.callback_metrics["train/loss"])
    assert capsys.readouterr().out.count("the step is skipped") == 1
    assert trainer.global_step == 6


def test_momentum_stays_as_it_was(tmp_path):
    whole, spoilt = Batches(), Batches()
    fit(tmp_path / "a", FiniteGuard(), whole, limit_train_batches=3)
    trainer, _ = fit(tmp_path / "b", Spoil("gradient"), FiniteGuard("skip"), spoilt, limit_train_batches=4)
    other, _ = fit(tmp_path / "c", FiniteGuard(), limit_train_batches=3)
    states = [t.optimizers[0].state_dict()["state"][0]["momentum_buffer"] for t in (trainer, other)]
    assert torch.equal(*states)
    assert torch.equal(spoilt.weights[-1], whole.weights[-1])


def test_statistics_of_batch_norm_are_put_back(tmp_path):
    _, model = fit(tmp_path, Spoil("input"), FiniteGuard("skip"), norm=True)
    assert any("running_var" in name for name, _ in model.named_buffers())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_run_of_nothing_but_bad_steps_stops(tmp_path):
    with pytest.raises(ValueError, match="20 steps in a row were skipped"):
        fit(tmp_path, Spoil("loss", range(99)), FiniteGuard("skip"), max_epochs=9)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    class SpoilWeights(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step == 4:
                pl_module.net.linear.bias.data[2] = math.inf

    with pytest.raises(ValueError, match=r"epoch 1, step 4: net\.linear\.bias is not finite"):
        fit(tmp_path, SpoilWeights(), FiniteGuard())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_bounds_may_be_infinite_but_not_nan(tmp_path):
    class Bounds(Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.register_buffer("bounds", torch.tensor([-math.inf, math.inf]))

        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step == 4:
                pl_module.bounds -= pl_module.bounds.clone()

    with pytest.raises(ValueError, match=r"epoch 1, step 4: bounds is not finite"):
        fit(tmp_path, Bounds(), FiniteGuard())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2 and saved["state_dict"]["bounds"].isinf().all()


def test_unknown_action_is_named():
    with pytest.raises(ValueError, match="on_nonfinite 'ignore': must be one of stop, skip"):
        FiniteGuard("ignore")
