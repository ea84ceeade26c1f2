"""No step makes a tensor on the wrong device: each is made where the batch or the weights are.

No GPU is needed to show this, only a default device other than that of the data. With torch's meta device as the
default and all data on the CPU, a tensor made without naming a device cannot be combined with the data or be read.
(test_nets.py does the reverse: networks on the meta device, which refuses tensors made on the CPU.)

Mixup, CutMix and optimizers are not tested here: they keep numbers for a whole batch or step on the CPU on purpose.
"""

import numpy as np
import pytest
import torch
from net_checks import SHAPES

from datamodules.augment import AUGMENTATIONS, Moment, parse_augmentations
from datamodules.batches import Masked
from datamodules.mask_batches import MaskBatches
from lit_modules import Classifier, Regressor, RowClassifier, label_stages
from lit_modules.embedder import Embedder
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.losses import LOSSES
from lit_modules.nets import pixel_nets
from lit_modules.row_tagger import RowTagger
from lit_modules.segmenter import Segmenter

COLOUR, GREY = SHAPES


def elsewhere(step, *args):
    """What the step returns where tensors that do not say where are on a device of no values."""
    with torch.device("meta"):
        return step(*args)


def train_and_evaluate(model, inputs, targets):
    model.training_step((inputs, targets), 0).backward()
    model.eval()._evaluate("val", (inputs, targets))


def assert_trains_elsewhere(model, inputs, targets):
    elsewhere(train_and_evaluate, model, inputs, targets)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert any(parameter.grad.any() for parameter in model.parameters())
    assert all(value.device.type == "cpu" for value in model.state_dict().values())


@pytest.mark.parametrize("step", [lambda x: x + torch.arange(3), lambda x: float(torch.rand(()))])
def test_a_tensor_made_without_saying_where_is_found(step):
    with pytest.raises((RuntimeError, NotImplementedError)):
        elsewhere(step, torch.ones(3))
    assert elsewhere(lambda x: x + torch.arange(3, device=x.device), torch.ones(3)).tolist() == [1, 2, 3]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_on_embeddings(loss):
    model = Embedder("lenet5", GREY, 10, loss=loss)
    assert_trains_elsewhere(model, torch.rand(8, *GREY), torch.arange(8) % 4)


@pytest.mark.parametrize(("net", "options"), [("speednet", {"widths": [[4, 4]]}), ("cnn", {}), ("tabm", {})])
def test_classifier(net, options):
    model = Classifier(net, COLOUR, 10, net_args=options, label_smoothing=0.1, l1=1e-4, test_flip=True)
    assert_trains_elsewhere(model, torch.rand(8, *COLOUR), torch.arange(8))


@pytest.mark.parametrize("net", sorted(pixel_nets()))
@pytest.mark.parametrize("options", [{}, {"binary": True, "dice": 1.0}])
def test_segmenter(net, options):
    model = Segmenter(net, COLOUR, 2, **options)
    assert_trains_elsewhere(model, torch.rand(4, *COLOUR), torch.randint(2, (4, 32, 32), dtype=torch.uint8))


def test_masks_are_augmented_with_their_images():
    images, masks = np.zeros((8, 16, 16, 3), np.uint8), np.zeros((8, 16, 16), np.uint8)
    augmentations = dict(augmentations=parse_augmentations("flip,rotate"), moves=[True, True], num_classes=2)
    cpu = torch.device("cpu")
    loader = MaskBatches(Masked(images, masks, cpu), np.arange(8), 8, 0, lambda: 0, **augmentations)
    assert all(part.device.type == "cpu" for part in elsewhere(next, iter(loader)))


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"loss": "huber", "log_target": True}])
def test_regressor(options):
    assert_trains_elsewhere(Regressor("tabm", (6,), **options), torch.rand(8, 6), 1 + torch.rand(8))


def test_row_classifier():
    assert_trains_elsewhere(RowClassifier("tabm", (6,), 3), torch.rand(8, 6), torch.arange(8) % 3)


def test_image_regressor():
    assert_trains_elsewhere(ImageRegressor("cnn", COLOUR, loss="huber"), torch.rand(8, *COLOUR), torch.rand(8))


@pytest.mark.parametrize("loss", label_stages.LOSSES)
def test_taggers(loss):
    labels = torch.randint(2, (8, 3)).float()
    assert_trains_elsewhere(ImageTagger("cnn", COLOUR, ["a", "b", "c"], loss=loss), torch.rand(8, *COLOUR), labels)
    assert_trains_elsewhere(RowTagger("tabm", (6,), ["a", "b", "c"], loss=loss), torch.rand(8, 6), labels)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(name):
    (augment,) = parse_augmentations(name)
    images = elsewhere(augment, torch.rand(4, *COLOUR), Moment(torch.arange(4), 0, 4))
    assert images.device.type == "cpu"
    assert images.isfinite().all()
