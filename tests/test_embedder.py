"""Embedder: exact figures on any number of devices, and self-contained checkpoints."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from datamodules import MNIST
from lit_modules.embedder import Embedder
from lit_modules.losses import LOSSES

QUIET = dict(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False, use_distributed_sampler=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    data = MNIST(sample=True, batch_size=64)
    data.setup()
    return data


def linear(data, **options):
    torch.manual_seed(0)
    options = {"embedding_size": 6, "lr": 0.01, **options}
    return Embedder("softmax", data.input_shape, data.num_classes, data.mean, data.std, **options)


def pixels(images):
    return torch.from_numpy(images).unsqueeze(1) / 255  # (N, 1, 28, 28)


def test_validation_is_leave_one_out_and_the_test_retrieves_training_images(digits):
    model, trainer = linear(digits, recall_at=[1, 5]), Trainer(**QUIET, max_epochs=1)
    trainer.fit(model, digits)
    scores = {**trainer.callback_metrics, **trainer.test(model, digits, verbose=False)[0]}
    arrays = digits.arrays
    with torch.no_grad():
        gallery, val, test = (
            F.normalize(model(pixels(images)).double()).numpy()
            for images in (arrays.train_images, arrays.train_images[digits.val_indices], arrays.test_images)
        )
    similarities, labels = val @ val.T, arrays.train_labels[digits.val_indices]
    others = [np.arange(len(val)) != own for own in range(len(val))]
    rows = [(labels[rest] == labels[own], similarities[own, rest]) for own, rest in enumerate(others)]
    expected = np.mean([alike[similarity.argmax()] for alike, similarity in rows])
    assert float(scores["val/precision_at_1"]) == pytest.approx(expected)
    expected = np.mean([average_precision_score(*row) for row in rows])
    assert float(scores["val/map"]) == pytest.approx(expected, abs=1e-4)  # other batches differ in the last bits
    neighbours = KNeighborsClassifier(1, metric="cosine").fit(gallery, arrays.train_labels)
    assert scores["test/precision_at_1"] == pytest.approx(neighbours.score(test, arrays.test_labels))
    found = arrays.train_labels[neighbours.kneighbors(test, 5, return_distance=False)]
    assert scores["test/recall_at_5"] == pytest.approx((found == arrays.test_labels[:, None]).any(1).mean())
    rows = zip(arrays.test_labels, test @ gallery.T, strict=True)
    expected = np.mean([average_precision_score(arrays.train_labels == label, row) for label, row in rows])
    assert scores["test/map"] == pytest.approx(expected, abs=1e-4)
    assert scores["test/samples"] == len(test)


@pytest.mark.parametrize("loss", ["softmax", "center", "proxy_nca"])
def test_losses_with_weights_of_their_own_are_float32_at_low_precision(digits, loss):
    model = linear(digits, loss=loss)
    trainer = Trainer(**QUIET, max_epochs=1, precision="bf16-true", limit_train_batches=1, limit_val_batches=1)
    start = copy.deepcopy(model).to(torch.bfloat16)
    digits.trainer = None
    images, labels = next(iter(digits.train_dataloader()))  # of the first epoch
    trainer.fit(model, digits)
    with torch.no_grad():
        expected = start.loss.float()(start(images.bfloat16()), labels)  # of the weights as they are rounded
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected.item(), rel=1e-5)
    assert trainer.test(model, digits, verbose=False)[0]["test/samples"] == 360


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_learns_and_its_checkpoint_stands_alone(digits, tmp_path, loss):
    torch.manual_seed(0)
    size = dict(net_args={"widths": [64], "dropout": 0.0}, embedding_size=8)
    model = Embedder("mlp", digits.input_shape, 10, digits.mean, digits.std, loss=loss, **size, lr=0.05)
    trainer = Trainer(**QUIET, max_epochs=4)
    trainer.fit(model, digits)
    assert trainer.callback_metrics["val/precision_at_1"] > 0.5  # chance is 0.1
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = Embedder.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True).eval()
    images = pixels(digits.arrays.test_images[:20])
    assert torch.equal(loaded(images), model.eval()(images))
    assert loaded.hparams.loss == loss


def test_what_the_loss_learns_is_trained(digits):
    model = linear(digits, loss="proxy_nca")
    before = model.loss.proxies.detach().clone()
    Trainer(**QUIET, max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(model, digits)
    assert not torch.equal(model.loss.proxies, before)


def test_training_loss_is_the_mean_over_images(digits):
    model = linear(digits, embedding_size=2, lr=0.0)
    nn.init.zeros_(model.loss.head.weight)
    trainer = Trainer(**QUIET, max_epochs=1, limit_val_batches=0)
    trainer.fit(model, digits)
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(np.log(10))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"embedding_size": 0}, "embedding_size 0: must be at least 1"),
        ({"loss": "proxynca"}, "loss 'proxynca': no such loss; did you mean proxy_nca"),
        ({"loss": "triplet", "loss_args": {"margins": 1}}, "loss_args 'margins': triplet has no such option"),
        ({"optimizer": "sdg"}, "did you mean sgd"),
    ],
)
def test_bad_arguments_are_named(digits, options, words):
    with pytest.raises(ValueError, match=words):
        linear(digits, **options)
