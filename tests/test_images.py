"""ImageData: splits, statistics and sizes, on arrays written by the test, on the samples, and on the real MNIST."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import CIFAR10, CIFAR100, MNIST, FashionMNIST
from datamodules.arrays import ImageArrays, read_arrays, write_arrays
from datamodules.images import channel_mean_std

DATA = Path(__file__).parents[1] / "data"
LABELS = np.repeat(np.arange(10), [2, 8, 8, 8, 8, 8, 8, 8, 8, 20]).astype(np.uint8)  # 86 training images


def write(tmp_path, name="mnist", shape=(28, 28), **replaced):
    rng = np.random.default_rng(0)
    train, test = (rng.integers(256, size=(count, *shape), dtype=np.uint8) for count in (86, 7))
    arrays = ImageArrays(train, LABELS, test, np.arange(7, dtype=np.uint8))._replace(**replaced)
    write_arrays(tmp_path / name, arrays)
    return arrays


def ready(dataset, *args, **options):
    data = dataset(*map(str, args), **options)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize(
    ("dataset", "num_classes", "input_shape"),
    [
        (MNIST, 10, (1, 28, 28)),
        (FashionMNIST, 10, (1, 28, 28)),
        (CIFAR10, 10, (3, 32, 32)),
        (CIFAR100, 100, (3, 32, 32)),
    ],
)
def test_classes_and_input_shape(dataset, num_classes, input_shape):
    data = dataset()
    assert data.num_classes == len(set(data.classes)) == num_classes
    assert data.input_shape == input_shape


@pytest.mark.parametrize(("val_size", "num_val"), [(0.1, 9), (0.5, 43), (10, 10), (2, 2), (85, 85), (0, 0)])
def test_validation_is_a_share_or_a_number_of_the_training_images(tmp_path, val_size, num_val):
    write(tmp_path)
    data = ready(MNIST, tmp_path, val_size=val_size)
    assert len(data.val_indices) == num_val
    assert sorted([*data.train_indices, *data.val_indices]) == list(range(86))


def test_split_follows_from_the_seed(tmp_path):
    write(tmp_path)
    splits = [ready(MNIST, tmp_path, seed=seed).val_indices.tolist() for seed in (0, 1, 2)]
    assert splits == [ready(MNIST, tmp_path, seed=seed).val_indices.tolist() for seed in (0, 1, 2)]
    assert len(set(map(tuple, splits))) == 3


@pytest.mark.parametrize(
    "val_size",
    [
        *(0.001, 0.999, 86, 86.0, 70_000, -1, -0.1),
        math.inf,
        math.nan,
    ],
)
def test_validation_of_none_or_all_images_is_refused(tmp_path, val_size):
    write(tmp_path)
    data = MNIST(str(tmp_path), val_size=val_size)
    with pytest.raises(ValueError, match=f"val_size {val_size:g}"):
        data.setup()


@pytest.mark.parametrize("batch_size", [0, -64])
def test_batch_of_no_images_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size {batch_size}"):
        MNIST(batch_size=batch_size)


@pytest.mark.parametrize(
    ("dataset", "name", "shape"), [(FashionMNIST, "fashion_mnist", (28, 28)), (CIFAR10, "cifar10", (32, 32, 3))]
)
def test_mean_and_std_are_those_of_the_training_split(tmp_path, dataset, name, shape):
    arrays = write(tmp_path, name, shape)
    data = ready(dataset, tmp_path)
    pixels = arrays.train_images[data.train_indices].reshape(-1, *shape[2:]) / 255
    assert data.mean == pytest.approx(np.atleast_1d(pixels.mean(0)), rel=1e-12)
    assert data.std == pytest.approx(np.atleast_1d(pixels.std(0)), rel=1e-12)

    changed = arrays.train_images.copy()
    changed[data.val_indices] = 255
    write(tmp_path / "changed", name, shape, train_images=changed)
    other = ready(dataset, tmp_path / "changed")
    assert (other.mean, other.std) == (data.mean, data.std)


def test_loaders_give_their_split_and_augment_training_only(tmp_path):
    arrays = write(tmp_path)
    data = ready(MNIST, tmp_path, batch_size=7, augment="noise:0.5")
    train, val, test = (
        [torch.cat(parts) for parts in zip(*loader, strict=True)]
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    )
    assert Counter(train[1].tolist()) == Counter(LABELS[data.train_indices].tolist())
    assert torch.equal(val[1], torch.from_numpy(LABELS[data.val_indices]).long())
    assert torch.equal(val[0][:, 0], torch.from_numpy(arrays.train_images[data.val_indices]) / 255)
    assert torch.equal(test[0][:, 0], torch.from_numpy(arrays.test_images) / 255)
    assert test[1].tolist() == list(range(7))
    assert (train[0] * 255 - (train[0] * 255).round()).abs().max() > 0.1  # the noise


def test_description_agrees_with_a_hand_count(tmp_path):
    write(tmp_path)
    data = ready(MNIST, tmp_path, val_size=20)
    counts = Counter(LABELS[data.train_indices].tolist())
    assert counts[0] <= 2 < max(counts[digit] for digit in range(1, 9)) <= 8 < counts[9] < 20
    assert data.describe().splitlines() == [
        "66 training, 20 validation and 7 test images of 28 x 28 x 1",
        f"10 classes of {counts[0]} (0) to {counts[9]} (9) training images",
    ]


def test_classes_of_one_size_are_told_once(tmp_path):
    write(tmp_path, train_labels=np.arange(86, dtype=np.uint8) % 10)
    data = ready(MNIST, tmp_path, val_size=0)
    assert data.describe().splitlines()[1] == "10 classes of 8 (6) to 9 (0) training images"
    write(tmp_path / "even", train_labels=np.arange(86, dtype=np.uint8) % 2)
    data = ready(MNIST, tmp_path / "even", val_size=0)
    data.classes = ("even", "odd")  # 43 each
    assert data.describe().splitlines()[1] == "2 classes of 43 training images each"


def test_description_of_the_sample_says_so():
    # 1,797 digits, of which 360 to test, of which a tenth, 143.7, to validate
    sizes = "1,293 training, 144 validation and 360 test images of 28 x 28 x 1, from the embedded sample"
    assert ready(MNIST, sample=True).describe().splitlines()[0] == sizes
    clothing = ready(FashionMNIST, sample=True).describe().splitlines()[0]
    assert clothing == f"{sizes}: digits in place of clothing"


def test_sample_needs_and_touches_no_folder(tmp_path):
    data = ready(FashionMNIST, tmp_path / "none", sample=True)
    assert len(data.arrays.test_labels) == 360
    assert not (tmp_path / "none").exists()


def test_incomplete_folder_is_reported_and_not_downloaded_over(tmp_path):
    write(tmp_path)
    (tmp_path / "mnist" / "test_labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist/test_labels.npy: missing"):
        ready(MNIST, tmp_path)
    assert len(list((tmp_path / "mnist").iterdir())) == 3


@pytest.mark.skipif(not (DATA / "mnist").exists(), reason="needs the real MNIST in data/mnist")
def test_real_mnist_has_its_published_size_mean_and_std():
    arrays = read_arrays(DATA / "mnist", (28, 28), 10)
    assert (len(arrays.train_images), len(arrays.test_images)) == (60_000, 10_000)
    (mean,), (std,) = channel_mean_std(arrays.train_images, np.arange(60_000))
    assert (mean, std) == pytest.approx((0.1307, 0.3081), abs=5e-5)


class Bare(MNIST):
    name, torchvision_name, make_sample = "bare", None, None


def test_data_set_without_download_or_sample_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="bare: not there; it should hold train_images"):
        Bare(str(tmp_path)).prepare_data()
    with pytest.raises(ValueError, match="--sample: bare has none"):
        Bare(str(tmp_path), sample=True).prepare_data()
