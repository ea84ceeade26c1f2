"""Networks for segmentation: their sizes, what they give, and where they are not taken."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lit_modules.nets import build_net, build_pixel_net, nets, pixel_nets
from lit_modules.nets.fcn import enlarge

SHAPE = (3, 16, 32)


def small(name, **options):
    torch.manual_seed(0)
    return build_pixel_net(name, SHAPE, 5, widths=(4, 6, 8, 10), **options)


def two_by_hand(channels, width):
    """Two convolutions of 3x3 without bias, and the scales and shifts of two BatchNorms."""
    return 9 * channels * width + 9 * width * width + 4 * width


DOWN = sum(two_by_hand(*pair) for pair in [(3, 16), (16, 32), (32, 64), (64, 128)])


def test_unet_size_is_the_sum_over_layers():
    up = sum(4 * deep * flat + flat + two_by_hand(2 * flat, flat) for deep, flat in [(128, 64), (64, 32), (32, 16)])
    count = sum(p.numel() for p in build_pixel_net("unet", (3, 48, 48), 5).parameters())
    assert count == DOWN + up + 5 * (16 + 1) == 482_805


def test_fcn_size_is_the_sum_over_layers():
    scores, enlarging = 5 * (128 + 1) + 5 * (64 + 1), 5 * 5 * (4 * 4 + 16 * 16)
    assert sum(p.numel() for p in build_pixel_net("fcn", (3, 48, 48), 5).parameters()) == DOWN + scores + enlarging


@pytest.mark.parametrize("name", sorted(pixel_nets()))
def test_every_pixel_gets_logits_and_every_parameter_a_gradient(name):
    net = small(name)
    logits = net(torch.randn(4, *SHAPE))
    assert logits.shape == (4, 5, 16, 32)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in net.parameters())
    assert net.eval()(torch.zeros(0, *SHAPE)).shape == (0, 5, 16, 32)


@pytest.mark.parametrize("name", sorted(pixel_nets()))
def test_evaluation_treats_each_image_alone(name):
    net, images = small(name).eval(), torch.randn(3, *SHAPE)
    with torch.no_grad():
        alone = torch.cat([net(image[None]) for image in images])
        torch.testing.assert_close(net(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 8])
def test_enlarging_starts_as_bilinear_interpolation(factor):
    maps = torch.rand(2, 3, 5, 4)
    wanted = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))  # at the border interpolation repeats pixels
    torch.testing.assert_close(enlarge(3, factor)(maps)[inner], wanted[inner])


def test_fine_outlines_reach_the_output_by_the_bridges_alone():
    """Without them, what U-Net gives for a pixel cannot follow from single pixels: its deepest map has 2 x 4."""
    net = small("unet").eval()
    for up in net.up:
        nn.init.zeros_(up.weight)
    first, second = torch.zeros(2, 1, *SHAPE)
    second[0, :, 7, 9] = 1
    with torch.no_grad():
        changed = (net(first) - net(second)).abs().sum(1)[0]
    assert changed[7, 9] > 0 and not changed[:, 15:].any()  # convolutions reach four pixels at full size


@pytest.mark.parametrize(("name", "multiple"), [("unet", 8), ("fcn", 16)])
def test_sizes_that_poolings_do_not_divide_are_refused(name, multiple):
    with pytest.raises(ValueError, match=f"net {name}: .* multiples of {multiple}, not 50 x 48"):
        build_pixel_net(name, (3, 50, 48), 2)


def test_nets_of_the_other_kind_are_refused_by_name():
    assert not nets().keys() & pixel_nets().keys()
    with pytest.raises(ValueError, match=r"'unet': gives a class for each pixel; segmentation.py trains it"):
        build_net("unet", SHAPE, 10)
    with pytest.raises(
        ValueError, match="'lenet5': gives one class for the whole image; for each pixel there are fcn, unet"
    ):
        build_pixel_net("lenet5", SHAPE, 10)
    with pytest.raises(ValueError, match="'unett': no such net; did you mean unet"):
        build_pixel_net("unett", SHAPE, 10)
