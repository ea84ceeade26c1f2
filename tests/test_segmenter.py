"""Segmenter: figures exact over all pixels, and losses, against scikit-learn and torch's own."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score, jaccard_score

from datamodules.mask_folder import MaskFolder
from datamodules.scenes import CLASSES
from lit_modules.segmenter import Segmenter

QUIET = dict(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False, use_distributed_sampler=False,
)  # fmt: skip
SMALL = dict(net_args={"widths": [4, 8]})


@pytest.fixture(scope="module", params=[False, True], ids=["classes", "binary"])
def trained(request):
    """A model after a few steps, its data of uneven batches, and the figures of a test."""
    torch.manual_seed(0)
    data = MaskFolder(sample=True, batch_size=48, binary=request.param)
    data.setup()
    pixels = data.input_shape, data.num_classes, data.mean, data.std
    options = dict(binary=request.param, threshold=0.3, lr=0.02, optimizer="adam")
    model = Segmenter("unet", *pixels, classes=data.classes, **SMALL, **options)
    trainer = Trainer(**QUIET, max_epochs=1, limit_train_batches=4)
    trainer.fit(model, data)
    logged = dict(trainer.callback_metrics)
    return model, data, {**logged, **trainer.test(model, data, verbose=False)[0]}


def outputs(model, images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return model.eval()(pixels.float())


def test_figures_are_those_of_scikit_learn_over_all_pixels(trained):
    model, data, figures = trained
    val = data.val_indices
    splits = {"test": data.arrays[2:], "val": tuple(part[val] for part in data.arrays[:2])}
    for stage, (images, masks) in splits.items():
        logits, true = outputs(model, images), masks.ravel()
        predicted = (logits.sigmoid() >= 0.3) if model.binary else logits.argmax(1)
        predicted = predicted.numpy().ravel().astype(np.uint8)
        average = {"average": "binary" if model.binary else "macro"}
        assert float(figures[f"{stage}/iou"]) == pytest.approx(jaccard_score(true, predicted, **average), abs=1e-5)
        assert float(figures[f"{stage}/dice"]) == pytest.approx(f1_score(true, predicted, **average), abs=1e-5)
        assert float(figures[f"{stage}/acc"]) == pytest.approx((true == predicted).mean(), abs=1e-5)
    by_class = jaccard_score(true, predicted, average=None)
    assert model.iou_by_class.keys() == set(data.classes)
    assert len(by_class) == data.num_classes


def test_figures_of_each_class_are_in_the_test_alone(trained):
    model, data, figures = trained
    predicted = model.classify(outputs(model, data.arrays.test_images)).numpy().ravel()
    wanted = jaccard_score(data.arrays.test_labels.ravel(), predicted, average=None, zero_division=0)
    found = [figures[f"test/iou_{name}"] for name in data.classes]
    assert found == pytest.approx(list(wanted), abs=1e-5)
    assert not [name for name in figures if name.startswith(("train/iou_", "val/iou_"))]


def test_loss_is_the_cross_entropy_of_a_pixel(trained):
    model, data, figures = trained
    logits, masks = outputs(model, data.arrays.test_images), torch.from_numpy(data.arrays.test_labels)
    if model.binary:
        wanted = F.binary_cross_entropy(
            logits[:, 0].double().sigmoid(), masks.double()
        )  # in float32 it is 1 from 17 on
    else:
        wanted = F.cross_entropy(logits, masks.long())
    assert figures["test/loss"] == pytest.approx(wanted.item(), rel=1e-4)


def test_what_is_learnt_is_the_cross_entropy_of_class_numbers():
    model = Segmenter("unet", (3, 8, 8), 3, **SMALL).eval()
    images, masks = torch.rand(2, 3, 8, 8), torch.randint(3, (2, 8, 8), dtype=torch.uint8)
    loss, _ = model.learn(images, masks)
    torch.testing.assert_close(loss, F.cross_entropy(model(images), masks.long()))


LOGITS = torch.tensor([[[[0.0, math.log(3.0)]], [[0.0, 0.0]]]])  # probabilities 1/2 and 1/2; 3/4 and 1/4


def test_dice_loss_of_two_pixels_by_hand():
    model, masks = Segmenter("unet", (3, 8, 8), 2, dice=1.0, **SMALL), torch.tensor([[[0, 1]]], dtype=torch.uint8)
    # Class 0: 2 * 1/2 shared, 5/4 predicted, 1 true; class 1: 2 * 1/4 shared, 3/4 predicted, 1 true; each with 1 more.
    wanted = 1 - ((1 + 1) / (5 / 4 + 1 + 1) + (1 / 2 + 1) / (3 / 4 + 1 + 1)) / 2
    assert model._dice_loss(LOGITS, masks).item() == pytest.approx(wanted)
    single = Segmenter("unet", (3, 8, 8), 2, dice=1.0, binary=True, **SMALL)
    found = single._dice_loss(torch.tensor([[[[0.0, -math.log(3.0)]]]]), masks)  # 1/2 and 1/4
    assert found.item() == pytest.approx(1 - (1 / 2 + 1) / (3 / 4 + 1 + 1))


def test_class_that_is_nowhere_has_no_figure_and_lowers_none():
    model = Segmenter("unet", (3, 8, 8), 3, classes=["a", "b", "c"], **SMALL)
    means = {"loss": 1.0, "right_0": 3.0, "true_0": 4.0, "predicted_0": 5.0}
    means |= {"right_1": 2.0, "true_1": 4.0, "predicted_1": 3.0, "right_2": 0.0, "true_2": 0.0, "predicted_2": 0.0}
    found = model.summarise(means)
    assert found == pytest.approx({"loss": 1, "iou": (3 / 6 + 2 / 5) / 2, "dice": (6 / 9 + 4 / 7) / 2, "acc": 5 / 8})
    assert model.iou_by_class == pytest.approx({"a": 3 / 6, "b": 2 / 5})


def test_no_objects_and_none_predicted_is_all_right():
    model = Segmenter("unet", (3, 8, 8), 2, binary=True, **SMALL)
    means = {"loss": 0.1, "right_0": 9.0, "true_0": 9.0, "predicted_0": 9.0}
    means |= {"right_1": 0.0, "true_1": 0.0, "predicted_1": 0.0}
    assert model.summarise(means) == {"loss": 0.1, "iou": 1.0, "dice": 1.0, "acc": 1.0}


def test_counts_are_exact_under_autocast():
    model = Segmenter("unet", (3, 40, 40), 2, **SMALL)
    masks, logits = torch.ones(1, 40, 40, dtype=torch.uint8), torch.zeros(1, 2, 40, 40)
    logits[:, 1, :, 1:] = 1  # 1,560 pixels, which bfloat16 would round to 1,560 or not at all, and 40 others
    with torch.autocast("cpu", torch.bfloat16):
        assert model._confusion(logits, masks).tolist() == [[[0, 0], [40, 1560]]]
        logits[:, 1, 0, 1] = -1
        assert model._confusion(logits, masks).tolist() == [[[0, 0], [41, 1559]]]


def test_checkpoint_stands_alone(trained, tmp_path):
    model, data, _ = trained
    trainer = Trainer(**QUIET)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Segmenter.load_from_checkpoint(tmp_path / "model.ckpt", map_location="cpu")
    images = data.arrays.test_images[:4]
    assert torch.equal(outputs(loaded, images), outputs(model, images))
    assert loaded.names == list(data.classes) and set(loaded.names) <= {*CLASSES, "object"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.0}, "threshold 1: must be between 0 and 1"),
        ({"dice": -1.0}, "dice -1: must not be negative"),
        ({"binary": True}, "binary: tells two classes apart, not 3"),
        ({"optimizer": "sdg"}, "did you mean sgd"),
        ({"net_args": {"width": 3}}, "'width': unet has no such option"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        Segmenter("unet", (3, 8, 8), 3, **options)
