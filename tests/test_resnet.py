"""The residual networks: their sizes, torchvision's outputs, and their norms."""

import pytest
import torch
import torchvision
from net_checks import SHAPES, assert_same_outputs, assert_trains, blank, count, randomise_norms, share_state
from torch import nn

from lit_modules.nets import build_net
from lit_modules.nets.preact_resnet import FirstUnit, Unit
from lit_modules.nets.resnet import Bottleneck, ResNet
from lit_modules.norms import NORMS

NAMES = ["resnet18", "resnet34", "resnet50", "preact_resnet18", "residual_mnist", "resnet_cifar"]


def size(channels, width, depth):
    """Of a stage of basic blocks: 3x3 convolutions, a scale and shift after each, a projection at a change of width."""
    convolutions = 9 * (channels * width + (2 * depth - 1) * width**2)
    projection = channels * width + 2 * width if channels != width else 0
    return convolutions + 2 * depth * 2 * width + projection


def test_size_is_the_sum_over_layers():
    ends = 9 * 3 * 64 + 2 * 64 + 512 * 10 + 10  # stem and classifier
    resnet18 = ends + size(64, 64, 2) + size(64, 128, 2) + size(128, 256, 2) + size(256, 512, 2)
    resnet34 = ends + size(64, 64, 3) + size(64, 128, 4) + size(128, 256, 6) + size(256, 512, 3)
    assert count("resnet18", 3, 32, 32) == resnet18 == 11_173_962  # as kuangliu/pytorch-cifar's
    assert count("resnet34", 3, 32, 32) == resnet34
    small = 9 * 32 + 2 * 32 + size(32, 32, 1) + size(32, 64, 1) + size(64, 128, 1) + 128 * 10 + 10
    assert count("residual_mnist", 1, 28, 28) == small < 600_000
    cifar = 9 * 3 * 16 + 2 * 16 + size(16, 16, 3) + size(16, 32, 3) + size(32, 64, 3) + 64 * 10 + 10
    assert count("resnet_cifar", 3, 32, 32) == cifar
    # No norm after the stem and the projections, a narrower one where the width changes, one more at the end.
    preact = resnet18 - 2 * (64 + 128 + 256 + 512) - 2 * (64 + 128 + 256) + 2 * 512
    assert count("preact_resnet18", 3, 32, 32) == preact


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_outputs_are_torchvisions_with_a_small_stem(name):
    peer = getattr(torchvision.models, name)(num_classes=10)
    peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    randomise_norms(peer)
    net = blank(name, 3, 32, 32)
    share_state(peer, net)
    assert_same_outputs(net, peer, 3, 16, 16)
    assert_same_outputs(net, peer, 3, 7, 9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["resnet18", "preact_resnet18", "residual_mnist"])
def test_every_parameter_trains(name, shape):
    assert_trains(build_net(name, shape, 7), shape, 7)


def test_every_parameter_of_bottlenecks_trains():
    shape = (1, 28, 28)
    assert_trains(ResNet(shape, 7, Bottleneck, depths=(2, 2), widths=(8, 16)), shape, 7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["residual_mnist", "preact_resnet18"])
def test_norm_is_everywhere_the_one_asked_for(name, norm):
    kinds = [type(module) for module in blank(name, 1, 28, 28, norm=norm).modules()]
    default = [type(module) for module in blank(name, 1, 28, 28).modules()]
    assert kinds == [type(NORMS[norm](64)) if kind is nn.BatchNorm2d else kind for kind in default]


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_trains_on_one_image(norm):
    assert_trains(build_net("residual_mnist", (1, 28, 28), 10, norm=norm), (1, 28, 28), 10, batch_size=1)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_norm_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=r"norm 'bach'.* batch\? There are batch, group, instance, layer"):
        blank(name, 3, 32, 32, norm="bach")


def test_preactivation_leaves_the_identity_path_clean():
    x = torch.randn(2, 8, 6, 6)
    unit, first = Unit(8, nn.BatchNorm2d), FirstUnit(8, 8, 1, nn.BatchNorm2d)
    nn.init.zeros_(unit.residual[-1].weight)
    nn.init.zeros_(first.residual[-1].weight)
    torch.testing.assert_close(unit(x), x)
    torch.testing.assert_close(first.eval()(x), x.relu(), rtol=1e-4, atol=1e-4)  # a fresh norm only adds 1e-5


def test_preactivation_comes_before_each_convolution():
    unit = Unit(8, nn.BatchNorm2d)
    randomise_norms(unit)
    unit.eval()
    norm1, _, conv1, norm2, _, conv2 = unit.residual
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(unit(x), x + conv2(norm2(conv1(norm1(x).relu())).relu()))


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_nets_for_cifar_have_the_sizes_of_the_papers_table(depth, millions):
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # the paper's shortcuts there have no parameters
    assert count("resnet_cifar", 3, 32, 32, depth=depth) - projections == pytest.approx(millions * 1e6, rel=0.03)
    assert count("resnet_cifar", 3, 32, 32, depth=depth, residual=False) == (
        count("resnet_cifar", 3, 32, 32, depth=depth) - projections
    )


@pytest.mark.parametrize("depth", [2, 7, 21, -4])
def test_depth_that_is_no_number_of_blocks_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth {depth}: must be 8, 14, 20 or so on"):
        blank("resnet_cifar", 3, 32, 32, depth=depth)
