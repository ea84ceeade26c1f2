"""GradientNorms: the norms of the gradients before clipping."""

import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import GradientNorms
from callbacks.gradient_norms import gradient_norms, unhealthy
from datamodules import MNIST
from lit_modules import Classifier
from lit_modules.nets import build_net


def norm_of(*gradients):
    return math.sqrt(sum(value**2 for gradient in gradients for value in gradient.flatten().tolist()))


def test_norms_are_roots_of_sums_of_squares_by_layer_and_in_total():
    net = build_net("lenet5", (1, 28, 28), 10)
    net.features[0].requires_grad_(False)  # no gradient, so no curve
    net(torch.randn(4, 1, 28, 28)).logsumexp(1).sum().backward()
    layers = {name: net.get_submodule(name) for name in ("features.3", "classifier.0", "classifier.2", "classifier.4")}
    expected = {f"gradients/{name}": norm_of(layer.weight.grad, layer.bias.grad) for name, layer in layers.items()}
    expected["gradients/total"] = math.hypot(*expected.values())
    assert gradient_norms(net) == pytest.approx(expected, rel=1e-5)


class AfterBackward(Callback):
    """Keeps the norm of all gradients at a hook that comes before any clipping."""

    def __init__(self):
        self.norms = []

    def on_after_backward(self, trainer, pl_module):
        self.norms.append(norm_of(*(p.grad for p in pl_module.parameters())))


def test_curves_have_the_norms_before_clipping(tmp_path):
    unclipped = AfterBackward()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        limit_train_batches=5,
        limit_val_batches=0,
        gradient_clip_val=1e-3,
        log_every_n_steps=2,
        logger=TensorBoardLogger(tmp_path, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[GradientNorms(), unclipped],
    )
    trainer.fit(Classifier("softmax", (1, 28, 28), 10), MNIST(sample=True))
    events = EventAccumulator(str(tmp_path)).Reload()
    curves = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"] if tag.startswith("gradients/")}
    assert set(curves) == {"gradients/net.linear", "gradients/total"}
    for curve in curves.values():  # one layer has it all
        assert [event.step for event in curve] == [0, 2, 4]
        assert [event.value for event in curve] == pytest.approx(unclipped.norms[::2], rel=1e-5)


def test_unhealthy_layers_are_those_above_20_and_nan():
    norms = {"a": 0.0, "b": 20.0, "c": 20.1, "d": math.inf, "e": math.nan}
    found = unhealthy({f"gradients/{layer}": norm for layer, norm in norms.items()} | {"gradients/total": math.nan})
    assert list(found) == ["c", "d", "e"]


@pytest.mark.parametrize(("std", "warned"), [(1.0, False), (1e-3, True)])
def test_high_norms_are_warned_of_once_and_counted(std, warned, capsys):
    """Inputs a thousand times as large make the gradient of their weights as much larger."""
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=4, limit_val_batches=0, log_every_n_steps=1,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[GradientNorms()],
    )  # fmt: skip
    trainer.fit(Classifier("softmax", (1, 28, 28), 10, std=[std], lr=1e-9), MNIST(sample=True))
    lines = [line for line in capsys.readouterr().out.splitlines() if "gradient norm" in line]
    if not warned:
        assert lines == []
        return
    warning, summary = lines
    assert warning.startswith("warning: step 0: the gradient norm of net.linear is ")
    assert "healthy is 0 to 20" in warning
    assert summary == "gradient norms: above 20 at 4 of 4 logged steps"
    resumed = GradientNorms()
    resumed.load_state_dict(trainer.callbacks[0].state_dict())
    assert resumed.state_dict() == {"_looked": 4, "_high": 4}  # so that it warns no more, and goes on counting
