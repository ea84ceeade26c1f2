"""Averages of the weights: against the definitions, in what is validated and saved, and across a resume."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from callbacks import LastCheckpoint, LRDecay, weight_averaging
from datamodules import MNIST
from lit_modules import Classifier

QUIET = dict(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=3
)


class Weights(Callback):
    """Keeps the weights after each step; stands before the averaging in the list."""

    def __init__(self):
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(pl_module.net.linear.weight.detach().clone())


class ValidatedWeights(Callback):
    """Keeps the weights that validation sees, once an epoch."""

    def __init__(self):
        self.seen = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 0 and not trainer.sanity_checking:
            self.seen.append(pl_module.net.linear.weight.detach().clone())


class SaveFirst(Callback):
    """Saves first.ckpt after the first epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.folder / "first.ckpt")


def train(folder, ema=0.0, swa=0.0, resume=None, extra=()):
    data = MNIST(sample=True, batch_size=128)
    data.setup()
    torch.manual_seed(0)
    model = Classifier("softmax", data.input_shape, data.num_classes, data.mean, data.std, lr=0.05)
    weights, validated = Weights(), ValidatedWeights()
    callbacks = [weights, *weight_averaging(ema, swa), validated, LRDecay(), *extra]
    callbacks.append(LastCheckpoint(folder))
    Trainer(**QUIET, callbacks=callbacks).fit(model, data, ckpt_path=resume, weights_only=True)
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    return model, weights.after, validated.seen, saved


@pytest.mark.parametrize("ema", [0.7, 0.9, 0.9999])  # the rise ends at the 21st step, the 81st, and never
def test_ema_is_the_recursion(tmp_path, ema):
    model, after, validated, saved = train(tmp_path, ema=ema)
    averages = after[:1]
    for step, weight in enumerate(after[1:], start=1):
        decay = min(ema, (1 + step) / (10 + step))
        averages.append(decay * averages[-1] + (1 - decay) * weight)
    steps = len(after) // 3
    for epoch, seen in enumerate(validated, start=1):
        torch.testing.assert_close(seen, averages[epoch * steps - 1])
    torch.testing.assert_close(model.net.linear.weight, averages[-1])
    torch.testing.assert_close(saved["state_dict"]["net.linear.weight"], averages[-1])
    assert torch.equal(saved["current_model_state"]["net.linear.weight"], after[-1])


def test_swa_is_the_mean_from_its_start_on(tmp_path):
    model, after, validated, saved = train(tmp_path, swa=0.5)
    start = len(after) // 2
    torch.testing.assert_close(model.net.linear.weight, torch.stack(after[start:]).mean(0))
    torch.testing.assert_close(saved["state_dict"]["net.linear.weight"], model.net.linear.weight)
    torch.testing.assert_close(validated[0], after[len(after) // 3 - 1])  # no average yet: the weights themselves


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"swa": 0.3}])
def test_resumed_run_ends_as_the_whole_one(tmp_path, options):
    *_, whole = train(tmp_path / "whole", **options, extra=[SaveFirst(tmp_path)])
    *_, resumed = train(tmp_path / "resumed", **options, resume=tmp_path / "first.ckpt")
    for part in ("state_dict", "current_model_state"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, resumed[part][name]), (part, name)


@pytest.mark.parametrize(
    ("ema", "swa", "named"),
    [(1.0, 0.0, "ema 1.0"), (-0.1, 0.0, "ema -0.1"), (0.0, 1.5, "swa 1.5"), (0.9, 0.5, "one way")],
)
def test_bad_option_is_named(ema, swa, named):
    with pytest.raises(ValueError, match=named):
        weight_averaging(ema, swa)


def test_off_is_no_callback():
    assert weight_averaging(0.0, 0.0) == []
