"""The vision transformer: its size, its blocks against torch's encoder layer, and what its positions are."""

import math

import pytest
import torch
from net_checks import assert_trains, count
from torch import nn

from lit_modules.nets import build_net
from lit_modules.nets.vit import Block, waves


def test_size_is_the_sum_over_layers():
    block = 2 * 2 * 192 + (192 * 3 + 3) * 192 + (192 + 1) * 192 + (192 + 1) * 768 + (768 + 1) * 192
    assert count("vit", 3, 32, 32) == (3 * 16 + 1) * 192 + 12 * block + 2 * 192 + (192 + 1) * 10


def test_block_is_torchs_encoder_layer():
    torch.manual_seed(0)
    block = Block(24, 3, dropout=0.0)
    peer = nn.TransformerEncoderLayer(24, 3, 96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    (norm, attention, _), (norm_2, up, _, down, _) = block.attention, block.mlp
    pairs = [
        *((peer.norm1, norm), (peer.self_attn.out_proj, attention.output)),
        *((peer.norm2, norm_2), (peer.linear1, up), (peer.linear2, down)),
    ]
    for theirs, ours in pairs:
        ours.load_state_dict(theirs.state_dict())
    attention.qkv.load_state_dict({"weight": peer.self_attn.in_proj_weight, "bias": peer.self_attn.in_proj_bias})
    x = torch.randn(2, 5, 24)
    torch.testing.assert_close(block(x), peer(x))


def test_positions_are_waves_along_rows_and_columns():
    positions = waves(3, 5, 8)
    assert positions.shape == (15, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                wave(place / rate) for place in (column, row) for wave in (math.sin, math.cos) for rate in (1, 1e4)
            ]
            torch.testing.assert_close(positions[5 * row + column], torch.tensor(expected))


def test_order_of_patches_matters_by_the_positions_only():
    torch.manual_seed(0)
    net = build_net("vit", (3, 8, 8), 4, width=12, depth=2).eval()
    x = torch.randn(2, 3, 8, 8)
    swapped = torch.cat([x[..., 4:], x[..., :4]], dim=3)
    assert not torch.allclose(net(x), net(swapped), atol=1e-5)
    net.positions.zero_()
    torch.testing.assert_close(net(x), net(swapped))


def test_every_parameter_trains():
    torch.manual_seed(0)
    net = build_net("vit", (3, 16, 16), 7, width=12, depth=2, dropout=0.1)
    assert_trains(net, (3, 16, 16), 7, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"patch": 5}, "patch 5: images of 32 x 32"), ({"width": 50}, "width 50"), ({"heads": 5}, "width 192")],
)
def test_impossible_sizes_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        build_net("vit", (3, 32, 32), 10, **options)
