"""Classifier: exact metrics, penalties, self-contained checkpoints, and runs that repeat bit for bit."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import LRDecay
from datamodules import MNIST
from lit_modules import Classifier

QUIET = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)

# One-hot inputs to an identity are their own logits: 3 of these 5 are right, and the loss of each is
# log(e + 2) less the share of its target that lies on the input's class.
INPUTS, LABELS = torch.eye(3)[[0, 1, 2, 0, 1]], torch.tensor([0, 1, 2, 1, 2])
LOG_SUM = math.log(math.e + 2)


def identity(**options):
    model = Classifier("softmax", (1, 1, 3), 3, **{"lr": 0.0, **options})
    nn.init.eye_(model.net.linear.weight)
    nn.init.zeros_(model.net.linear.bias)
    return model


def five_examples():
    return DataLoader(TensorDataset(INPUTS.view(5, 1, 1, 3), LABELS), batch_size=4)  # batches of 4 and 1


def scores_of(model, precision="32-true"):
    trainer = Trainer(**QUIET, max_epochs=1, enable_checkpointing=False, precision=precision)
    trainer.fit(model, five_examples(), five_examples())
    return {**trainer.callback_metrics, **trainer.test(model, five_examples(), verbose=False)[0]}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "16-true", "64-true"])
def test_each_example_counts_once_in_every_stage(precision):
    scores = scores_of(identity(), precision)  # its logits, 0 and 1, are exact at each precision
    for stage in ("train", "val", "test"):
        assert float(scores[f"{stage}/acc"]) == pytest.approx(3 / 5)
        assert float(scores[f"{stage}/loss"]) == pytest.approx(LOG_SUM - 3 / 5)
    assert scores["test/samples"] == 5


def test_labels_are_smoothed_in_training_only():
    scores = scores_of(identity(label_smoothing=0.1))
    # Of each target 0.9 stay on the label, which is the input's class in 3 of 5, and 0.1 / 3 go to each class.
    assert float(scores["train/loss"]) == pytest.approx(LOG_SUM - (0.9 * 3 / 5 + 0.1 / 3))
    assert float(scores["val/loss"]) == float(scores["test/loss"]) == pytest.approx(LOG_SUM - 3 / 5)


def test_l1_adds_the_weights_but_not_biases_and_stays_out_of_the_logged_loss():
    model = identity(l1=0.01)
    nn.init.constant_(model.net.linear.bias, -7.0)  # the same for each class, so that no probability changes
    nn.init.constant_(model.net.linear.weight[0, 1:], 0.0)
    loss = model.training_step((INPUTS.view(5, 1, 1, 3), LABELS), 0)
    assert loss.item() == pytest.approx(LOG_SUM - 3 / 5 + 0.01 * 3)  # three ones in the weights
    model.means["train"].compute()
    assert float(scores_of(model)["train/loss"]) == pytest.approx(LOG_SUM - 3 / 5)


def test_l1_takes_convolutions_and_linear_layers_but_not_batchnorm():
    model = Classifier("cnn", (1, 28, 28), 10, net_args={"dropout": 0.0}, l1=1.0)
    batch = torch.rand(4, 1, 28, 28), torch.arange(4)
    with_l1 = model.training_step(batch, 0).item()
    model.l1 = 0.0
    penalty = with_l1 - model.training_step(batch, 0).item()
    layers = [layer for layer in model.net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert penalty == pytest.approx(sum(layer.weight.abs().sum().item() for layer in layers), rel=1e-5)


def test_input_is_normalised_per_channel():
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    model, images = Classifier("softmax", (3, 4, 5), 10, mean, std), torch.rand(6, 3, 4, 5)
    weight, bias = (p.detach().numpy() for p in model.net.parameters())
    channels = [(images.numpy()[:, c] - mean[c]) / std[c] for c in range(3)]  # (6, 4, 5) each
    logits = sum(x.reshape(6, 20) @ weight[:, 20 * c : 20 * (c + 1)].T for c, x in enumerate(channels)) + bias
    torch.testing.assert_close(model(images).detach(), torch.from_numpy(logits).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"net": "lenet6"}, "'lenet6'"),
        ({"net_args": {"depth": 3}}, "'depth'"),
        ({"optimizer": "sgdd"}, "'sgdd'"),
        ({"lr": -1.0}, "learning rate.*-1"),
        ({"momentum": -1.0}, "momentum.*-1"),
        ({"weight_decay": -1.0}, "weight_decay.*-1"),
        ({"label_smoothing": 1.5}, r"label_smoothing 1\.5"),
        ({"label_smoothing": -0.1}, r"label_smoothing -0\.1"),
        ({"l1": -1.0}, r"l1 -1\.0"),
    ],
)
def test_bad_argument_is_refused_at_once(options, named):
    with pytest.raises(ValueError, match=named):
        Classifier(**{"net": "mlp", "input_shape": (1, 28, 28), "num_classes": 10, **options})


def digits(**options):
    data = MNIST(sample=True, **options)
    data.setup()
    return data


def mlp(data, seed=0, **options):
    torch.manual_seed(seed)
    net_args = {"widths": [32], "dropout": 0.3}
    return Classifier("mlp", data.input_shape, 10, data.mean, data.std, net_args, **options)


def test_checkpoint_stands_alone(tmp_path):
    data = digits()
    model = mlp(data)
    trainer = Trainer(**QUIET, max_epochs=1, limit_train_batches=2, enable_checkpointing=False)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    images = torch.rand(8, 1, 28, 28)
    assert torch.equal(loaded.eval()(images), model.eval()(images))
    assert are_plain(torch.load(tmp_path / "model.ckpt", weights_only=True)["hyper_parameters"])


def are_plain(value):
    if type(value) in (list, tuple):
        return all(map(are_plain, value))
    if isinstance(value, dict):
        return all(type(key) is str and are_plain(item) for key, item in value.items())
    return value is None or type(value) in (str, int, float, bool)


def test_one_batch_is_learnt_by_heart():
    data = digits()
    model = Classifier("mlp", data.input_shape, 10, data.mean, data.std, {"widths": [32]}, lr=0.05)
    trainer = Trainer(**QUIET, max_epochs=40, overfit_batches=1, limit_val_batches=0, enable_checkpointing=False)
    trainer.fit(model, data)
    assert trainer.global_step == 40
    assert trainer.callback_metrics["train/loss"] < 0.05  # log(10) = 2.3 at the start


EPOCHS, BATCHES = 3, 5  # batches in each epoch


def train(folder, weights_seed=0, data_seed=0, resume=None, **flags):
    """Trains with everything that draws numbers, and saves at every epoch's end and every third step."""
    data = digits(seed=data_seed, augment="crop:2")
    model = mlp(data, weights_seed)
    saved = [
        ModelCheckpoint(folder, "epoch{epoch}", save_top_k=-1, auto_insert_metric_name=False),
        ModelCheckpoint(folder, "step{step}", save_top_k=-1, auto_insert_metric_name=False, every_n_train_steps=3),
    ]
    options = {**QUIET, "max_epochs": EPOCHS, "limit_train_batches": BATCHES, **flags}
    trainer = Trainer(**options, callbacks=[LRDecay("cosine"), *saved])
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    assert trainer.global_step == EPOCHS * BATCHES
    momentum = [trainer.optimizers[0].state[p]["momentum_buffer"] for p in model.parameters()]
    return [*model.parameters(), *momentum, trainer.callback_metrics["val/loss"]], trainer.callback_metrics


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *train(folder)


def test_seed_decides_every_bit(whole_run, tmp_path):
    _, end, _ = whole_run
    assert equal(train(tmp_path)[0], end)
    assert not equal(train(tmp_path, data_seed=1)[0], end)
    assert not equal(train(tmp_path, weights_seed=1)[0], end)


# Steps 3 and 12 lie within the first and the last epoch; step 9 is one before the end of the second.
@pytest.mark.parametrize("checkpoint", ["epoch0", "epoch1", "step3", "step9", "step12"])
def test_resumed_run_ends_as_the_uninterrupted_one(whole_run, tmp_path, checkpoint):
    folder, end, _ = whole_run
    # Other weights to begin with: all that counts must come from the checkpoint.
    resumed, _ = train(tmp_path, weights_seed=9, resume=folder / f"{checkpoint}.ckpt")
    assert equal(resumed, end)


def test_resume_in_mid_epoch_logs_the_mean_of_the_whole_epoch(whole_run, tmp_path):
    folder, _, metrics = whole_run
    _, resumed = train(tmp_path, resume=folder / "step12.ckpt")
    assert resumed["train/loss"] == metrics["train/loss"]


def test_run_limited_by_steps_resumes_at_an_epochs_end(whole_run, tmp_path):
    folder, end, _ = whole_run
    resumed, _ = train(tmp_path, resume=folder / "epoch0.ckpt", max_epochs=-1, max_steps=EPOCHS * BATCHES)
    assert equal(resumed, end)
