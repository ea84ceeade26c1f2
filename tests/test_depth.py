"""depth.py: its data and networks, whose layers and norms are counted by hand, and what becomes of them in training."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from callbacks.gradient_norms import HIGHEST_HEALTHY
from datamodules import samples
from experiments import depth
from experiments.fundamentals.deep_nets import KINDS, Training, halve, is_counted, layer_norms, net_options, prepare
from harness.command_line.cli import cli
from lit_modules import Classifier
from lit_modules.nets import build_net

QUICK = Training(images=64, max_epochs=1, lr=0.1, batch_size=32, seed=0, sample=True, data_dir="data")


def test_halved_images_are_means_of_four_pixels():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    halved = halve(images)
    assert halved.shape == (2, 2, 3, 3)
    for image, row, column, channel in np.ndindex(*halved.shape):
        four = images[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel].astype(float)
        assert abs(halved[image, row, column, channel] - four.sum() / 4) <= 0.5


def test_data_are_the_halved_sample():
    data = prepare(QUICK)
    assert data.input_shape == (3, 16, 16)
    np.testing.assert_array_equal(data.arrays.test_images, halve(samples.shapes().test_images))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [6, 14, 50])
def test_network_has_as_many_layers_as_its_depth(kind, layers):
    with torch.device("meta"):
        net = build_net("resnet_cifar", (3, 16, 16), 10, **net_options(KINDS[kind], layers))
    assert sum(map(is_counted, net.modules())) == layers


def test_both_kinds_start_alike_but_for_the_projection():
    nets = [build_net("resnet_cifar", (3, 16, 16), 10, **net_options(residual, 14)) for residual in KINDS.values()]
    plain, residual = (sum(p.numel() for p in net.parameters()) for net in nets)
    assert residual - plain == 8 * 16 + 2 * 16  # the projection where the width changes, with its norm


def initial_norms(kind, layers):
    """The norms of a network of blocks on random images; the stem is first."""
    torch.manual_seed(0)
    model = Classifier("resnet_cifar", (3, 16, 16), 10, net_args=net_options(KINDS[kind], layers))
    return layer_norms(model, torch.rand(32, 3, 16, 16), torch.randint(10, (32,)))


def test_norms_are_those_of_autograd_from_the_input_to_the_output():
    torch.manual_seed(0)
    model = Classifier("resnet_cifar", (3, 16, 16), 10, net_args=net_options(True, 6))
    images, labels = torch.rand(8, 3, 16, 16), torch.randint(10, (8,))
    stages = model.net.stages
    layers = [model.net.stem[0], *(stage[0].residual[i] for stage in stages for i in (0, 3)), model.net.classifier]
    loss = -torch.log_softmax(model.train()(images), 1)[torch.arange(8), labels].mean()
    gradients = [torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True) for layer in layers]
    expected = [math.sqrt(sum(float((part**2).sum()) for part in each)) for each in gradients]
    assert layer_norms(model, images, labels) == pytest.approx(expected, rel=1e-4)


def test_gradients_explode_towards_the_input_of_plain_networks_only():
    # BatchNorm multiplies the gradient by sqrt(pi / (pi - 1)) = 1.21 a layer (Yang et al. 2019, "A mean field theory of
    # batch normalization"), that of infinite width and batch; narrow layers spread around it.
    plain, residual = initial_norms("plain", 50), initial_norms("residual", 50)
    rate = (plain[2] / plain[22]) ** (1 / 20)  # within the first stage
    assert rate == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), abs=0.08)
    assert plain[1] > HIGHEST_HEALTHY > 5 > max(residual)


@pytest.mark.slow
def test_the_figures_of_the_header(tmp_path):
    metrics = cli(depth.main, None, ["--run_dir", str(tmp_path)])
    (path,) = tmp_path.glob("depth/*/metrics.json")
    nets = json.loads(path.read_text())["networks"]
    assert all(len(net["initial"]) == len(net["trained"]) == int(name.split("_")[1]) for name, net in nets.items())
    errors = {name: net["train_errors"][-1] for name, net in nets.items()}
    assert {name: metrics[f"train_error/{name}"] for name in nets} == pytest.approx(errors, abs=1e-4)
    assert errors["plain_50"] > errors["plain_26"] + 0.05 > errors["plain_14"] + 0.1
    assert errors["residual_50"] <= errors["residual_14"] + 0.02


def test_a_short_run_prints_a_table_and_leaves_figures(tmp_path, capsys):
    flags = ["--depths", "[6]", "--images", "64", "--max_epochs", "1", "--jobs", "1", "--run_dir", str(tmp_path)]
    metrics = cli(depth.main, None, flags)
    (folder,) = tmp_path.glob("depth/*")
    assert {path.name for path in folder.glob("figures/*")} == {"errors.png", "gradients.png"}
    printed = capsys.readouterr().out
    assert f"plain, 6 layers{metrics['train_error/plain_6']:>20.1%}" in printed
    assert "to try next: " in printed.splitlines()[-2]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--depths", "[7]"], "net_args depth 7: must be 6, 10, 14 or so on"),
        (["--depths", "[2]"], "net_args depth 2: must be 6, 10, 14 or so on"),
        (["--depths", "[]"], "depths []: name at least one"),
        (["--lr", "0"], "lr 0.0: must be above 0"),
        (["--max_epochs", "0"], "max_epochs 0: must be at least 1"),
        (["--jobs", "-1"], "jobs -1: must be at least 0"),
        (["--images", "1701"], "images 1701: must be from 2 to 1,700"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(depth.main, *flags)


def test_plain_blocks_are_residual_ones_without_their_shortcut():
    plain, residual = (build_net("resnet_cifar", (3, 8, 8), 10, depth=8, residual=r) for r in (False, True))
    x, block, other = torch.randn(2, 16, 8, 8), residual.stages[0][0], plain.stages[0][0]
    other.load_state_dict(dict(zip(other.state_dict(), block.residual.state_dict().values(), strict=True)))
    block.shortcut = nn.Identity()
    inner = block.eval().residual(x)
    torch.testing.assert_close(block(x), (inner + x).clamp(min=0))
    torch.testing.assert_close(other.eval()(x), inner.clamp(min=0))
