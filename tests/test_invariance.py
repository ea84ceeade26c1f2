"""invariance.py: digits that are moved and permuted, and the networks' accuracies on them."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from datamodules.arrays import ImageArrays, write_arrays
from datamodules.samples import digits
from experiments import invariance
from experiments.fundamentals.moved_digits import (
    BORDER,
    DIRECTIONS,
    SmallDigits,
    accuracies,
    accuracy,
    made_smaller,
    move,
    permute,
    pixel_order,
)
from harness.command_line.cli import cli
from lit_modules import Classifier


@pytest.fixture(scope="module")
def data():
    data = SmallDigits("data", 64, 0, sample=True)
    data.setup()
    return data


def test_digits_are_as_bright_and_have_an_empty_border(data):
    images = data.arrays.test_images
    inner = images[:, BORDER:-BORDER, BORDER:-BORDER]
    assert inner.shape[1:] == (16, 16)
    assert images.sum() == inner.sum() > 0
    flat = np.full((1, 28, 28), 200, np.uint8)
    assert (made_smaller(flat)[0, BORDER:-BORDER, BORDER:-BORDER] == 200).all()


@pytest.mark.parametrize("distance", [1, 4, BORDER])
@pytest.mark.parametrize(("rows", "columns"), DIRECTIONS)
def test_moving_is_scipys_shift(data, rows, columns, distance):
    images = data.arrays.test_images[:20]
    moved = move(images, distance * rows, distance * columns)
    np.testing.assert_array_equal(moved, ndimage.shift(images, (0, distance * rows, distance * columns), order=0))
    assert moved.sum() == images.sum()  # all of it is still there


def test_permuted_images_have_each_pixel_once_and_in_the_same_place(data):
    numbered = np.arange(784).reshape(1, 28, 28)
    assert sorted(permute(numbered).ravel()) == list(range(784))
    permuted = SmallDigits("data", 64, 0, sample=True, permuted=True)
    permuted.setup()
    back = np.argsort(pixel_order())
    restored = permuted.arrays.test_images.reshape(-1, 784)[:, back].reshape(-1, 28, 28)
    np.testing.assert_array_equal(restored, data.arrays.test_images)
    assert np.array_equal(permuted.train_indices, data.train_indices)


class Brightest(torch.nn.Module):
    """Answers with the column of the brightest of ten pixels in a row that moving and permuting can reach."""

    def forward(self, images):
        return images[:, 0, 10, 5:15] + 0.0


def test_accuracy_is_counted_over_images_and_the_four_directions():
    images, labels = np.zeros((2, 28, 28), np.uint8), np.array([3, 4], np.uint8)
    images[0, 10, 5 + 3] = images[1, 10, 5 + 2] = 255  # the first is right, the second is once it moves by two
    model = Brightest()
    assert accuracy(model, images, labels) == 1 / 2
    # By one or more to the side or up, the pixel of the first is elsewhere. By 2 to the right, the second is right.
    # A row of zeros, after moves up or down, answers 0.
    expected = [1 / 2, 0, 1 / 2 / 4, 0, 0, 0, 0]
    assert accuracies(model, images, labels, permuted=False) == pytest.approx(expected)


def test_an_mlp_does_not_care_about_the_order_of_the_pixels(data):
    torch.manual_seed(0)
    one = Classifier("mlp", (1, 28, 28), 10, net_args={"widths": [16]})
    other = Classifier("mlp", (1, 28, 28), 10, net_args={"widths": [16]})
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        other.net.hidden[0].weight.copy_(one.net.hidden[0].weight[:, torch.from_numpy(pixel_order())])
    images = data.arrays.test_images[:50]
    labels = one(torch.from_numpy(images)[:, None] / 255).argmax(1).numpy()
    assert accuracy(one, images, labels) == accuracy(other, permute(images), labels) == 1


def test_maps_averaged_forget_moves_by_their_stride_only():
    """Two strides of 2: what is 4 pixels on in the image is one place on in each map, and the mean is the same."""
    net, options = invariance.NETS["CNN, maps averaged"]
    torch.manual_seed(0)
    model = Classifier(net, (1, 64, 64), 10, net_args=options).eval()
    image = np.zeros((1, 64, 64), np.uint8)
    image[0, 28:32, 28:32] = 255  # so far from the edges that no map is cut off there
    images = np.concatenate([move(image, 0, distance) for distance in (0, 2, 4)])
    with torch.no_grad():
        here, nearby, there = model.double()(torch.from_numpy(images)[:, None] / 255)
    torch.testing.assert_close(there, here, rtol=0, atol=1e-7)  # the image is scaled in float32
    assert (nearby - here).abs().max() > 1e-4


@pytest.mark.slow
def test_cnn_leads_by_30_points_after_three_epochs():
    flags = invariance.InvarianceFlags(max_epochs=3)
    cnn, mlp = (invariance.train(flags, name, "natural", seed=0)[4] for name in ("CNN, maps averaged", "MLP"))
    assert cnn > mlp + 0.3


def test_metrics_are_those_of_the_table_and_figures_are_left(tmp_path, capsys):
    few = ImageArrays(*(array[:60] for array in digits()))
    write_arrays(tmp_path / "data" / "mnist", few)
    flags = ["--sample", "false", "--data_dir", str(tmp_path / "data"), "--seeds", "1", "--max_epochs", "1"]
    metrics = cli(invariance.main, None, [*flags, "--jobs", "1", "--run_dir", str(tmp_path)])
    (folder,) = tmp_path.glob("invariance/*")
    scores = json.loads((folder / "metrics.json").read_text())["accuracies"]
    for order in ("natural", "permuted"):
        (averaged,), (mlp,) = (scores[name][order] for name in ("CNN, maps averaged", "MLP"))
        assert metrics[f"lead/{order}_4px"] == pytest.approx(100 * (averaged[4] - mlp[4]), abs=0.01)
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("MLP, permuted"))
    assert row.split()[2:] == [f"{share:.1%}" for share in mlp]
    assert lines[-2].startswith("to try next: ")
    for figure in ("accuracies", "images"):
        assert (folder / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_figures_of_the_header(tmp_path):
    metrics = cli(invariance.main, None, ["--run_dir", str(tmp_path)])
    assert metrics["lead/natural_4px"] >= 30
    assert abs(metrics["lead/permuted_0px"]) <= 3
    assert abs(metrics["lead/permuted_4px"]) <= 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seeds", "0"], "seeds 0: must be at least 1"),
        (["--max_epochs", "0"], "max_epochs 0: must be at least 1"),
        (["--jobs", "-1"], "jobs -1: must be at least 0"),
        (["--lr", "0"], "lr 0.0: must be above 0"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(invariance.main, *flags)
