"""Each norm against its definition by a mean and a variance over some of the axes."""

import pytest
import torch
from torch import nn

from lit_modules.norms import NORMS

X = torch.randn(3, 64, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1  # (B, C, H, W)


def normalised(x, dims):
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("batch", normalised(X, (0, 2, 3))),
        ("layer", normalised(X, (1, 2, 3))),
        ("instance", normalised(X, (2, 3))),
        ("group", normalised(X.view(3, 32, 2, 5, 5), (2, 3, 4)).view_as(X)),  # 32 groups of two channels
    ],
)
def test_norm_matches_its_definition_and_has_scale_and_shift(norm, expected):
    layer = NORMS[norm](64)
    torch.testing.assert_close(layer(X), expected)
    nn.init.constant_(layer.weight, 2)
    nn.init.constant_(layer.bias, 3)
    torch.testing.assert_close(layer(X), 2 * expected + 3)
    assert layer.weight.shape == layer.bias.shape == (64,)


@pytest.mark.parametrize(("channels", "groups"), [(16, 16), (32, 32), (48, 16), (512, 32), (7, 1)])
def test_group_norm_has_the_most_equal_groups_up_to_32(channels, groups):
    assert NORMS["group"](channels).num_groups == groups
