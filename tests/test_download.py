"""Downloads through torchvision, from a local server that counts them."""

import hashlib
import io
import multiprocessing
import pickle
import tarfile

import numpy as np
import pytest
from file_server import images_and_labels, md5, serve_as_official
from folders import names_in
from torchvision import datasets

from datamodules import MNIST
from datamodules.arrays import read_arrays
from datamodules.download import download_arrays
from datamodules.house_prices import FILES, HousePrices


@pytest.fixture
def cifar10(server, monkeypatch):
    """Serves a tiny CIFAR-10 in the official format, and gives its arrays."""
    arrays = images_and_labels((32, 32, 3))
    train_images, train_labels, test_images, test_labels = arrays

    def part(images, labels):  # a row holds all red values of an image, then green, then blue
        return pickle.dumps({"data": images.transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": labels.tolist()})

    members = {
        "data_batch_1": part(train_images[:4], train_labels[:4]),
        "data_batch_2": part(train_images[4:], train_labels[4:]),
        "test_batch": part(test_images, test_labels),
        "batches.meta": pickle.dumps({"label_names": list("abcdefghij")}),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    server.files = {"cifar-10-python.tar.gz": archive.getvalue()}
    checks = [[name, md5(content)] for name, content in members.items()]
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.url}cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive.getvalue()))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", checks[:2])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", checks[2:3])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": checks[3][1]})
    serve_as_official(monkeypatch, "CIFAR10", server)
    return arrays


def same(read, wanted):
    return all(np.array_equal(*pair) for pair in zip(read, wanted, strict=True))


def test_mnist_is_downloaded_and_nothing_else_kept(tmp_path, served_mnist):
    data = MNIST(str(tmp_path / "data"))
    data.prepare_data()
    data.setup()
    assert same(data.arrays, served_mnist)
    assert names_in(tmp_path / "data") == ["mnist"]


@pytest.mark.parametrize("python_has_filter", [True, False])
def test_cifar10_is_downloaded_and_nothing_else_kept(tmp_path, cifar10, monkeypatch, python_has_filter):
    if not python_has_filter:  # as before 3.10.12 and 3.11.4
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    download_arrays(tmp_path / "cifar10", "CIFAR10")
    assert same(read_arrays(tmp_path / "cifar10", (32, 32, 3), 10), cifar10)
    assert names_in(tmp_path) == ["cifar10"]


@pytest.mark.parametrize(
    "fault",
    [
        *("corrupted", "truncated", "absent", "dead"),
        "garbled",
    ],
)
def test_failed_download_says_so_in_one_line_and_leaves_nothing(tmp_path, server, served_mnist, fault, monkeypatch):
    server.fault = fault
    if fault == "dead":
        monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port: nobody listens
    with pytest.raises(FileNotFoundError) as caught:
        download_arrays(tmp_path / "mnist", "MNIST")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'mnist'}: not there, and could not be downloaded (")
    assert line.endswith("use --sample")
    assert names_in(tmp_path) == []


def download_together(start, folder):
    start.wait()
    download_arrays(folder, "MNIST")


def test_four_processes_at_once_download_once(tmp_path, server, served_mnist):
    fork = multiprocessing.get_context("fork")  # the children keep the patched addresses
    start = fork.Barrier(4)  # all are forked before the server has anything to do
    processes = [fork.Process(target=download_together, args=(start, tmp_path / "mnist")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert same(read_arrays(tmp_path / "mnist", (28, 28), 10), served_mnist)
    assert sorted(server.requests) == sorted(f"/{name}" for name in server.files)


@pytest.fixture
def house_prices(server, monkeypatch):
    """Serves two small files in place of Kaggle's."""
    contents = {name: f"{name}\n".encode() * 9 for name in FILES}
    server.files = {f"mirrored_{name}": content for name, content in contents.items()}
    files = {name: (f"mirrored_{name}", hashlib.sha256(content).hexdigest()) for name, content in contents.items()}
    monkeypatch.setattr("datamodules.house_prices.FILES", files)
    monkeypatch.setattr("datamodules.house_prices.MIRROR", server.url)
    return contents


def test_house_prices_are_downloaded_where_missing(tmp_path, server, house_prices):
    folder = tmp_path / "house-prices"
    folder.mkdir()
    (folder / "test.csv").write_text("my own")
    HousePrices(str(tmp_path)).prepare_data()
    assert (folder / "train.csv").read_bytes() == house_prices["train.csv"]
    assert (folder / "test.csv").read_text() == "my own"
    assert server.requests == ["/mirrored_train.csv"]
    HousePrices(str(tmp_path)).prepare_data()
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["absent", "corrupted", "truncated", "garbled"])
def test_failed_download_of_house_prices_leaves_nothing(tmp_path, server, house_prices, fault):
    server.fault = fault
    with pytest.raises(FileNotFoundError, match=r"train\.csv") as error:
        HousePrices(str(tmp_path)).prepare_data()
    assert "put it there" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "house-prices").glob("*.csv"))
