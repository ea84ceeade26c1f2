"""DenseNet: its sizes, torchvision's outputs, and what a dense block keeps."""

import pytest
import torch
from net_checks import SHAPES, assert_same_outputs, assert_trains, blank, count, randomise_norms, share_state
from torch import nn
from torchvision.models import DenseNet

from lit_modules.nets import build_net
from lit_modules.nets.densenet import dense_block

PLANS = {"densenet121": (32, (6, 12, 24, 16)), "densenet_bc_100_12": (12, (16, 16, 16))}


@pytest.mark.parametrize(("name", "published"), [("densenet121", 6.96), ("densenet_bc_100_12", 0.77)])
def test_size_is_the_sum_over_layers(name, published):
    growth, depths = PLANS[name]
    channels, total = 2 * growth, 9 * 3 * 2 * growth
    for depth in depths:
        for _ in range(depth):
            total += 2 * channels + 4 * growth * channels + 2 * 4 * growth + 9 * 4 * growth * growth
            channels += growth
        total += 2 * channels + channels * (channels // 2)  # a transition
        channels //= 2
    total -= channels * 2 * channels  # the last has no convolution
    total += 2 * channels * 10 + 10
    assert count(name, 3, 32, 32) == total
    assert total / 1e6 == pytest.approx(published, abs=0.005)


def test_depth_in_the_name_counts_convolutions_and_the_linear_layer():
    for name, depth in (("densenet121", 121), ("densenet_bc_100_12", 100)):
        assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in blank(name, 3, 32, 32).modules()) == depth


@pytest.mark.parametrize("name", PLANS)
def test_outputs_are_torchvisions_with_the_cifar_stem(name):
    torch.manual_seed(0)
    growth, depths = PLANS[name]
    peer = DenseNet(growth, depths, num_init_features=2 * growth, num_classes=10)
    peer.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    peer.features.norm0 = peer.features.relu0 = peer.features.pool0 = nn.Identity()
    randomise_norms(peer)
    net = blank(name, 3, 32, 32)
    share_state(peer, net)
    assert_same_outputs(net, peer, 3, 16, 16)
    assert_same_outputs(net, peer, 3, 12, 14)


def test_dense_block_keeps_all_earlier_maps_and_each_layer_sees_them():
    block = dense_block(channels=6, growth=4, depth=3).eval()
    x = torch.randn(2, 6, 5, 5)
    maps = [x]
    for layer in block:
        maps.append(layer.layers(torch.cat(maps, dim=1)))
    torch.testing.assert_close(block(x), torch.cat(maps, dim=1))  # (2, 6 + 3 * 4, 5, 5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PLANS)
def test_every_parameter_trains(name, shape):
    assert_trains(build_net(name, shape, 7), shape, 7)
