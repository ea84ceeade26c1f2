"""GoogLeNet and the small Inception net: their sizes, and torchvision's outputs."""

import pytest
import torch
from net_checks import SHAPES, assert_same_outputs, assert_trains, blank, count, randomise_norms, share_state
from torch import nn
from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception

from basics.errors import InputError
from lit_modules.nets import build_net


def block(channels, one, three_in, three, five_in, five, pool):
    """Size of an Inception block: weights of each convolution, and two numbers of BatchNorm for each map it makes."""
    weights = channels * (one + three_in + five_in + pool) + 9 * (three_in * three + five_in * five + five**2)
    return weights + 2 * (one + three_in + three + five_in + 2 * five + pool)


def test_size_is_the_sum_over_the_papers_table():
    blocks = [
        block(192, 64, 96, 128, 16, 32, 32),
        block(256, 128, 128, 192, 32, 96, 64),
        block(480, 192, 96, 208, 16, 48, 64),
        block(512, 160, 112, 224, 24, 64, 64),
        block(512, 128, 128, 256, 24, 64, 64),
        block(512, 112, 144, 288, 32, 64, 64),
        block(528, 256, 160, 320, 32, 128, 128),
        block(832, 256, 160, 320, 32, 128, 128),
        block(832, 384, 192, 384, 48, 128, 128),
    ]
    stem = 9 * 3 * 192 + 2 * 192
    assert count("googlenet", 3, 32, 32) == stem + sum(blocks) + 1024 * 10 + 10
    assert count("googlenet", 3, 32, 32) / 1e6 == pytest.approx(6.2, abs=0.05)
    small_stem = 25 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    small_blocks = block(64, 32, 48, 64, 8, 16, 16) + block(128, 64, 64, 96, 16, 48, 48)
    assert count("inception_mnist", 1, 28, 28) == small_stem + small_blocks + 256 * 10 + 10
    wide_stem = 25 * 48 + 2 * 48 + 9 * 48 * 96 + 2 * 96
    wide_blocks = block(96, 48, 72, 96, 12, 24, 24) + block(192, 96, 96, 144, 24, 72, 72)
    assert count("inception_mnist", 1, 28, 28, maps=48) == wide_stem + wide_blocks + 384 * 10 + 10


@pytest.mark.parametrize("maps", [0, -4, 6])
def test_maps_that_cannot_be_divided_are_one_line(maps):
    with pytest.raises(InputError, match=rf"^net_args.maps {maps}: must be a multiple of 4$"):
        build_net("inception_mnist", (1, 28, 28), 10, maps=maps)


def small_torchvision_googlenet():
    """Torchvision's network with the small stem, poolings of three pixels, and the second 3x3 that makes a 5x5."""
    peer = GoogLeNet(num_classes=10, aux_logits=False, init_weights=False)
    peer.conv1, peer.maxpool4 = BasicConv2d(3, 192, kernel_size=3, padding=1), peer.maxpool3
    peer.maxpool1 = peer.conv2 = peer.conv3 = peer.maxpool2 = nn.Identity()
    for module in peer.modules():
        if isinstance(module, Inception):
            maps = module.branch3[1].conv.out_channels
            module.branch3.append(BasicConv2d(maps, maps, kernel_size=3, padding=1))
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5  # torch's default, ours; torchvision keeps TensorFlow's 1e-3
    return peer


@pytest.mark.parametrize("size", [(16, 16), (14, 14)])
def test_outputs_are_torchvisions_with_a_small_stem(size):
    torch.manual_seed(0)
    peer, net = small_torchvision_googlenet(), blank("googlenet", 3, 32, 32)
    randomise_norms(peer)
    share_state(peer, net)
    assert_same_outputs(net, peer, 3, *size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["googlenet", "inception_mnist"])
def test_every_parameter_trains(name, shape):
    assert_trains(build_net(name, shape, 7, dropout=0.0), shape, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_mnist"])
def test_dropout_is_an_option(name):
    drops = [module for module in blank(name, 1, 28, 28, dropout=0.1).modules() if isinstance(module, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.1]
