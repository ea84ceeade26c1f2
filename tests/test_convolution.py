"""Kernels against scipy's filters, sizes against real layers, layers against known counts, and the whole script."""

import itertools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from experiments import convolution
from experiments.fundamentals.image_filters import KERNELS, LUMA, filtered, weighted_sum
from experiments.fundamentals.layers import counted_by_torch, draw_layers, layers_of, print_layers
from experiments.fundamentals.output_sizes import CELLS, OPERATIONS, output_size, taps, transposed_size
from experiments.fundamentals.resized_images import resized
from harness.command_line.cli import cli
from lit_modules.nets import build_net

FLAGS = ["--image_size", "32"]


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("identity", lambda image: image),
        ("sobel_x", lambda image: ndimage.sobel(image, axis=1, mode="mirror")),
        ("sobel_y", lambda image: ndimage.sobel(image, axis=0, mode="mirror")),
        ("laplacian", lambda image: ndimage.laplace(image, mode="mirror")),
        ("edge", lambda image: 9 * (image - ndimage.uniform_filter(image, 3, mode="mirror"))),
        ("blur", lambda image: ndimage.uniform_filter(image, 5, mode="mirror")),
        ("sharpen", lambda image: image - ndimage.laplace(image, mode="mirror")),
    ],
)
def test_kernel_is_scipys_filter_on_each_channel(name, peer):
    image = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))
    answer = filtered(image, KERNELS[name])
    for channel, expected in zip(answer.numpy(), map(peer, image.numpy()), strict=True):
        np.testing.assert_allclose(channel, expected, atol=1e-5)


def test_gaussian_is_nearly_one_of_standard_deviation_1():
    dot = torch.zeros(1, 11, 11)
    dot[0, 5, 5] = 1
    spread = filtered(dot, KERNELS["gaussian"])[0].numpy()
    np.testing.assert_allclose(
        spread, ndimage.gaussian_filter(dot[0].numpy(), 1.0, radius=2), atol=0.022
    )  # of 0.16 in the middle
    offsets = np.arange(11) - 5
    assert spread.sum() == pytest.approx(1)
    assert spread.sum(0) @ offsets**2 == pytest.approx(1)  # the variance


def test_emboss_keeps_brightness_and_answers_to_the_diagonal():
    flat = torch.full((1, 8, 8), 0.3)
    torch.testing.assert_close(filtered(flat, KERNELS["emboss"]), flat)
    ramp = torch.arange(8.0).view(1, 1, 8) + torch.arange(8.0).view(1, 8, 1)  # (1, 8, 8)
    # Opposite weights are 1, 1 and 2 times two apart: along x and y, -(-1) + 1, and twice that on the diagonal.
    rise = filtered(ramp, KERNELS["emboss"]) - ramp
    torch.testing.assert_close(rise[0, 1:-1, 1:-1], torch.full((6, 6), 2.0 + 2.0 + 8.0))


def test_weighted_sum_is_pillows_grey():
    image = torch.randint(256, (3, 20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grey = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
    np.testing.assert_allclose(weighted_sum(image.float(), LUMA).numpy(), grey, atol=1)


def test_sizes_are_those_of_real_layers():
    for size, kernel, stride, padding, dilation in itertools.product(
        (7, 8, 13), (1, 2, 3, 5), (1, 2, 3), (0, 1), (1, 2)
    ):
        row, settings = torch.zeros(1, 1, size), (kernel, stride, padding)
        reach = dilation * (kernel - 1) + 1
        if size + 2 * padding >= reach:
            made = nn.Conv1d(1, 1, *settings, dilation=dilation)(row).shape[-1]
            assert output_size(size, *settings, dilation) == made
            if 2 * padding <= kernel:  # torch allows no more
                for ceil_mode in (False, True):
                    pooled = nn.MaxPool1d(*settings, dilation, ceil_mode=ceil_mode)(row).shape[-1]
                    assert output_size(size, *settings, dilation, ceil_mode) == pooled
        if transposed_size(size, *settings, dilation) > 0:
            made = nn.ConvTranspose1d(1, 1, *settings, dilation=dilation)(row).shape[-1]
            assert transposed_size(size, *settings, dilation) == made
            extra = nn.ConvTranspose1d(1, 1, *settings, stride - 1, dilation=dilation)(row).shape[-1]
            assert transposed_size(size, *settings, dilation, stride - 1) == extra


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_drawn_is_as_large_as_its_formula_says(operation):
    assert operation.layer(torch.zeros(1, 1, CELLS)).shape[-1] == operation.size
    assert taps(operation).shape == (CELLS + 2 * operation.padding, operation.size)


def test_taps_are_the_inputs_of_each_output():
    by_name = {operation.name: taps(operation) for operation in OPERATIONS}
    inputs = {
        name: [reached[:, output].nonzero().flatten().tolist() for output in (0, 1, -1)]
        for name, reached in by_name.items()
    }
    assert inputs["convolution, kernel 3"] == [[0, 1, 2], [1, 2, 3], [5, 6, 7]]
    assert inputs["padding 1, stride 2"] == [[0, 1, 2], [2, 3, 4], [6, 7, 8]]  # of ten, with the padding
    assert inputs["dilation 2"] == [[0, 2, 4], [1, 3, 5], [3, 5, 7]]
    assert inputs["pooling, kernel 3, stride 2, rounded up"] == [[0, 1, 2], [2, 3, 4], [6, 7]]
    assert inputs["upsampling by 2"] == [[0], [0], [7]]


def test_emboss_lights_the_upper_left_edge_of_a_bright_square():
    image = torch.zeros(1, 9, 9)
    image[:, 3:6, 3:6] = 1
    embossed = filtered(image, KERNELS["emboss"])[0]
    assert embossed[3, 3] > embossed[4, 4] > embossed[5, 5]


def test_lenets_layers_are_the_papers():
    layers = [layer for layer in layers_of(build_net("lenet5", (1, 28, 28), 10), (1, 28, 28)) if layer.parameters]
    assert [layer.output for layer in layers] == [(6, 28, 28), (16, 10, 10), (120,), (84,), (10,)]
    assert [layer.parameters for layer in layers] == [6 * 26, 16 * 151, 120 * 401, 84 * 121, 10 * 85]
    assert sum(layer.parameters for layer in layers) == 61_706
    products = [6 * 28**2 * 25, 16 * 10**2 * 6 * 25, 120 * 400, 84 * 120, 10 * 84]
    assert [layer.multiply_adds for layer in layers] == products


@pytest.mark.parametrize("net", ["cnn", "googlenet", "resnet18", "densenet_bc_100_12", "vgg11", "mlp"])
def test_totals_are_those_of_the_net_and_of_torchs_counter(net):
    with torch.device("meta"):
        model = build_net(net, (3, 32, 32), 10)
    layers = layers_of(model, (3, 32, 32))
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in model.parameters())
    assert sum(layer.multiply_adds for layer in layers) == counted_by_torch(model, (3, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())


def test_groups_take_a_share_and_a_shared_layer_counts_its_parameters_once():
    shared = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    first, again = layers_of(nn.Sequential(shared, shared), (4, 5, 5))
    assert (first.parameters, again.parameters) == (4 * 2 * 9, 0)
    assert first.multiply_adds == again.multiply_adds == 4 * 25 * 2 * 9


def test_figure_has_the_names_of_the_table_in_its_order(capsys):
    with torch.device("meta"):
        layers = layers_of(build_net("googlenet", (3, 32, 32), 10), (3, 32, 32))
    print_layers(layers)
    table = [line.split() for line in capsys.readouterr().out.splitlines() if " " in line]
    multiply = [row[0] for row in table[1:-1] if row[-1] != "0"]
    parameters, products = draw_layers("googlenet", layers).axes
    assert [tick.get_text() for tick in parameters.get_yticklabels()] == multiply
    assert parameters.yaxis_inverted()
    drawn = [f"{bar.get_width():,.0f}" for bar in products.patches]
    assert drawn == [row[-1] for row in table[1:-1] if row[-1] != "0"]


def run(tmp_path, *flags):
    metrics = cli(convolution.main, None, [*FLAGS, *flags, "--run_dir", str(tmp_path)])
    (folder,) = tmp_path.glob("convolution/*")
    assert {path.name for path in folder.glob("figures/*")} == {
        "kernels.png",
        "sizes.png",
        "channels.png",
        "pooling.png",
        "layers.png",
    }
    return metrics


def test_script_does_what_the_header_says(tmp_path, capsys):
    metrics = run(tmp_path)
    assert metrics["parameters"] == 61_706
    assert metrics["multiply_adds"] == metrics["multiply_adds_by_torch"] == 416_520
    first = next(layer for layer in metrics["layers"] if layer["kind"] == "Linear")
    assert first["parameters"] / 61_706 == pytest.approx(0.78, abs=0.005)
    assert first["multiply_adds"] / 416_520 == pytest.approx(0.12, abs=0.005)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    sizes = [line[-4:] for line in printed if "->" in line]
    assert len(sizes) == 8
    assert all(formula == layer for _, _, formula, layer in sizes)
    assert ["total", "61,706", "416,520"] in printed


def test_script_takes_another_net_image_and_kernels(tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((50, 40, 3), 200, np.uint8)).save(photo)
    flags = ["--net", "googlenet", "--input_shape", "[3, 32, 32]", "--image", str(photo), "--kernels", "[emboss]"]
    metrics = run(tmp_path, *flags)
    assert (metrics["parameters"], metrics["multiply_adds"]) == (6_158_346, 1_521_756_160)


def test_image_is_the_middle_square_between_0_and_1(tmp_path):
    sample = Path(find_spec("sklearn").origin).parent / "datasets" / "images" / "flower.jpg"
    image = convolution.read_image(sample, 64)
    assert image.shape == (3, 64, 64)
    assert 0 <= image.min() < 0.1 < 0.9 < image.max() <= 1


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--net", "googlnet"], "net 'googlnet': no such net; did you mean googlenet?"),
        (["--kernels", "[identity, sobel]"], "kernel 'sobel': no such kernel; did you mean sobel_"),
        (["--kernels", "[]"], "kernels []: name at least one"),
        (["--image", "{}/missing.jpg"], "missing.jpg: no file"),
        (["--image", "{}/text.jpg"], "text.jpg: no image of a known format"),
        (["--image", "{}/cut.jpg"], "cut.jpg: "),
        (["--image_size", "4"], "image_size 4: must be at least 8"),
        (["--input_shape", "[28, 28]"], "input_shape [28, 28]"),
        (["--input_shape", "[1, 0, 28]"], "input_shape [1, 0, 28]"),
        (["--input_shape", "[1, 30, 30]"], "lenet5: takes images of 28 x 28 or 32 x 32"),
        (["--net", "cnn", "--input_shape", "[1, 9, 9]"], "net cnn: cannot take input_shape [1, 9, 9]"),
        (["--net", "tabm"], "net tabm: has no convolution and no linear layer"),
        (["--net_args.width", "3"], "net_args 'width': lenet5 has no such option"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path, refusal, flags, said):
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (99, 99)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    flags = [flag.format(tmp_path) for flag in flags]
    assert said in refusal(convolution.main, *FLAGS, *flags)


@pytest.mark.parametrize("net", ["resnet18", "googlenet"])
def test_layers_fit_the_terminal_and_keep_the_ends_of_long_names(capsys, monkeypatch, net):
    monkeypatch.setenv("COLUMNS", "80")
    layers = layers_of(build_net(net, (3, 32, 32), 10), (3, 32, 32))
    long = layers[0]._replace(name=f"{'a.very.long.name.' * 5}end.of.it")
    print_layers([long, *layers])
    lines = capsys.readouterr().out.strip().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("...") and "end.of.it  Conv2d" in lines[1]
    assert len(lines) == len(layers) + 3


def test_pooled_and_upsampled_images_are_those_of_numpy():
    image = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    largest, mean, nearest, bilinear = (picture.numpy() for picture in resized(image, 4).values())
    blocks = image.numpy().reshape(3, 2, 4, 3, 4)
    assert largest == pytest.approx(blocks.max((2, 4)))
    assert mean == pytest.approx(blocks.mean((2, 4)))
    assert nearest == pytest.approx(np.kron(mean, np.ones((1, 4, 4))))
    centres = [(np.arange(4 * count) + 0.5) / 4 - 0.5 for count in mean.shape[1:]]  # of pixels, on the small grid
    rows = np.stack([[np.interp(centres[1], np.arange(3), row) for row in channel] for channel in mean])
    expected = np.stack([[np.interp(centres[0], np.arange(2), column) for column in channel.T] for channel in rows])
    assert bilinear == pytest.approx(expected.transpose(0, 2, 1), abs=1e-6)
