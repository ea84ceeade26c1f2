"""Mosaics of images, and what goes into them."""

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from harness.drawing.image_figures import draw_feature_maps, draw_kernels, mosaic, most_wrong
from harness.drawing.inspection import features_of, first_kernels, maps_of
from harness.drawing.learning_curves import Curve, Trained, note_on_validation, read_curves
from lit_modules.nets import build_net


def test_mosaic_puts_images_in_rows():
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    expected = np.array([  # two pixels an image, one between, and one more below
        [0, 0, 9, 1, 1, 9, 2, 2, 9],
        [0, 0, 9, 1, 1, 9, 2, 2, 9],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
        [3, 3, 9, 4, 4, 9, 9, 9, 9],
        [3, 3, 9, 4, 4, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
    ])  # fmt: skip
    np.testing.assert_array_equal(mosaic(images, 3, gap=1, below=1, background=9)[..., 0], expected)


def test_most_wrong_are_the_most_confident_errors():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3], [0.05, 0.95]])
    assert most_wrong(probabilities, torch.tensor([0, 0, 0, 1, 1])).tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("net", "shape", "name", "kernels"),
    [
        ("lenet5", (1, 28, 28), "features.0", (6, 1, 5, 5)),
        ("softmax", (1, 28, 28), "linear", (10, 1, 28, 28)),
        ("resnet18", (3, 32, 32), "stem.0", (64, 3, 3, 3)),
        ("speednet", (3, 32, 32), "whitening", (24, 3, 2, 2)),
    ],
)
def test_first_kernels_are_those_that_see_the_image(net, shape, name, kernels):
    found, weight = first_kernels(build_net(net, shape, 10), shape)
    assert (found, tuple(weight.shape)) == (name, kernels)
    draw_kernels(found, weight)


def test_maps_are_what_the_layers_make_of_the_first_image():
    net, images = build_net("lenet5", (1, 28, 28), 10).eval(), torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        maps = dict(maps_of(net, lambda: net(images), at_most=6))
        assert list(maps) == [f"features.{number}" for number in range(6)]
        for number in range(6):
            torch.testing.assert_close(maps[f"features.{number}"], net.features[: number + 1](images)[0])
        assert list(dict(maps_of(net, lambda: net(images), at_most=5))) == ["features.0", "features.3"]
    assert not any(module._forward_hooks for module in net.modules())
    draw_feature_maps(images[0], list(maps.items()), "seven")


def test_deep_networks_show_convolutions_from_first_to_last():
    net = build_net("resnet18", (3, 32, 32), 10).eval()
    convolutions = [name for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        names = [name for name, _ in maps_of(net, lambda: net(torch.rand(1, 3, 32, 32)), at_most=7)]
    assert len(names) == 7
    assert set(names) <= set(convolutions)
    assert names[0] == "stem.0"


def test_features_are_what_the_last_linear_layer_gets():
    net, images = build_net("lenet5", (1, 28, 28), 10).eval(), torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        features = features_of(net, lambda: net(images))
        assert features.shape == (3, 84)
        torch.testing.assert_close(net.classifier[-1](features), net(images))


def test_features_of_an_ensemble_and_of_a_convolution_are_means():
    tabm = build_net("tabm", (1, 28, 28), 10, size=3, widths=[16]).eval()
    squeezenet = build_net("imagenet", (1, 28, 28), 10, arch="squeezenet1_1", size=32).eval()
    images, made = torch.rand(2, 1, 28, 28), []
    squeezenet.model.features.register_forward_hook(lambda module, given, output: made.append(output))
    with torch.no_grad():
        features = features_of(tabm, lambda: tabm(images))
        torch.testing.assert_close(features, tabm.hidden(images.flatten(1).unsqueeze(1)).mean(1))
        features = features_of(squeezenet, lambda: squeezenet(images))
    torch.testing.assert_close(features, made[0].mean((2, 3)))
    assert features_of(torch.nn.Flatten(), lambda: images) is None  # it has no head


def test_curves_are_read_by_epochs_from_all_event_files(tmp_path):
    for first in (0, 2):  # resumed after two epochs of five steps
        writer = SummaryWriter(str(tmp_path), purge_step=5 * first)
        for epoch in range(first, first + 2):
            values = {"epoch": epoch, "train/seconds": 1, "train/loss": 1 / (epoch + 1), "val/loss": 2 / (epoch + 1)}
            for name, value in values.items():
                writer.add_scalar(name, value, 5 * epoch + 4)
            writer.add_scalar("step/lr", 0.1, 5 * epoch + 3)
        writer.close()
    curves = read_curves(tmp_path)
    assert curves.metrics.keys() == {"loss"}
    assert curves.metrics["loss"]["val"].epochs == [1, 2, 3, 4]
    assert curves.metrics["loss"]["val"].values == pytest.approx([2, 1, 2 / 3, 1 / 2])
    assert curves.rate.epochs == pytest.approx([0.6, 1.6, 2.6, 3.6])


def test_better_validation_than_training_is_explained_where_it_is():
    lower, higher = Curve([1, 2], [0.5, 0.8]), Curve([1, 2], [0.4, 0.9])
    better = {"acc": {"train": lower, "val": higher}, "loss": {"train": lower, "val": higher}}
    plain = note_on_validation(better, Trained())
    assert plain.startswith("Validation accuracy is better") and plain.endswith("still improves.")
    assert "with augmentation and dropout at work." in note_on_validation(better, Trained(["augmentation", "dropout"]))
    of_table = note_on_validation({"rmse": {"train": higher, "val": lower}}, Trained(validated=40))
    assert of_table.startswith("Validation RMSE is better") and "With 40 validation samples, chance" in of_table
    nothings = (
        {"acc": {"train": higher, "val": lower}, "loss": {"train": higher, "val": lower}},
        {"loss": {"train": lower, "val": higher}},
        {"acc": {"train": lower}},
        {"loss": {"train": Curve([], []), "val": higher}},
        {},
    )
    for nothing in nothings:
        assert note_on_validation(nothing, Trained()) == ""


def test_there_are_no_curves_before_the_first_epoch_ends(tmp_path):
    SummaryWriter(str(tmp_path)).close()
    assert read_curves(tmp_path) is None
