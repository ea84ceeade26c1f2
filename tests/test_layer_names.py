"""The names of layers in pictures, beside the sizes of their weights."""

import re

import pytest
import torch
from net_checks import SHAPES, blank
from torch import nn

from harness.drawing.layer_names import layer_names, parameter_names
from lit_modules.nets import nets

NETS = [*((name, {}) for name in sorted(nets())), ("imagenet", {"arch": "vit_b_16"}), ("imagenet", {"arch": "swin_t"})]


@pytest.mark.parametrize(("net", "options"), NETS)
def test_names_are_unique_and_say_the_sizes_of_the_weights(net, options):
    model = blank(net, *SHAPES["mnist" in net], **options)
    names = layer_names(model)
    assert len(set(names.values())) == len(names)
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            maps, _, height, width = module.weight.shape
            assert re.fullmatch(rf"conv( \d+:)? {height}x{width}, {maps} maps", names[path])
        elif isinstance(module, nn.Linear):
            assert re.fullmatch(rf"linear( \d+:)? {len(module.weight)}", names[path])


@pytest.mark.parametrize(("net", "options"), NETS)
def test_each_parameter_has_a_name_of_its_own(net, options):
    model = blank(net, *SHAPES["mnist" in net], **options)
    names = parameter_names(model)
    assert list(names) == [name for name, _ in model.named_parameters()]
    assert len(set(names.values())) == len(names)


def test_lenet5_by_hand():
    net = blank("lenet5", 1, 28, 28)
    names = layer_names(net)
    assert [names[f"features.{number}"] for number in range(6)] == [
        "conv 5x5, 6 maps",
        "tanh 1",
        "average pool 1: 2x2",
        "conv 5x5, 16 maps",
        "tanh 2",
        "average pool 2: 2x2",
    ]
    assert parameter_names(net)["classifier.0.bias"] == "linear 120, bias"


def test_layers_that_are_alike_have_numbers():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(), nn.Conv2d(8, 16, (5, 3)), nn.Conv2d(16, 16, (5, 3)),
        nn.MaxPool2d(2), nn.MaxPool2d((3, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    assert list(layer_names(net).values())[1:] == [
        "conv 1: 3x3, 8 maps", "batch norm", "leaky relu", "conv 2: 5x3, 16 maps", "conv 3: 5x3, 16 maps",
        "max pool 2x2", "max pool 3x1", "average pool to 1x1", "flatten", "linear 4",
    ]  # fmt: skip


def test_layers_of_ones_own_are_called_by_their_class():
    class SwitchNorm2d(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.mix = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))

    assert list(parameter_names(nn.Sequential(SwitchNorm2d())).values()) == ["switch norm", "switch norm, mix"]
