"""Wide ResNets: the sizes that the paper has, and a unit written out."""

import pytest
import torch
import torch.nn.functional as F
from net_checks import assert_trains, blank, count, randomise_norms

from lit_modules.nets import build_net
from lit_modules.nets.wide_resnet import Unit


@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (28, 10, 36.5), (28, 12, 52.5), (22, 8, 17.2), (16, 8, 11.0)],
)
def test_sizes_are_those_of_the_papers_table(depth, widen, millions):
    assert round(count("wideresnet", 3, 32, 32, depth=depth, widen=widen) / 1e6, 1) == millions


def test_depth_counts_the_convolutions():
    convolutions = [m for m in blank("wideresnet", 3, 32, 32).modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 28


@pytest.mark.parametrize(("channels", "width", "stride"), [(8, 8, 1), (8, 12, 2)])
def test_unit_is_the_papers(channels, width, stride):
    torch.manual_seed(0)
    unit = Unit(channels, width, stride, dropout=0.5).eval()
    randomise_norms(unit)
    (norm, _), (first, other, _, _, second) = unit.activation, unit.residual
    x = torch.randn(2, channels, 8, 8)
    active = F.relu(norm(x))
    shortcut = x if channels == width else F.conv2d(active, unit.shortcut.weight, stride=stride)
    hidden = F.relu(other(F.conv2d(active, first.weight, stride=stride, padding=1)))
    torch.testing.assert_close(unit(x), shortcut + F.conv2d(hidden, second.weight, padding=1))


def test_every_parameter_trains():
    torch.manual_seed(0)
    assert_trains(build_net("wideresnet", (3, 32, 32), 7, depth=10, widen=1, dropout=0.3), (3, 32, 32), 7, 8)


@pytest.mark.parametrize("options", [{"depth": 27}, {"depth": 4}, {"widen": 0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match=r"depth must be 10, 16, 22"):
        build_net("wideresnet", (3, 32, 32), 10, **options)
