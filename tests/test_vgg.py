"""VGG: its sizes, torchvision's feature maps, and images of other sizes."""

from itertools import pairwise

import pytest
import torch
from net_checks import SHAPES, assert_trains, blank, count, randomise_norms
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from lit_modules.nets import build_net

NETS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}  # the paper's letters


@pytest.mark.parametrize(("name", "published"), [("vgg11", 9.2), ("vgg13", 9.4), ("vgg16", 14.7), ("vgg19", 20.0)])
def test_size_is_the_sum_over_layers(name, published):
    widths = [3] + [width for width in cfgs[NETS[name]] if width != "M"]
    sizes = [9 * fan_in * fan_out + 2 * fan_out for fan_in, fan_out in pairwise(widths)]
    assert count(name, 3, 32, 32) == sum(sizes) + 512 * 10 + 10
    assert count(name, 3, 32, 32) / 1e6 == pytest.approx(published, abs=0.05)


@torch.no_grad()
@pytest.mark.parametrize(("name", "letter"), NETS.items())
def test_feature_maps_are_torchvisions_whose_biases_the_running_mean_takes_out(name, letter):
    peer = make_layers(cfgs[letter], batch_norm=True).eval()
    randomise_norms(peer)
    net = build_net(name, (3, 32, 32), 10).eval()
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    ours, theirs = ([m for m in layers.modules() if isinstance(m, kinds)] for layers in (net.stages, peer))
    for mine, other in zip(ours, theirs, strict=True):
        mine.load_state_dict({key: value for key, value in other.state_dict().items() if key in mine.state_dict()})
    for convolution, norm in zip(theirs[::2], ours[1::2], strict=True):
        norm.running_mean -= convolution.bias.normal_()
    x = torch.randn(2, 3, 32, 64)
    expected = peer(x)  # (2, 512, 1, 2)
    assert expected.std() > 0.01
    torch.testing.assert_close(net.stages(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(x), net.classifier(expected.mean(dim=(2, 3))), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("side", "left"), [(1, 1), (28, 1), (32, 1), (33, 2)])
def test_pooling_leaves_a_pixel_of_any_image(side, left):
    with torch.device("meta"):
        maps = blank("vgg11", 1, side, side).eval().stages(torch.empty(2, 1, side, side))
    assert maps.shape == (2, 512, left, left)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_every_parameter_trains(name, shape):
    assert_trains(build_net(name, shape, 7), shape, 7)
