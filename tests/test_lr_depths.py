"""Learning rates by depth: which parameters lie at which, and what is refused."""

import pytest
import torch
from net_checks import blank
from torch import nn

from lit_modules import Classifier
from lit_modules.lr_depths import depths_of, groups_by_depth
from lit_modules.nets.unet import UNet


def test_rates_fall_by_the_same_factor_from_the_head_on():
    model = Classifier("mlp", (1, 4, 4), 3, lr=0.5, net_args={"widths": [8, 7, 6], "norm": "batch"}, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in model.configure_optimizers().param_groups for p in group["params"]}
    layers = [module for module in model.net.modules() if isinstance(module, nn.Linear)]
    assert [rates[id(layer.weight)] for layer in layers] == [0.0625, 0.125, 0.25, 0.5]
    norms = [module for module in model.net.modules() if isinstance(module, nn.BatchNorm1d)]
    assert [rates[id(norm.bias)] for norm in norms] == [0.0625, 0.125, 0.25]  # a norm goes with what it follows
    assert len(rates) == len(list(model.net.parameters()))


def test_blocks_of_a_resnet_and_of_a_transformer_are_layers():
    depths = depths_of(blank("resnet18", 3, 32, 32))
    assert depths["stem.0.weight"] == depths["stem.1.weight"] == 0
    assert {depth for name, depth in depths.items() if name.startswith("stages.1.0.")} == {3}
    assert depths["classifier.weight"] == 9  # behind the stem and eight blocks
    depths = depths_of(blank("vit", 3, 32, 32))
    assert depths["patches.weight"] == 0
    assert {depth for name, depth in depths.items() if name.startswith("blocks.11.")} == {12} == {depths["norm.bias"]}


def test_layers_of_a_network_in_another_are_the_others():
    own, wrapped = depths_of(blank("resnet18", 3, 32, 32)), depths_of(blank("imagenet", 3, 32, 32, arch="resnet18"))
    assert len(set(wrapped.values())) == len(set(own.values())) == 10
    assert wrapped["model.conv1.weight"] == wrapped["model.bn1.weight"] == 0
    assert {depth for name, depth in wrapped.items() if name.startswith("model.layer4.1.")} == {8}
    assert wrapped["model.fc.weight"] == 9


def test_layers_of_a_u_net_lie_as_deep_as_its_data_flow():
    depths = depths_of(UNet((3, 32, 32), 10))
    for place in range(4):
        assert {depth for name, depth in depths.items() if name.startswith(f"down.{place}.")} == {place}
    for place in range(3):
        its = (f"up.{place}.", f"merge.{place}.")
        assert {depth for name, depth in depths.items() if name.startswith(its)} == {4 + place}
    assert depths["head.weight"] == 7


def test_layers_behind_the_head_in_the_file_do_not_shift_the_rates():
    class Twisted(nn.Module):
        head = "output"

        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.zeros(1))
            self.output, self.hidden = nn.Linear(3, 2), nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

    net = Twisted()
    groups = groups_by_depth(net, 1.0, 0.1)
    assert [(len(group["params"]), group["lr"]) for group in groups] == [
        (3, pytest.approx(0.01)),  # with what lies in no layer
        (2, pytest.approx(0.1)),
        (2, 1.0),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer_decay": 0.0}, "layer_decay 0: must be above 0"),
        ({"layer_decay": 1.5}, "layer_decay 1.5: must be above 0, and at most 1"),
        ({"layer_decay": 0.5, "backbone_lr": 0.1}, "layer_decay 0.5: takes the place of backbone_lr"),
        ({"layer_decay": 0.5, "lr_parts": "hidden=0.1"}, "layer_decay 0.5: both divide the network"),
    ],
)
def test_what_contradicts_it_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Classifier("mlp", (1, 4, 4), 3, **options)
